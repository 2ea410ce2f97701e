"""Measure the latency of all runnable cells of NAS-Bench-201 on chips."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fragenv.errors import FragenvError
from fragenv.generate.latency import LatencyOracle
from fragenv.generate.latency_table import (
    SYSTEM,
    Cycles,
    column,
    functions,
    load_latencies,
    save_latencies,
)
from fragenv.generate.weights import WeightsError, read_weights, write_weights
from fragenv.hardware.chip import Chip, load_chip

#: seconds between two states on disk, from which an interrupted run goes on
SAVE_EVERY_S = 20.0
_STATE = "latency state"


def measure(chip: Chip, state_path: Path, progress: Progress) -> tuple[Cycles, float]:
    """Cycles of every cell and the processor seconds that they took, in this run and in those
    before it that were interrupted."""
    oracle, (found, numbers) = LatencyOracle(chip), functions()
    settings = json.dumps({"chip": repr(chip), "library": [f.key for f in oracle.library]})
    done: list[int] = []
    before = 0.0
    if state_path.exists():
        tensors, header = read_weights(state_path, _STATE)
        if header["settings"] != settings:
            raise WeightsError(
                f"'{state_path}' is the state of a run with another chip or other fragments; "
                "remove it to begin anew"
            )
        done, before = tensors["cycles"].tolist(), header["seconds"]
    bar = progress.add_task(chip.name, total=len(found), completed=len(done))
    start, saved = time.process_time(), time.monotonic()
    for architecture in found[len(done) :]:
        done.append(oracle(architecture))
        progress.advance(bar)
        if time.monotonic() - saved > SAVE_EVERY_S:
            seconds = before + time.process_time() - start
            header = {"settings": settings, "seconds": seconds}
            write_weights(state_path, _STATE, {"cycles": torch.tensor(done)}, header)
            saved = time.monotonic()
    return np.array(done)[numbers], before + time.process_time() - start


def main(
    chip: Annotated[
        list[str], typer.Option(help="Chip preset or path of a TOML file; may be repeated.")
    ],
    output: Annotated[
        Path, typer.Option(help="File for the table; columns of other chips in it are kept.")
    ] = Path(f"{SYSTEM}.safetensors"),
) -> None:
    """Schedule the networks of all 5,424 distinct functions among the 15,284 cells quickly on each
    chip and write the cycles as columns of one table.

    Takes some five minutes of one core for a chip. Interrupted and called again with the same
    options, it goes on where it was.

    Example: scripts/latency_cells.py --chip cgra512 --chip ecp5-85
    --output fragenv/generate/trained/nb201-latency.safetensors
    """
    torch.set_num_threads(1)
    command = shlex.join(["python", "scripts/latency_cells.py", *sys.argv[1:]])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        chips = [load_chip(name) for name in chip]
        for one in chips:
            cycles, made = load_latencies(output) if output.exists() else ({}, {})
            state_path = output.with_suffix(f".{one.name}.state")
            with Progress(*columns, TimeRemainingColumn()) as progress:
                cycles[column(one.name)], seconds = measure(one, state_path, progress)
            oracle = LatencyOracle(one)
            made[column(one.name)] = {
                "skeleton": asdict(oracle.skeleton),
                "batch": oracle.batch,
                "fragments": [f.key for f in oracle.library],
                "command": command,
            }
            save_latencies(output, cycles, made)
            state_path.unlink(missing_ok=True)
            typer.echo(f"{one.name}: {seconds:.0f} s of one core, in {output}")
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
