"""Train a PPO agent on an environment and compare it with the heuristics."""

from __future__ import annotations

import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import typer
from options import MaxDepth, ObjectiveOption, SchedulerOption, SecondsOption
from rich.console import Console
from rich.progress import Progress

# a library of the trainer's announces its own deprecations
warnings.filterwarnings("ignore", category=FutureWarning, module="torch")

from agents.comparison import Entry, best_of, comparison_table  # noqa: E402
from agents.experiment import (  # noqa: E402
    chosen_schedulers,
    compare,
    emit_verilog,
    free_folder,
    new_folder,
    write_figure,
    write_run,
)
from agents.ppo.checkpoint import load_agent  # noqa: E402
from agents.ppo.scheduler import schedulers_of  # noqa: E402
from agents.ppo.train import (  # noqa: E402
    TrainConfig,
    identity,
    read_training,
    resolve_device,
    train,
)
from agents.scheduler import Budget  # noqa: E402
from fragenv.env.env import FragmentEnv  # noqa: E402
from fragenv.env.generated import GeneratedEnv  # noqa: E402
from fragenv.env.problems import shared_problem  # noqa: E402
from fragenv.env.registry import GENERATED_ENVIRONMENT, lookup  # noqa: E402
from fragenv.env.reward import DEFAULT_REWARD, REWARDS  # noqa: E402
from fragenv.errors import FragenvError  # noqa: E402
from fragenv.report.training_plot import training_figure  # noqa: E402
from fragenv.schedule.objective import Objective  # noqa: E402

console = Console()


def make_env(env: str, kwargs: dict[str, Any]) -> FragmentEnv:
    """The environment of an id, without Gymnasium's wrappers."""
    made = gymnasium.make(env, disable_env_checker=True, **kwargs).unwrapped
    assert isinstance(made, FragmentEnv)
    return made


def main(
    env: Annotated[str, typer.Option(help="Environment id, such as AlexNetChip-v0.")],
    chip: Annotated[
        str | None, typer.Option(help="Chip preset or path of a TOML file; default: the id's.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Frames per job; default: the id's.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="ONNX file or zoo name, for ModelChip-v0.")
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            help=f"Draws the networks of {GENERATED_ENVIRONMENT}, another one for each episode; "
            "default: random."
        ),
    ] = None,
    max_depth: MaxDepth = 1,
    objective: ObjectiveOption = Objective.LATENCY,
    reward: Annotated[
        str, typer.Option(help=f"{', '.join(REWARDS)}, or package.module:name.")
    ] = DEFAULT_REWARD,
    timesteps: Annotated[int, typer.Option(min=1, help="Environment steps of training.")] = 60_000,
    budget: Annotated[int, typer.Option(min=1, help="apply calls of each scheduler.")] = 20_000,
    scheduler: SchedulerOption = None,
    seconds: SecondsOption = 15.0,
    seed: Annotated[int, typer.Option(help="Seed of training and schedulers.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run; default: results/ENV-seedN, with a number where that is taken."
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of an interrupted run to go on with.")
    ] = None,
    rtl: Annotated[bool, typer.Option(help="Emit the best schedule's Verilog.")] = True,
    agent: Annotated[
        Path | None, typer.Option(help="Folder of an agent to fine-tune instead of a new one.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Quantised ONNX file; without it, weights are zero.")
    ] = None,
) -> None:
    """Train a PPO agent, compare it with every heuristic at equal budget, and write a run's folder:
    summary.json, comparison.md, schedule.json, pictures, TensorBoard logs, agent/ and rtl/.

    Ctrl-C saves the training; --resume FOLDER goes on with it.

    With GeneratedChip-v0 the agent trains on networks drawn one after the other. What is compared,
    and decides which weights are kept, is the network that --seed draws first; the folder has it as
    network.onnx.
    """
    command = shlex.join(["python", *sys.argv])
    folder = None
    try:
        resolve_device(device)
        chosen_schedulers(scheduler)  # a wrong name is said now, not after the training
        if resume is not None and output is not None:
            raise FragenvError("give --output or --resume, not both")
        if weights is not None and not weights.is_file():
            raise FragenvError(f"no file '{weights}' for --weights")
        start = load_agent(agent)[0] if agent is not None else None
        name, kwargs = lookup(env, model, chip, batch, max_depth, objective)
        kwargs["reward"] = reward
        if env == GENERATED_ENVIRONMENT:
            kwargs |= {"generator": generator or "random", "seed": seed, "resample": True}
        elif generator is not None:
            raise FragenvError(
                f"{env} has its own model; --generator is for {GENERATED_ENVIRONMENT}"
            )
        probe = make_env(env, kwargs)
        if resume is not None:
            read_training(resume, identity(probe, env))
        folder = new_folder(resume or output or free_folder(Path("results") / f"{env}-seed{seed}"))
        config = TrainConfig(timesteps=timesteps, seed=seed, device=device)
        problem = probe.problem
        if isinstance(probe, GeneratedEnv):
            # read again from its file, so that the schedule belongs to it
            name = str(folder / "network.onnx")
            probe.write_network(Path(name))
            problem = shared_problem(name, problem.chip, problem.batch, max_depth, None, objective)
        console.print(
            f"{problem.graph.name} on {problem.chip.name}, batch {problem.batch}: "
            f"{len(problem.operators)} operators, {len(problem.library)} fragments, "
            f"{problem.num_actions} actions"
        )
        with Progress(console=console) as progress:
            bar = progress.add_task("training", total=timesteps)
            network, history = train(
                lambda: make_env(env, kwargs),
                config,
                folder,
                env,
                resume=resume is not None,
                start=start,
                progress=lambda steps: progress.update(bar, completed=steps),
            )
        agents = schedulers_of(network)
        with console.status("comparing") as status:
            entries = compare(
                problem,
                Budget(budget, seconds or None),
                seed,
                agents,
                lambda who: status.update(f"solving: {who}"),
                scheduler,
            )
        for who in agents:
            entries[who] = Entry(entries[who].result, history.seconds)
        write_run(folder, problem, entries, env, name, seed, command)
        baselines = {n: e.result.cost for n, e in entries.items() if n not in (*agents, "random")}
        figure = training_figure(history.steps, history.returns, history.costs, baselines)
        write_figure(figure, folder / "training.png")
        if rtl:
            best = entries[best_of(entries)].result
            with console.status("emitting Verilog"):
                said = emit_verilog(problem, best, folder, weights)
            console.print(said, markup=False)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        hint = f"; go on with --env {env} --resume {folder}" if folder is not None else ""
        typer.echo(f"Interrupted{hint}", err=True)
        raise typer.Exit(130) from None
    console.print(comparison_table(problem, entries))
    console.print(f"everything is in {folder}", markup=False)


if __name__ == "__main__":
    typer.run(main)
