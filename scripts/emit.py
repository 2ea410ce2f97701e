"""Emit the Verilog, the program and the memory image of a schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fragenv.errors import FragenvError
from fragenv.models.load import load_graph
from fragenv.rtl.emit import emit_folder
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Program
from fragenv.schedule.schedule import load_schedule
from fragenv.schedule.trusted import trusted_program


def main(
    schedule: Annotated[
        Path, typer.Argument(help="A schedule.json, or the folder of a run that has one.")
    ],
    output: Annotated[Path, typer.Option(help="New folder for the emission.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="Quantised ONNX file of the network; needed to verify the emission."),
    ] = None,
) -> None:
    """Write rtl/*.sv, program.bin and .hex, memory.bin and manifest.json to --output.

    The chip's program and memory image belong together; scripts/verify.py runs them. Without
    --weights all weights are zero. The schedule is checked before: one that was edited so that it
    breaks a rule, or differs from its decisions, is refused and nothing is written. Exit status 2
    where the schedule cannot be emitted.
    """
    try:
        problem, program = _replay(schedule)
        emission = emit_folder(problem, program, weights, output)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    units = len(emission.manifest["units"]) - 2
    typer.echo(
        f"{output}: {units} circuits, {len(program.commands)} commands, "
        f"{len(emission.memory):,} bytes of DRAM, "
        f"{emission.manifest['predicted_cycles']:,} cycles predicted"
    )


def _replay(path: Path) -> tuple[Problem, Program]:
    """The problem of a schedule file and its program, once the file is checked."""
    found = load_schedule(path)
    problem = Problem(
        load_graph(found.model),
        found.chip,
        found.batch,
        found.max_depth,
        objective=found.objective,
    )
    return problem, trusted_program(path, found, problem)


if __name__ == "__main__":
    typer.run(main)
