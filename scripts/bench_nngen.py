"""Compare with NNgen 1.3.4 in emitted Verilog: its own example network and LeNet-5."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import Progress
from rtl_measure import measure, quantised
from torch import nn

from fragenv.errors import FragenvError
from fragenv.models import zoo
from fragenv.serialize import read_json, write_bytes, write_json

CHIPS = Path(__file__).parent / "chips"
#: cycles at most this share of NNgen's; lines of SystemVerilog at most
CYCLE_RATIO, LINES = 0.75, 5000
CALLS = 3000
SEED = 0
FORMAT, VERSION = "fragenv-bench-nngen", 1

Row = dict[str, Any]


def cnn() -> nn.Module:
    """NNgen's ``examples/cnn``: its layer shapes, random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 16 * 16, 256),
            nn.ReLU(),
            nn.Linear(256, 10),
        ).eval()


@dataclass(frozen=True, slots=True)
class Case:
    """A network on the means that NNgen took for it.

    ``nngen_*``: what NNgen 1.3.4 takes, simulated with Verilator. Its example's memory model
    delivers 15 words and pauses 4 cycles, in turns; ``nngen_steady_cycles`` is the same circuit
    with a memory that delivers a word in every cycle, as the one here does.
    """

    name: str
    chip: Path
    make: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    nngen_cycles: int
    nngen_steady_cycles: int | None
    nngen_lines: int
    #: seconds from the network to a verified simulation; None where only the lines have a limit
    wall_limit_s: float | None


CASES = (
    Case("cnn, 40 multipliers", CHIPS / "nngen40.toml", cnn, (3, 32, 32),
         1_788_938, 1_505_506, 63_247, 65.0),
    Case("cnn, 160 multipliers", CHIPS / "nngen160.toml", cnn, (3, 32, 32),
         1_606_234, 1_316_194, 152_474, 83.0),
    Case("LeNet-5, 104 multipliers", CHIPS / "nngen104.toml", lambda: zoo.module("lenet", SEED),
         zoo.entry("lenet").input_shape, 38_642, None, 138_155, None),
)  # fmt: skip


def measured_row(case: Case, frames: int) -> Row:
    """One case from the network to the verified simulation, in this process."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        quantised(case.make(), case.input_shape, SEED, work / "network.onnx")
        found = measure(work / "network.onnx", case.chip, "beam", CALLS, frames, SEED, work)
    verdict, chip = found.verdict, found.problem.chip
    return {
        "name": case.name,
        "cycles": verdict.measured_cycles,
        "predicted_cycles": verdict.predicted_cycles,
        "bound_cycles": found.problem.bound.latency_cycles,
        "multipliers": found.multipliers,
        "chip_multipliers": chip.multipliers,
        "sram_bytes": chip.buffer_bytes + chip.local_bytes,
        "frames": verdict.frames,
        "output_bytes": verdict.bytes,
        "wrong_bytes": verdict.wrong_bytes,
        "lines": found.lines,
        "seconds": found.seconds,
    }


def cold_row(case: Case, frames: int) -> Row:
    """``measured_row`` in a new process without compiled code of earlier ones; ``wall_s`` counts
    from its start to its end, ``cpu_s`` what it and the compilers that it starts take of the cores.

    Raises:
        FragenvError: the case fails.
    """
    with tempfile.TemporaryDirectory() as name:
        result = Path(name) / "row.json"
        caches = {"XDG_CACHE_HOME": name, "NUMBA_CACHE_DIR": f"{name}/numba"}
        start, cpu = time.perf_counter(), children_cpu_seconds()
        done = subprocess.run(
            [sys.executable, __file__, "--frames", str(frames), "--alone", case.name,
             "--row", str(result)],
            env={**os.environ, **caches}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        wall, cpu = time.perf_counter() - start, children_cpu_seconds() - cpu
        if done.returncode:
            raise FragenvError(f"{case.name}: {done.stderr.strip()[-500:]}")
        row = read_json(result, FORMAT, VERSION)["row"]
        load = round(os.getloadavg()[0], 1)
        return {**row, "wall_s": round(wall, 1), "cpu_s": round(cpu, 1), "load": load}


def children_cpu_seconds() -> float:
    """CPU seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure beside NNgen's and its limit, None where there is none."""

    case: str
    what: str
    ours: float
    nngen: float | None
    limit: float | None

    @property
    def missed(self) -> bool:
        return self.limit is not None and self.ours > self.limit

    @property
    def cells(self) -> list[str]:
        """As cells of a table."""
        ratio = "" if not self.nngen else f"{self.ours / self.nngen:.3f}"
        numbers = ["" if n is None else f"{n:,}" for n in (self.ours, self.nngen, self.limit)]
        verdict = "**missed**" if self.missed else "kept" if self.limit is not None else ""
        return [self.case, self.what, *numbers[:2], ratio, numbers[2], verdict]


