"""Evaluate a trained agent on any model and chip, without training."""

from __future__ import annotations

import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from options import MaxDepth, ObjectiveOption, SchedulerOption, SecondsOption
from rich.console import Console

warnings.filterwarnings("ignore", category=FutureWarning, module="torch")

from agents.comparison import comparison_table  # noqa: E402
from agents.experiment import compare, new_folder, write_run  # noqa: E402
from agents.ppo.checkpoint import load_agent  # noqa: E402
from agents.ppo.scheduler import schedulers_of  # noqa: E402
from agents.scheduler import Budget  # noqa: E402
from fragenv.env.problems import shared_problem  # noqa: E402
from fragenv.env.registry import MODEL_ENVIRONMENT, lookup  # noqa: E402
from fragenv.errors import FragenvError  # noqa: E402
from fragenv.schedule.objective import Objective  # noqa: E402

console = Console()


def main(
    agent: Annotated[Path, typer.Option(help="The agent/ folder of a run.")],
    env: Annotated[str | None, typer.Option(help="Environment id.")] = None,
    model: Annotated[str | None, typer.Option(help="ONNX file or zoo name.")] = None,
    chip: Annotated[str | None, typer.Option(help="Chip preset or path of a TOML file.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Frames per job.")] = None,
    max_depth: MaxDepth = 1,
    objective: ObjectiveOption = Objective.LATENCY,
    budget: Annotated[int, typer.Option(min=1, help="apply calls of each scheduler.")] = 2_000,
    scheduler: SchedulerOption = None,
    seconds: SecondsOption = 15.0,
    samples: Annotated[
        int | None, typer.Option(min=0, help="Sampled rollouts; default: as the budget allows.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the schedulers.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run; default: results/evaluate-MODEL-CHIP.")
    ] = None,
) -> None:
    """Let an agent schedule a network that it may never have seen: its greedy rollout, and the best
    of its samples, beside every heuristic at the same budget of apply calls."""
    try:
        if env is None and model is None:
            raise FragenvError("say what to schedule: --env ID or --model FILE.onnx")
        name, kwargs = lookup(env or MODEL_ENVIRONMENT, model, chip, batch, max_depth, objective)
        if not name:
            raise FragenvError(
                f"{env} draws its networks; give --model FILE.onnx, such as the network.onnx that "
                "scripts/train.py writes"
            )
        network, config = load_agent(agent)
        problem = shared_problem(**kwargs)
        stem = Path(name).stem
        folder = new_folder(
            output or Path("results") / f"evaluate-{stem}-{problem.chip.name}-b{problem.batch}"
        )
        agents = schedulers_of(network, samples)
        with console.status("comparing") as status:
            entries = compare(
                problem,
                Budget(budget, seconds or None),
                seed,
                agents,
                lambda who: status.update(f"solving: {who}"),
                scheduler,
            )
        command = shlex.join(["python", *sys.argv])
        write_run(folder, problem, entries, env or MODEL_ENVIRONMENT, name, seed, command)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    console.print(f"agent trained on {config.trained_on}, seed {config.seed}", markup=False)
    console.print(comparison_table(problem, entries))
    console.print(f"everything is in {folder}", markup=False)


if __name__ == "__main__":
    typer.run(main)
