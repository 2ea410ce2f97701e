"""Fit the area model to synthesised fragments and shells."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fragenv.errors import FragenvError
from fragenv.hardware.resources import RESOURCES
from fragenv.serialize import write_bytes
from fragenv.synth.fit import Checked, check, coarse_grained, fit, grid, synthesise_all
from fragenv.synth.netlist import FAMILIES
from fragenv.synth.tools import yosys

COMMAND = "python scripts/fit_area.py"
MODEL = Path("fragenv/hardware/area_model.json")
#: relative errors that the model promises not to pass
WANTED = {"lut": 0.15, "ff": 0.15, "dsp": 0.0, "sram": 0.05}


def main(
    output: Annotated[Path, typer.Option(help="Folder for area.csv and area.md.")] = Path(
        "results/reference/synthesis"
    ),
    model: Annotated[Path, typer.Option(help="The model's data file.")] = MODEL,
    family: Annotated[
        list[str] | None, typer.Option(help="Fit these families alone; all by default.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Runs of Yosys at the same time.")] = 2,
) -> None:
    """Synthesise the grid for every family, fit the model, compare the two.

    A run that was interrupted goes on where it stopped: what was synthesised is kept in the user's
    cache until a cell changes. Needs pip install 'fragenv[synth]'; about 40 minutes of CPU.
    """
    try:
        points = grid()
        checked: dict[str, list[Checked]] = {}
        families = {}
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn()) as bar:
            for name in family or FAMILIES:
                task = bar.add_task(name, total=len(points))
                measured = synthesise_all(points, name, jobs, lambda _, t=task: bar.advance(t))  # type: ignore[misc]
                families[name] = fit(measured)
                checked[name] = check(measured, families[name])
        if "xilinx" in families:
            families["cgra"] = coarse_grained(families["xilinx"])
        output.mkdir(parents=True, exist_ok=True)
        data = {"command": COMMAND, "yosys": yosys().version, "families": families}
        write_bytes(model, (json.dumps(data, indent=1) + "\n").encode())
        write_bytes(output / "area.csv", _csv(checked).encode())
        report = _markdown(checked)
        write_bytes(output / "area.md", report.encode())
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(report)


def _csv(checked: dict[str, list[Checked]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}{kind}" for name in RESOURCES for kind in ("", "_predicted")]
    writer.writerow(["family", "kind", "name", *columns])
    for family, rows in checked.items():
        for row in rows:
            point = row.measured.point
            values = [
                getattr(side, name)
                for name in RESOURCES
                for side in (row.measured.found, row.predicted)
            ]
            writer.writerow([family, point.kind, point.name, *values])
    return text.getvalue()


def _markdown(checked: dict[str, list[Checked]]) -> str:
    lines = [
        "# The area model against Yosys",
        "",
        f"Made by `{COMMAND}` with {yosys().version.split(' (')[0]}; all points are in area.csv.",
        "Each cell: the largest relative error and the circuit that has it.",
        "",
        "| family | kind | circuits | " + " | ".join(RESOURCES) + " |",
        "|---|---|---|" + "---|" * len(RESOURCES),
    ]
    for family, rows in checked.items():
        for kind in dict.fromkeys(r.measured.point.kind for r in rows):
            these = [r for r in rows if r.measured.point.kind == kind]
            cells = [_worst(these, name) for name in RESOURCES]
            lines.append(f"| {family} | {kind} | {len(these)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _worst(rows: list[Checked], resource: str) -> str:
    worst = max(rows, key=lambda r: abs(r.error(resource)))
    error = worst.error(resource)
    text = f"{100 * error:+.1f}% {worst.measured.point.name}" if error else "0"
    return f"**{text}**" if abs(error) > WANTED[resource] else text


if __name__ == "__main__":
    typer.run(main)