def figures(case: Case, row: Row) -> list[Figure]:
    """What a row says, beside NNgen's figures and the limits."""
    compared = case.wall_limit_s is not None
    cycle_limit = int(CYCLE_RATIO * case.nngen_cycles) if compared else None

    def figure(what: str, ours: float, nngen: float | None, limit: float | None) -> Figure:
        return Figure(case.name, what, ours, nngen, limit)

    found = [
        figure("cycles", row["cycles"], case.nngen_cycles, cycle_limit),
        figure("multipliers", row["multipliers"], row["chip_multipliers"], row["chip_multipliers"]),
        figure("lines of Verilog", row["lines"], case.nngen_lines, LINES),
        figure("wrong output bytes", row["wrong_bytes"], 0, 0),
        figure("seconds to a verified simulation", row["wall_s"], None, case.wall_limit_s),
        figure("CPU seconds of that", row["cpu_s"], None, None),
    ]
    if case.nngen_steady_cycles is not None:
        what = "cycles, NNgen's memory without pauses"
        found.insert(1, figure(what, row["cycles"], case.nngen_steady_cycles, None))
    return found


def table(found: Sequence[Figure]) -> list[str]:
    """The figures as Markdown."""
    lines = ["| network | figure | ours | NNgen 1.3.4 | ratio | limit | |"]
    lines.append("|---|---|" + "---:|" * 4 + "---|")
    return lines + [f"| {' | '.join(figure.cells)} |" for figure in found]


def text(rows: Sequence[Row], found: Sequence[Figure], command: str) -> str:
    """The page of results."""
    lines = [
        "# Compared with NNgen",
        "",
        f"Made by `{command}`.",
        "",
        "The network is that of NNgen's `examples/cnn` (int8; 15.4 M multiply-accumulates, 4.2 MB",
        "of weights), and LeNet-5. The means are NNgen's: at most as many multipliers in the",
        "arrays (requantising is counted on neither side), SRAM of at most the bytes of the RAMs",
        "in its Verilog, one port of 4 bytes per cycle, 16 cycles from a request to its first word",
        "(`scripts/chips/nngen*.toml` say where each comes from). NNgen's cycles were measured",
        "with its example's memory model, which pauses for 4 cycles after every 15; ours delivers",
        "a word in every cycle. The second row compares with NNgen on a memory without pauses.",
        "Cycles are those of the emitted Verilog in Verilator, from reset to the last byte of the",
        "result. Seconds: imports, export, quantisation, search, emission, compilation and",
        f"simulation in a new process with empty caches, on {os.cpu_count()} cores with the load",
        "(runnable processes, this command's included) of the last column.",
        "",
        *table(found),
        "",
        "| network | predicted | measured | lower bound | SRAM bytes | frames | equal | load |",
        "|---|" + "---:|" * 7,
    ]
    for row in rows:
        good = row["output_bytes"] - row["wrong_bytes"]
        lines.append(
            f"| {row['name']} | {row['predicted_cycles']:,} | {row['cycles']:,} | "
            f"{row['bound_cycles']:,} | {row['sram_bytes']:,} | {row['frames']} | "
            f"{good} of {row['output_bytes']} | {row['load']} |"
        )
    return "\n".join(lines) + "\n"


def main(
    output: Annotated[Path, typer.Option(help="Folder for nngen.md and nngen.json.")] = Path(
        "results/reference/rtl"
    ),
    frames: Annotated[int, typer.Option(help="Random frames to simulate.", min=1)] = 4,
    alone: Annotated[str, typer.Option(help="Internal: the one case.", hidden=True)] = "",
    row: Annotated[Path | None, typer.Option(help="Internal: its file.", hidden=True)] = None,
) -> None:
    """Measure cycles, lines and seconds, and print them beside NNgen's and the limits.

    Takes two to three minutes: every case starts with nothing cached. Exit status: 0 where all
    limits are kept, 1 where one is missed, 2 where a case fails.
    """
    torch.set_num_threads(1)
    try:
        if row is not None:
            case = next(case for case in CASES if case.name == alone)
            write_json(row, FORMAT, VERSION, {"row": measured_row(case, frames)})
            return
        output.mkdir(parents=True, exist_ok=True)
        with Progress() as progress:
            rows = [cold_row(c, frames) for c in progress.track(CASES, description="cases")]
        found = [f for c, r in zip(CASES, rows, strict=True) for f in figures(c, r)]
        command = f"python scripts/bench_nngen.py {shlex.join(sys.argv[1:])}".rstrip()
        write_json(output / "nngen.json", FORMAT, VERSION, {"command": command, "rows": rows})
        write_bytes(output / "nngen.md", text(rows, found, command).encode("utf-8"))
    except (FragenvError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo("\n".join(table(found)))
    if any(figure.missed for figure in found):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
