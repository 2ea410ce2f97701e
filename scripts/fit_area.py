"""Fit the area model to synthesised fragments and shells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fragenv.errors import FragenvError
from fragenv.serialize import write_bytes
from fragenv.synth.area_table import as_csv, as_markdown, read
from fragenv.synth.fit import Measured, check, coarse_grained, fit, synthesise_all
from fragenv.synth.grid import Point, grid
from fragenv.synth.netlist import known
from fragenv.synth.resources import Family
from fragenv.synth.tools import yosys

COMMAND = "python scripts/fit_area.py"
MODEL = Path("fragenv/hardware/area_model.json")


def main(
    output: Annotated[Path, typer.Option(help="Folder for area.csv and area.md.")] = Path(
        "results/reference/synthesis"
    ),
    model: Annotated[Path, typer.Option(help="The model's data file.")] = MODEL,
    family: Annotated[
        list[Family] | None,
        typer.Option(help="Synthesise these families alone; others are as in area.csv."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs of Yosys at the same time.")] = 2,
    cached: Annotated[
        bool, typer.Option(help="Run nothing: fit to the circuits that were synthesised before.")
    ] = False,
) -> None:
    """Synthesise the grid for every family, fit the model, compare the two.

    A run that was interrupted goes on where it stopped: what was synthesised is kept in the user's
    cache until a cell changes. Needs pip install 'fragenv[synth]'; about an hour of CPU.
    Exit status 2 where a tool is missing or the circuits do not determine the model.
    """
    try:
        version = yosys().version  # a missing tool is reported before anything else
        points = grid()
        table = output / "area.csv"
        measured = read(table, points)
        for name in family or Family:
            measured[name] = _known(points, name) if cached else _synthesised(points, name, jobs)
        families = {name: fit(rows) for name, rows in measured.items()}
        checked = {name: check(rows, families[name]) for name, rows in measured.items()}
        if "xilinx" in families:
            families["cgra"] = coarse_grained(families["xilinx"])
        output.mkdir(parents=True, exist_ok=True)
        data = {"command": COMMAND, "yosys": version, "families": families}
        report = as_markdown(checked, COMMAND, version.split(" (")[0])
        write_bytes(model, (json.dumps(data, indent=1) + "\n").encode())
        write_bytes(table, as_csv(checked).encode())
        write_bytes(output / "area.md", report.encode())
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(report)


def _synthesised(points: list[Point], family: str, jobs: int) -> list[Measured]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn()) as bar:
        task = bar.add_task(family, total=len(points))

        def step(name: str) -> None:
            bar.update(task, advance=1, description=f"{family}: {name}")

        return synthesise_all(points, family, jobs, step)


def _known(points: list[Point], family: str) -> list[Measured]:
    found = ((point, known(point.design, family)) for point in points)
    return [Measured(point, resources) for point, resources in found if resources is not None]


if __name__ == "__main__":
    typer.run(main)
