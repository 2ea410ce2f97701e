"""Synthesise the configurations of an emission and compare with the area model."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fragenv.errors import FragenvError
from fragenv.serialize import write_bytes, write_json
from fragenv.synth.configurations import configurations
from fragenv.synth.place import Effort
from fragenv.synth.report import Row, as_json, as_markdown, measure
from fragenv.synth.resources import Family
from fragenv.synth.tools import SynthesisError, yosys

FORMAT, VERSION = "fragenv-synthesis", 1


def main(
    emission: Annotated[Path, typer.Argument(help="Folder that scripts/emit.py wrote.")],
    family: Annotated[Family, typer.Option(help="FPGAs to map to.")] = Family.ECP5,
    place: Annotated[
        bool, typer.Option(help="Place and route on an ECP5-85, grade 6; minutes.")
    ] = False,
    seeds: Annotated[
        int, typer.Option(min=1, help="With --place: the best of nextpnr's seeds 1 to this one.")
    ] = 1,
    route: Annotated[
        bool, typer.Option(help="With --place: --no-route stops at the estimate after placement.")
    ] = True,
    minutes: Annotated[
        float,
        typer.Option(
            min=0.1, help="With --place: longest time of a seed; its router may never end."
        ),
    ] = 60,
    configuration: Annotated[
        int | None, typer.Option(help="Only this configuration, from 0 on.")
    ] = None,
    shell: Annotated[
        bool, typer.Option(help="The whole chip; otherwise each fragment standing alone.")
    ] = True,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the tables; the emission's by default.")
    ] = None,
) -> None:
    """Count LUTs, flip-flops, multipliers and block RAMs with Yosys, and say what was predicted.

    A configuration is the set of circuits that are bound at the same time. Results are kept: the
    same design is synthesised once. Writes synthesis-FAMILY.json and .md. Needs
    pip install 'fragenv[synth]'; the first start of its tools takes half a minute.
    Exit status 2 where something is missing or wrong.
    """
    try:
        effort = Effort(range(1, seeds + 1), route, 60 * minutes) if place else None
        rows = _rows(emission, family.value, effort, configuration, shell)
        target = output or emission
        target.mkdir(parents=True, exist_ok=True)
        command = shlex.join(["python", *sys.argv])
        table = as_markdown(rows)
        name = f"synthesis-{family.value}"
        write_json(
            target / f"{name}.json",
            FORMAT,
            VERSION,
            {"command": command, "yosys": yosys().version, "rows": as_json(rows)},
        )
        text = f"# Synthesis\n\nMade by `{command}`. Predicted / found.\n\n{table}"
        write_bytes(target / f"{name}.md", text.encode("utf-8"))
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(table)


def _rows(
    emission: Path, family: str, effort: Effort | None, only: int | None, shell: bool
) -> list[Row]:
    yosys()  # a missing tool is reported before anything else
    found = configurations(emission)
    if only is not None and not 0 <= only < len(found):
        raise SynthesisError(f"'{emission}' has configurations 0 to {len(found) - 1}, not {only}")
    chosen = range(len(found)) if only is None else [only]
    rows: list[Row] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("", total=None)
        for number in chosen:
            rows += measure(
                number,
                found[number],
                family,
                shell,
                effort,
                lambda text, n=number: progress.update(  # type: ignore[misc]
                    task, description=f"configuration {n} of {len(found)}: {text}"
                ),
            )
    return rows


if __name__ == "__main__":
    typer.run(main)
