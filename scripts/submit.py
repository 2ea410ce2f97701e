"""Enter schedules into a leaderboard, or check all that a leaderboard has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from agents.benchmark.leaderboard import author_of, enter
from agents.benchmark.submission import faults, judge
from fragenv.errors import FragenvError

console = Console()


def main(
    schedule: Annotated[
        list[Path] | None, typer.Argument(help="schedule.json files, or folders of runs.")
    ] = None,
    author: Annotated[str | None, typer.Option(help="Who found them.")] = None,
    leaderboard: Annotated[Path, typer.Option(help="Folder of the leaderboard.")] = Path(
        "results/benchmark"
    ),
    verify: Annotated[
        Path | None,
        typer.Option(help="Check this leaderboard instead; exit status 1 if it is off."),
    ] = None,
) -> None:
    """Check schedules and enter those that beat the listed ones.

    Every schedule is judged twice: its decisions are taken again, and a checker that shares no code
    with that derives cycles and bytes from its commands. Both must agree with each other and with
    the file. What is refused is said, with the reason, and changes nothing; exit status 1 then.

    Example: python scripts/submit.py results/AlexNetChip-v0-seed0 --author "A. Name"
    """
    if verify is not None:
        _verify(verify)
        return
    try:
        if not schedule or author is None:
            raise FragenvError("say what to enter and who found it: submit.py FILE --author NAME")
        name = author_of(author)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    refused = 0
    for path in track(schedule, "checking", console=console, transient=True):
        try:
            candidate = judge(path, name)
            entered = enter(leaderboard, candidate)
        except FragenvError as error:
            refused += 1
            console.print(f"refused: {path}: {error}", markup=False, soft_wrap=True)
            continue
        entry = candidate.entry
        said = "entered" if entered else "correct, but no better than the listed one"
        line = f"{said}: {path}: {entry.instance.key}, cost {entry.cost:.6f}"
        console.print(line, markup=False, soft_wrap=True)
    if refused:
        raise typer.Exit(1)


def _verify(folder: Path) -> None:
    try:
        found = faults(folder)
    except FragenvError as error:
        found = [str(error)]
    for fault in found:
        console.print(fault, markup=False, soft_wrap=True)
    if found:
        raise typer.Exit(1)
    console.print(f"every schedule of '{folder}' is what it says", markup=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
