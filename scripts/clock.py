"""The clock of a small chip with 8 x 8 lanes on an ECP5-85: emit it, place it, route it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.scheduler import SCHEDULERS, Budget
from fragenv.errors import FragenvError
from fragenv.hardware.chip import Chip
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.models import zoo
from fragenv.rtl.emit import emit_folder
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.serialize import write_bytes
from fragenv.synth.configurations import Configuration, top_of
from fragenv.synth.place import Effort
from fragenv.synth.report import Row, as_markdown, measure
from fragenv.synth.resources import Family
from fragenv.synth.tools import nextpnr, yosys

#: an LFE5U-85F of which 32 KiB are the tensor buffer, on a DRAM of 64 bits per cycle (16-bit
#: DDR2-400 at 100 MHz); the rest as in the preset ecp5-85
CHIP = Chip(
    name="ecp5-85-small",
    family="ecp5",
    multipliers=156,
    lut=84_000,
    buffer_bytes=32_768,
    local_bytes=36_864,
    dram_bytes_per_cycle=8,
    dram_latency_cycles=30,
    config_bytes=1_912_500,
    config_bytes_per_cycle=0.31,
    clock_mhz=80.0,
)
LANES = 8
#: what the clock is to be
WANTED_MHZ = 80


def main(
    pool: Annotated[bool, typer.Option(help="--no-pool: multiply-accumulate alone.")] = True,
    shell: Annotated[bool, typer.Option(help="--no-shell: the circuit standing alone.")] = True,
    seeds: Annotated[int, typer.Option(min=1, help="The best of nextpnr's seeds 1 to this.")] = 1,
    route: Annotated[
        bool, typer.Option(help="--no-route stops at the estimate after placement.")
    ] = True,
    minutes: Annotated[
        float,
        typer.Option(min=0.1, help="Of a seed; its router may never end."),
    ] = 60,
    emission: Annotated[
        Path | None, typer.Option(help="New folder for LeNet, emitted for this chip and circuit.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File for the table.")] = None,
) -> None:
    """Find the clock of one circuit of 8 x 8 lanes on a chip with a buffer of 32 KiB, which can run
    all of LeNet.

    scripts/synth.py EMISSION --family ecp5 --place finds the same of its emission. Results are
    kept; the first time takes Yosys and nextpnr five to twenty minutes of an idle core. Exit status
    2 where a tool is missing or places nothing in its time.
    """
    try:
        effort = Effort(range(1, seeds + 1), route, 60 * minutes)
        circuit = Fragment(LANES, LANES, (Stage.MAC, Stage.POOL) if pool else (Stage.MAC,))
        if emission is not None:
            _emit(circuit, emission)
        text = _report(_measured(circuit, shell, effort), circuit)
        if output is not None:
            write_bytes(output, text.encode())
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(text)


def _measured(circuit: Fragment, shell: bool, effort: Effort) -> list[Row]:
    configuration = Configuration((0,), (circuit,), top_of(CHIP, (circuit,)))
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("", total=None)

        def say(text: str) -> None:
            progress.update(task, description=text)

        return measure(0, configuration, Family.ECP5, shell, effort, say)


def _emit(circuit: Fragment, folder: Path) -> None:
    problem = Problem(zoo.graph("lenet"), CHIP, library=(circuit,))
    result = SCHEDULERS.get("greedy").solve(problem, Budget(1000), seed=0)
    emit_folder(problem, lower(problem, result.state), None, folder)


def _report(rows: list[Row], circuit: Fragment) -> str:
    command = shlex.join(["python", *sys.argv])
    lines = [
        f"# Clock of {circuit.key} on an ECP5-85",
        "",
        f"Made by `{command}` with {yosys().version.split(' (')[0]} and {nextpnr().version}, ",
        f"speed grade 6; wanted: {WANTED_MHZ} MHz. LUTs and so on: predicted / found.",
        "",
        as_markdown(rows),
    ]
    for row in rows:
        if row.placement is not None and row.placement.path_from:
            ends = f"`{row.placement.path_from}` to `{row.placement.path_to}`"
            lines.append(f"Longest path of {row.name}: {ends}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
