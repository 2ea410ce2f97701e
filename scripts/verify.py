"""Simulate an emitted chip with Verilator and compare it with the integer reference."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fragenv.errors import FragenvError
from fragenv.models.images import load_images, load_labels
from fragenv.verify.check import verify
from fragenv.verify.report import (
    COMMAND_COLUMNS,
    CYCLE_COLUMNS,
    TENSOR_COLUMNS,
    TRAFFIC_COLUMNS,
    command_rows,
    cycle_row,
    summary_lines,
    tensor_rows,
    traffic_row,
    write_report,
)
from fragenv.verify.run import Dram, VerifyError, read_manifest


def main(
    emitted: Annotated[
        Path, typer.Argument(help="Folder that scripts/emit.py wrote, with weights.")
    ],
    images: Annotated[int, typer.Option(help="Frames to run through the chip.", min=1)] = 20,
    inputs: Annotated[
        Path | None,
        typer.Option(
            help="Real inputs: .npy, or .npz with 'images' (n, channels, rows, columns) and "
            "perhaps 'labels' (n), to count what is classified right."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random inputs used otherwise.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="File for the whole verdict: .json or .md.")
    ] = None,
    dram_latency: Annotated[
        int | None, typer.Option(help="Cycles of a DRAM access; default: the chip's.", min=1)
    ] = None,
    dram_bandwidth: Annotated[
        float | None,
        typer.Option(
            help="Bytes per cycle of the DRAM, such as 10.5; default: the chip's.", min=0.01
        ),
    ] = None,
) -> None:
    """Run EMITTED in Verilator: every byte in DRAM must equal the integer reference.

    Compared are the outputs and every other tensor that goes through DRAM, the bytes that each
    command moves, and the outputs of ONNX Runtime's quantised model, which rounds halves
    differently. Prints predicted and measured cycles per task and configuration; with another
    DRAM the prediction stays that of the chip's own. Exit status: 0 where all bytes agree, 1 where
    some differ, 2 for unusable input.
    """
    console = Console()
    try:
        if report is not None and report.suffix not in (".json", ".md"):
            raise VerifyError(f"cannot write the report '{report}': give a .json or .md file")
        data, labels = None, None
        if inputs is not None:
            shape = read_manifest(emitted)["inputs"][0]["shape"]
            data, labels = load_images(inputs, tuple(shape)), load_labels(inputs)
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("simulating", total=None)
            verdict = verify(
                emitted,
                images,
                seed,
                data,
                lambda job: progress.update(bar, completed=job),
                Dram(dram_latency, dram_bandwidth),
                labels,
            )
        if report is not None:
            write_report(report, verdict, shlex.join(["python", *sys.argv]))
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    cycles = [cycle_row(task) for task in verdict.tasks]
    _print(console, "cycles of the first job: tasks, their RUNs alone", CYCLE_COLUMNS, cycles)
    traffic = [traffic_row(task) for task in verdict.tasks]
    title = "DRAM bytes of the first job, and multipliers busy while RUNs run"
    _print(console, title, TRAFFIC_COLUMNS, traffic)
    binds = command_rows(verdict, ("bind",))
    if binds:
        _print(console, "configurations of the first job", COMMAND_COLUMNS, binds)
    _print(console, "tensors in DRAM, all jobs", TENSOR_COLUMNS, tensor_rows(verdict))
    for line in summary_lines(verdict):
        console.print(line, markup=False)
    if not verdict.good:
        raise typer.Exit(1)


def _print(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    table = Table(title=title)
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, overflow="fold", justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
