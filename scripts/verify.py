"""Simulate an emitted chip with Verilator and compare it with the integer reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fragenv.errors import FragenvError
from fragenv.verify.check import Verdict, verify
from fragenv.verify.run import VerifyError


def main(
    emitted: Annotated[
        Path, typer.Argument(help="Folder that scripts/emit.py wrote, with weights.")
    ],
    images: Annotated[int, typer.Option(help="Frames to run through the chip.", min=1)] = 20,
    inputs: Annotated[
        Path | None,
        typer.Option(
            help="Real inputs: .npy, or .npz with 'images'; (n, channels, rows, columns)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random inputs used otherwise.")] = 0,
) -> None:
    """Run EMITTED in Verilator: every output byte must equal the integer reference.

    Prints predicted and measured cycles per task. Exit status: 0 where all bytes agree, 1 where
    some differ, 2 for unusable input.
    """
    console = Console()
    try:
        data = None if inputs is None else _load(inputs)
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("simulating", total=None)
            verdict = verify(
                emitted, images, seed, data, lambda job: progress.update(bar, completed=job)
            )
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    console.print(_table(verdict))
    good = verdict.bytes - verdict.wrong_bytes
    console.print(
        f"{verdict.frames} frames: {good:,} of {verdict.bytes:,} output bytes equal the reference; "
        f"{verdict.measured_cycles:,} cycles measured, {verdict.predicted_cycles:,} predicted "
        f"({verdict.cycle_error:+.2%})"
    )
    if verdict.wrong_bytes:
        raise typer.Exit(1)


def _load(path: Path) -> np.ndarray:
    try:
        data = np.load(path, allow_pickle=False)
        return np.asarray(data if isinstance(data, np.ndarray) else data["images"], np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise VerifyError(f"cannot read the inputs '{path}': {error}") from None


def _table(verdict: Verdict) -> Table:
    table = Table(title="cycles of the first job: start - end of each task, its RUNs alone")
    table.add_column("task", overflow="fold")
    for column in ("predicted", "measured", "RUNs predicted", "measured", "difference"):
        table.add_column(column, justify="right")
    for t in verdict.tasks:
        table.add_row(
            t.task,
            f"{t.predicted_start:,} - {t.predicted_end:,}",
            f"{t.measured_start:,} - {t.measured_end:,}",
            f"{t.predicted_run:,}",
            f"{t.measured_run:,}",
            f"{t.measured_run / t.predicted_run - 1:+.2%}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
