"""Emit the Verilog, the program and the memory image of a schedule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fragenv.errors import FragenvError
from fragenv.hardware.chip import chip_from_dict, load_chip
from fragenv.models.load import load_graph
from fragenv.rtl.emit import emit_folder
from fragenv.rtl.errors import EmitError
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Program


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
    --weights all weights are zero. Exit status 2 where the schedule cannot be emitted.
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
    """The problem of a schedule file and its program, by taking its actions again."""
    path = path / "schedule.json" if path.is_dir() else path
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
        model, chip, batch = data["model"], data["chip"], data["batch"]
        actions = [int(a) for a in data["actions"]]
    except OSError as error:
        raise EmitError(f"cannot read the schedule '{path}': {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise EmitError(
            f"'{path}' is no schedule: it needs model, chip, batch and actions"
        ) from None
    known = chip_from_dict(chip, str(path)) if isinstance(chip, dict) else load_chip(chip)
    problem = Problem(load_graph(model), known, batch)
    state = problem.initial()
    for number, action in enumerate(actions):
        if action not in problem.legal_actions(state):
            raise EmitError(
                f"'{path}': action {number} is illegal; the schedule is another model's"
            )
        state = problem.apply(state, action)
    if not state.finished:
        raise EmitError(f"'{path}': the schedule is not finished")
    return problem, lower(problem, state)


if __name__ == "__main__":
    typer.run(main)
