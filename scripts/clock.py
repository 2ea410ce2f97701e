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
from fragenv.synth.configurations import configurations
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
#: the one circuit, which runs all of LeNet
FRAGMENT = Fragment(8, 8, (Stage.MAC, Stage.POOL))
#: what the clock is to be
WANTED_MHZ = 80


def main(
    emission: Annotated[
        Path, typer.Argument(help="New folder for the emission; one that is there is used.")
    ],
    seeds: Annotated[int, typer.Option(min=1, help="The best of nextpnr's seeds 1 to this.")] = 1,
    route: Annotated[
        bool, typer.Option(help="--no-route stops at the estimate after placement.")
    ] = True,
    shell: Annotated[bool, typer.Option(help="--no-shell: the circuit standing alone.")] = True,
    output: Annotated[
        Path | None, typer.Option(help="File for the table, such as clock.md.")
    ] = None,
) -> None:
    """Emit LeNet for one circuit of 8 x 8 lanes and a buffer of 32 KiB, and find its clock.

    The same as scripts/synth.py EMISSION --family ecp5 --place on that emission. Results are kept;
    the first time takes Yosys and nextpnr five to twenty minutes. Exit status 2 where a tool is
    missing or does not finish.
    """
    try:
        if not emission.exists():
            _emit(emission)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, transient=True) as progress:
            task = progress.add_task("", total=None)
            rows = measure(
                0,
                configurations(emission)[0],
                Family.ECP5,
                shell,
                range(1, seeds + 1),
                route,
                lambda text: progress.update(task, description=text),
            )
        text = _report(rows)
        if output is not None:
            write_bytes(output, text.encode())
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(text)


def _emit(folder: Path) -> None:
    problem = Problem(zoo.graph("lenet"), CHIP, library=(FRAGMENT,))
    result = SCHEDULERS.get("greedy").solve(problem, Budget(1000), seed=0)
    emit_folder(problem, lower(problem, result.state), None, folder)


def _report(rows: list[Row]) -> str:
    command = shlex.join(["python", *sys.argv])
    lines = [
        f"# Clock of {FRAGMENT.key} on an ECP5-85",
        "",
        f"Made by `{command}` with {yosys().version.split(' (')[0]} and {nextpnr().version}, speed",
        f"grade 6; wanted: {WANTED_MHZ} MHz. LUTs, flip-flops and so on: predicted / found.",
        "",
        as_markdown(rows),
    ]
    for row in rows:
        if row.placement is not None:
            ends = f"`{row.placement.path_from}` to `{row.placement.path_to}`"
            lines.append(f"Longest path of {row.name}: {ends}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
