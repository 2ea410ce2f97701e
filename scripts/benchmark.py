"""Compare schedulers on all networks and chips, at equal calls of apply or at equal seconds."""

from __future__ import annotations

import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# a library of the trainer's announces its own deprecations
warnings.filterwarnings("ignore", category=FutureWarning, module="torch")

from agents.benchmark.contestants import Field, every_scheduler  # noqa: E402
from agents.benchmark.report import write_report  # noqa: E402
from agents.benchmark.run import Session  # noqa: E402
from agents.benchmark.suite import ALL_OBJECTIVES, Limit, Suite  # noqa: E402
from agents.experiment import new_folder  # noqa: E402
from agents.splits import models_of  # noqa: E402
from fragenv.errors import FragenvError  # noqa: E402
from fragenv.hardware.chip import preset_names  # noqa: E402
from fragenv.schedule.bounds_task import MAX_SETTINGS  # noqa: E402

#: what --quick takes where nothing else is said
QUICK_MODELS, QUICK_CHIPS, QUICK_BUDGETS, QUICK_SEEDS = (
    ("lenet", "alexnet"),
    ("cgra512",),
    (100, 400),
    2,
)
console = Console()


def main(
    model: Annotated[
        list[str] | None, typer.Option(help="Network of the zoo; again for more. Default: all.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Without --model: train, validation, test (splits.toml) or all.")
    ] = "all",
    chip: Annotated[
        list[str] | None, typer.Option(help="Chip preset; again for more. Default: all.")
    ] = None,
    objective: Annotated[
        list[str] | None, typer.Option(help="latency or throughput. Default: both.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Frames of a job; again for more. Default: 1.")
    ] = None,
    max_depth: Annotated[
        list[int] | None, typer.Option(help="1: no fused layers. Default: 1.")
    ] = None,
    scheduler: Annotated[
        list[str] | None, typer.Option(help="Registered scheduler; again for more. Default: all.")
    ] = None,
    agent: Annotated[
        list[Path] | None, typer.Option(help="agent/ folder of a training; again for more.")
    ] = None,
    budget: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="apply calls of a search; again for curves. Default: 200, 1000, 5000."
        ),
    ] = None,
    seconds: Annotated[
        list[float] | None,
        typer.Option(min=0.01, help="Instead of calls: seconds of a search; again for more."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds of schedulers that use one. Default: 3.")
    ] = None,
    settings: Annotated[
        int, typer.Option(min=0, help="Settings up to which bounds look at every plan (tight).")
    ] = MAX_SETTINGS,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    author: Annotated[str, typer.Option(help="In the leaderboard.")] = "fragenv",
    quick: Annotated[
        bool, typer.Option("--quick", help="A small choice that shows everything, in a minute.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Folder of rows, tables, pictures.")] = Path(
        "results/benchmark"
    ),
) -> None:
    """Run every scheduler on every network and chip, and write benchmark.md, benchmark.csv,
    pictures, and a leaderboard with the best schedule of every instance.

    Rows are kept as they are found: a run that was interrupted goes on with the same command, rows
    of another version of the code are made anew. Options choose what is run and what the tables
    show; docs/benchmark.md has the protocol.

    Example: python scripts/benchmark.py --split test --chip cgra512 --budget 1000 --jobs 4
    """
    command = shlex.join(["python", "scripts/benchmark.py", *sys.argv[1:]])
    torch.set_num_threads(1)
    limits = [Limit(seconds=s) for s in dict.fromkeys(seconds or [])]
    if budget or not limits:
        budgets = budget or (QUICK_BUDGETS if quick else (200, 1000, 5000))
        limits = [*(Limit(calls=b) for b in dict.fromkeys(budgets)), *limits]
    try:
        models = model or (QUICK_MODELS if quick and split == "all" else models_of(split))
        suite = Suite(
            models=models,
            chips=chip or (QUICK_CHIPS if quick else preset_names()),
            objectives=objective or ALL_OBJECTIVES,
            batches=batch or [1],
            depths=max_depth or [1],
            limits=limits,
            seeds=seeds or (QUICK_SEEDS if quick else 3),
        )
        field = Field(every_scheduler(scheduler), tuple(agent or ()))
        session = Session(suite, field, new_folder(output), settings, author)
        _run(session, jobs, command)
        write_report(session, command)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted; the same command goes on where this one stopped", err=True)
        raise typer.Exit(130) from None
    console.print((output / "benchmark.md").read_text("utf-8"), markup=False, soft_wrap=True)
    console.print(f"everything is in {output}", markup=False)


def _run(session: Session, jobs: int, command: str) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("searches", total=session.asked)
        progress.update(bar, completed=session.done)
        for said in session.run(jobs, command):
            progress.update(bar, description=said, completed=session.done)


if __name__ == "__main__":
    typer.run(main)
