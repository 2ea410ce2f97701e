"""Train one agent for every network and chip: imitation of good schedules, then PPO."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# a library of the trainer's announces its own deprecations
warnings.filterwarnings("ignore", category=FutureWarning, module="torch")

from agents.experiment import new_folder  # noqa: E402
from agents.generalist.demonstrations import (  # noqa: E402
    Demonstration,
    demonstrate_all,
    read_demonstrations,
)
from agents.generalist.environment import PoolInstance  # noqa: E402
from agents.generalist.imitation import Episode, Imitation  # noqa: E402
from agents.generalist.improvement import (  # noqa: E402
    Improved,
    ImprovementConfig,
    excess,
    improve,
)
from agents.ppo.checkpoint import AgentConfig, AgentError, load_agent, save_agent  # noqa: E402
from agents.ppo.network import PolicyNetwork  # noqa: E402
from agents.ppo.train import resolve_device  # noqa: E402
from fragenv.errors import FragenvError  # noqa: E402
from fragenv.generate.training import Trainer, TrainingConfig  # noqa: E402
from fragenv.schedule.problem import Problem  # noqa: E402
from fragenv.tensor_file import read_tensors, write_tensors  # noqa: E402

console = Console()
DEMONSTRATIONS, IMITATION, PPO = "demonstrations.json", "imitation.safetensors", "ppo.safetensors"
#: every so many instances one is held out, to choose among policies
HELD_OUT_EVERY = 10
TRAINED_ON = "random networks and chips, and the training models of agents/splits.toml"
WAY_OUT = "remove it to begin this stage again"
#: steps of the optimiser between two savings
SAVE_EVERY = 100


def main(
    output: Annotated[Path, typer.Option(help="Folder of the training and of agent/.")] = Path(
        "results/generalist"
    ),
    instances: Annotated[int, typer.Option(min=20, help="Training instances.")] = 300,
    calls: Annotated[int, typer.Option(min=1, help="apply calls of each teacher.")] = 1500,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of imitation.")] = 2500,
    timesteps: Annotated[int, typer.Option(min=0, help="Environment steps of PPO.")] = 60_000,
    hidden: Annotated[int, typer.Option(min=1, help="Width of the network.")] = 64,
    layers: Annotated[int, typer.Option(min=1, help="Rounds of message passing.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that make demonstrations.")] = 2,
    generated: Annotated[
        float, typer.Option(min=0, max=1, help="Share of networks around generated cells.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the network and of PPO.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda, for PPO.")] = "auto",
) -> None:
    """Train an agent on random networks and chips and the training models of agents/splits.toml.

    Three stages, each of which is shown and goes on where it was interrupted when the same command
    is given again: schedules of good heuristics; a network that imitates them; PPO from there on.
    Test families are never seen. The agent is in OUTPUT/agent: scripts/evaluate.py and
    scripts/benchmark.py take it.

    Example: python scripts/train_generalist.py --output results/generalist
    """
    torch.set_num_threads(1)
    try:
        place = resolve_device(device)
        new_folder(output)
        demonstrations = _demonstrations(output / DEMONSTRATIONS, instances, calls, jobs, generated)
        problems = _problems(demonstrations)
        pairs = list(zip(demonstrations, problems, strict=True))
        trained = [p for n, p in enumerate(pairs) if n % HELD_OUT_EVERY]
        held_out = [p for n, p in enumerate(pairs) if n % HELD_OUT_EVERY == 0]
        torch.manual_seed(seed)
        network = PolicyNetwork(hidden, layers)
        _imitate(network, trained, steps, output / IMITATION)
        config = AgentConfig(hidden, layers, TRAINED_ON, timesteps, seed)
        found = _improve(network, trained, held_out, config, place, output)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted; the same command goes on where this one stopped", err=True)
        raise typer.Exit(130) from None
    console.print(
        f"the agent is in {output / 'agent'}; its greedy schedules of {len(held_out)} held-out "
        f"instances cost {found.excess:+.1%} against the teachers' (geometric mean)"
    )


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)


def _demonstrations(
    path: Path, count: int, calls: int, jobs: int, generated: float
) -> list[Demonstration]:
    with _progress() as progress:
        known = len(read_demonstrations(path)) if path.exists() else 0
        bar = progress.add_task("schedules to imitate", total=count, completed=min(known, count))
        for found in demonstrate_all(range(count), calls, path, jobs, generated):
            progress.update(bar, completed=min(len(found), count))
    return sorted(read_demonstrations(path), key=lambda d: d.seed)[:count]


def _problems(demonstrations: list[Demonstration]) -> list[Problem]:
    with _progress() as progress:
        return [d.problem() for d in progress.track(demonstrations, description="instances")]


def _imitate(
    network: PolicyNetwork, pairs: list[tuple[Demonstration, Problem]], steps: int, path: Path
) -> None:
    with _progress() as progress:
        tracked = progress.track(pairs, description="states to imitate")
        episodes = [Episode.of(demonstration, problem) for demonstration, problem in tracked]
        trainer = Trainer(network, Imitation(network, episodes), TrainingConfig(steps, 2e-3))
        if path.exists():
            trainer.restore(read_tensors(path, AgentError, WAY_OUT)[0])
        bar = progress.add_task("imitation", total=steps, completed=trainer.step_number)
        while not trainer.finished:
            loss = trainer.step()
            progress.update(
                bar, completed=trainer.step_number, description=f"imitation, loss {loss:.2f}"
            )
            if trainer.step_number % SAVE_EVERY == 0 or trainer.finished:
                write_tensors(path, trainer.state(), {})
    network.eval()


def _improve(
    network: PolicyNetwork,
    trained: list[tuple[Demonstration, Problem]],
    held_out: list[tuple[Demonstration, Problem]],
    config: AgentConfig,
    device: str,
    output: Path,
) -> Improved:
    pool, others = ([PoolInstance(p, d.cost) for d, p in part] for part in (trained, held_out))
    with _progress() as progress:
        agent, resumed = output / "agent", (output / PPO).exists()
        if not resumed:
            save_agent(network, config, agent)
        first = load_agent(agent)[0]
        best = Improved(first, excess(first, others), {})
        state = read_tensors(output / PPO, AgentError, WAY_OUT)[0] if resumed else None
        bar = progress.add_task(f"PPO, {best.excess:+.1%}", total=config.timesteps)

        def report(done: int, best: Improved) -> None:
            write_tensors(output / PPO, best.state, {})
            save_agent(best.network, config, agent)
            progress.update(bar, completed=done, description=f"PPO, {best.excess:+.1%}")

        settings = ImprovementConfig(config.timesteps)
        return improve(best, pool, others, settings, config.seed, device, state, report)


if __name__ == "__main__":
    typer.run(main)
