"""Whole networks in Verilator: cycles and DRAM bytes against the prediction, bits against the
reference, and the utilisation of the multipliers."""

from __future__ import annotations

import multiprocessing
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import Progress
from rtl_measure import measure, quantised

from agents.benchmark.row_store import Row, RowStore, source_digest
from fragenv.errors import FragenvError
from fragenv.graph.operators import OpKind
from fragenv.hardware.chip import load_chip
from fragenv.models import zoo
from fragenv.schedule.program import DMA
from fragenv.serialize import write_bytes, write_json
from fragenv.verify.check import TaskCycles

NETWORKS = ("alexnet", "resnet18", "mobilenetv2", "squeezenet")
CHIPS = ("ecp5-85", "xc7z020", "cgra512")
SOLVERS = ("greedy", "beam", "static_set")
UTILISATION_CHIP = Path(__file__).parent / "chips" / "mac256.toml"

#: limits: relative errors of cycles, the least predicted cycles for which a task is judged, share
#: of the multipliers that work while a compute-bound RUN runs
WHOLE_ERROR, TASK_ERROR, TASK_CYCLES, UTILISATION = 0.02, 0.05, 10_000, 0.92
FORMAT, VERSION = "fragenv-bench-rtl", 1


# ---- whole networks ----
@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    network: str
    chip: str
    solver: str
    calls: int
    frames: int
    seed: int

    @property
    def key(self) -> str:
        """What tells rows apart."""
        return f"{self.network} {self.chip} {self.solver} {self.calls} {self.frames} {self.seed}"


def row_of(case: Case, model: Path, work: Path) -> Row:
    """Measure one case; where it fails the row says why."""
    row: Row = {"key": case.key, "network": case.network, "chip": case.chip, "solver": case.solver}
    start = time.perf_counter()
    try:
        found = measure(model, case.chip, case.solver, case.calls, case.frames, case.seed, work)
    except FragenvError as error:
        return {**row, "error": str(error), "wall_s": round(time.perf_counter() - start, 1)}
    verdict = found.verdict
    return {
        **row,
        "predicted_cycles": verdict.predicted_cycles,
        "measured_cycles": verdict.measured_cycles,
        "cycle_error": verdict.cycle_error,
        "worst_task": worst_task(verdict.tasks),
        "predicted_bytes": found.program.read_bytes + found.program.write_bytes,
        # not every version of the harness counts them
        "measured_bytes": getattr(verdict, "measured_bytes", None),
        "output_bytes": verdict.bytes,
        "wrong_bytes": verdict.wrong_bytes,
        "seconds": found.seconds,
        "wall_s": round(time.perf_counter() - start, 1),
    }


def worst_task(tasks: Sequence[TaskCycles]) -> dict[str, Any] | None:
    """The task of more than ``TASK_CYCLES`` whose measured cycles, of its RUNs or from its first
    command to its last, differ most from the prediction; None where no task is that long."""
    pairs = [
        pair
        for t in tasks
        for pair in (
            (t.task, "RUNs", t.predicted_run, t.measured_run),
            (
                *(t.task, "span"),
                *(t.predicted_end - t.predicted_start, t.measured_end - t.measured_start),
            ),
        )
    ]
    found: list[dict[str, Any]] = [
        {"task": task, "of": what, "error": measured / predicted - 1}
        for task, what, predicted, measured in pairs
        if predicted > TASK_CYCLES
    ]
    return max(found, key=lambda row: abs(row["error"]), default=None)


def misses(row: Row) -> list[str]:
    """The limits that a row misses, in words; none for a good row."""
    if "error" in row:
        return [str(row["error"])]
    found = []
    if row["wrong_bytes"]:
        found.append(f"{row['wrong_bytes']} wrong bytes")
    if abs(row["cycle_error"]) > WHOLE_ERROR:
        found.append(f"cycles off by {row['cycle_error']:+.2%}")
    worst = row["worst_task"]
    if worst is not None and abs(worst["error"]) > TASK_ERROR:
        found.append(f"{worst['task']} off by {worst['error']:+.2%}")
    measured = row["measured_bytes"]
    if measured is not None and measured != row["predicted_bytes"]:
        found.append(f"{measured:,} DRAM bytes, not {row['predicted_bytes']:,}")
    return found


def network_table(rows: Sequence[Row]) -> list[str]:
    """The rows as Markdown."""
    names = (
        *("network", "chip", "solver", "cycles predicted", "measured", "error", "worst task"),
        *("DRAM bytes predicted", "measured", "wrong bytes", "wall s", "verdict"),
    )
    lines = [f"| {' | '.join(names)} |", "|---|---|---|" + "---:|" * 8 + "---|"]
    for row in rows:
        head = [row["network"], row["chip"], row["solver"]]
        bad = "; ".join(misses(row))
        if "error" in row:
            lines.append(f"| {' | '.join([*head, *[''] * 7, str(row['wall_s']), bad])} |")
            continue
        worst, counted = row["worst_task"], row["measured_bytes"]
        cells = [
            f"{row['predicted_cycles']:,}",
            f"{row['measured_cycles']:,}",
            f"{row['cycle_error']:+.3%}",
            "-" if worst is None else f"{worst['error']:+.3%} ({worst['task']}, {worst['of']})",
            f"{row['predicted_bytes']:,}",
            "not counted" if counted is None else f"{counted:,}",
            f"{row['wrong_bytes']} of {row['output_bytes']:,}",
            f"{row['wall_s']}",
            bad or "good",
        ]
        lines.append(f"| {' | '.join(head + cells)} |")
    return lines


# ---- utilisation ----
def utilisation_rows(work: Path, seed: int) -> list[Row]:
    """The 3x3 layers of VGG16 on 16 x 16 lanes: multiply-accumulates over multipliers x cycles of
    the layer's RUNs, measured.

    Raises:
        FragenvError: the network cannot be emitted or simulated.
    """
    chip = load_chip(UTILISATION_CHIP)
    entry = zoo.entry("vgg16")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = entry.make().get_submodule("features")
    model = work / f"vgg16-convolutions-{seed}-{source_digest()}.onnx"
    if not model.exists():
        quantised(layers, entry.input_shape, seed, model)
    # the widest fragment alone, without a search: the chip holds no second one beside it
    found = measure(model, UTILISATION_CHIP, "uniform", 200, 1, seed, work)
    names = [op.name for op in found.problem.operators]
    rows = []
    tasks = zip(found.program.tasks, found.verdict.tasks, strict=True)
    for number, (record, task) in enumerate(tasks):
        op = found.problem.operators[record.choice.operators[0]]
        if op.kind is not OpKind.CONV:
            continue
        fragment = found.problem.circuit(record.choice)
        moved = sum(c.bytes for c in found.program.commands if c.task == number and c.unit == DMA)
        transfer = moved / chip.dram_bytes_per_cycle
        rows.append(
            {
                "layer": "+".join(names[n] for n in record.choice.operators),
                "shape": f"{op.nest.c} -> {op.nest.k}, {op.nest.p} x {op.nest.q}",
                "lanes": f"{fragment.lanes_in} x {fragment.lanes_out}",
                "macs": op.macs,
                "run_cycles": task.measured_run,
                "dram_cycles": round(transfer),
                "fills_lanes": op.nest.c >= fragment.lanes_in and op.nest.k >= fragment.lanes_out,
                "compute_bound": task.measured_run > transfer,
                "utilisation": op.macs / (fragment.multipliers * task.measured_run),
                "wrong_bytes": found.verdict.wrong_bytes,
            }
        )
    return rows


def judged(row: Row) -> bool:
    """Whether the limit applies: the array decides and the layer has channels for all lanes."""
    return bool(row["compute_bound"] and row["fills_lanes"])


def utilisation_table(rows: Sequence[Row]) -> list[str]:
    """The rows as Markdown."""
    names = ("layer", "channels, pixels", "lanes", "MACs", "RUN cycles", "DRAM cycles")
    lines = [f"| {' | '.join(names)} | utilisation | at least {UTILISATION:.0%} |"]
    lines.append("|---|---|---|" + "---:|" * 4 + "---|")
    for row in rows:
        verdict = "yes" if row["utilisation"] >= UTILISATION else "**no**"
        if not judged(row):
            verdict = "not judged: " + (
                "fewer channels than lanes" if row["compute_bound"] else "the DRAM port decides"
            )
        lines.append(
            f"| {row['layer']} | {row['shape']} | {row['lanes']} | {row['macs']:,} | "
            f"{row['run_cycles']:,} | {row['dram_cycles']:,} | {row['utilisation']:.1%} | "
            f"{verdict} |"
        )
    return lines


# ---- the command ----
def store_of(path: Path) -> RowStore:
    """The rows of finished cases."""
    return RowStore(path, FORMAT, VERSION, source_digest())


def models_of(
    cases: Sequence[Case], work: Path, say: Callable[[str], None]
) -> dict[str, Path | FragenvError]:
    """The quantised network of each case, from an earlier run where there is one."""
    models: dict[str, Path | FragenvError] = {}
    for case in cases:
        if case.network in models:
            continue
        target = work / f"{case.network}-{case.seed}-{source_digest()}.onnx"
        models[case.network] = target
        if target.exists():
            continue
        say(f"quantising {case.network}")
        try:
            entry = zoo.entry(case.network)
            quantised(zoo.module(case.network, case.seed), entry.input_shape, case.seed, target)
        except FragenvError as error:
            models[case.network] = error
    return models


def finished_rows(
    cases: Sequence[Case], models: dict[str, Path | FragenvError], work: Path, jobs: int
) -> Iterator[Row]:
    """The rows of the cases, each as soon as it is there."""
    # a fork would share PyTorch's threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = []
        for case in cases:
            model = models[case.network]
            if isinstance(model, Path):
                waiting.append(pool.submit(row_of, case, model, work))
            else:
                row = {"key": case.key, "network": case.network, "chip": case.chip}
                yield {**row, "solver": case.solver, "error": str(model), "wall_s": 0.0}
        for future in as_completed(waiting):
            yield future.result()


def main(
    network: Annotated[list[str] | None, typer.Option(help="Networks of the zoo.")] = None,
    chip: Annotated[list[str] | None, typer.Option(help="Presets or paths of chips.")] = None,
    solver: Annotated[list[str] | None, typer.Option(help="Registered schedulers.")] = None,
    budget: Annotated[int, typer.Option(help="apply calls of each scheduler.", min=1)] = 5000,
    frames: Annotated[int, typer.Option(help="Frames to simulate.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of weights, images and schedulers.")] = 0,
    jobs: Annotated[int, typer.Option(help="Cases at the same time.", min=1)] = 2,
    utilisation: Annotated[
        bool, typer.Option(help="VGG16's 3x3 layers on 16x16 lanes instead of whole networks.")
    ] = False,
    again: Annotated[bool, typer.Option(help="Measure the wanted rows anew.")] = False,
    output: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path(
        "results/reference/rtl"
    ),
    work: Annotated[Path, typer.Option(help="Folder for quantised networks; kept.")] = Path(
        "results/bench_rtl"
    ),
) -> None:
    """Simulate emitted networks and compare cycles, DRAM bytes and bits with the prediction.

    Writes networks.json and networks.md (utilisation.json and .md) to --output, after every row;
    a run that was interrupted goes on there, rows of an older version of the code are measured
    again. Exit status: 0 where every wanted row keeps the limits, 1 where one does not.
    """
    torch.set_num_threads(1)
    command = f"python scripts/bench_rtl.py {shlex.join(sys.argv[1:])}".rstrip()
    try:
        output.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True, exist_ok=True)
        if utilisation:
            good = _utilisation(output, work, seed, command)
        else:
            wanted = [
                Case(n, c, s, budget, frames, seed)
                for n in network or NETWORKS
                for c in chip or CHIPS
                for s in solver or SOLVERS
            ]
            good = _networks(wanted, output, work, jobs, again, command)
    except (FragenvError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    if not good:
        raise typer.Exit(1)


def _networks(
    cases: Sequence[Case], output: Path, work: Path, jobs: int, again: bool, command: str
) -> bool:
    store = store_of(output / "networks.json")
    # what failed may have failed for the machine's reasons
    known = {key for key, row in store.rows.items() if "error" not in row}
    todo = [case for case in cases if again or case.key not in known]
    with Progress() as progress:
        bar = progress.add_task("cases", total=len(todo))
        models = models_of(todo, work, lambda text: progress.update(bar, description=text))
        progress.update(bar, description="cases")
        for row in finished_rows(todo, models, work, jobs):
            store.add(row, command)
            _write(output / "networks.md", "Networks in Verilog", command, network_text(store))
            progress.console.print(f"{row['key']}: {'; '.join(misses(row)) or 'good'}")
            progress.advance(bar)
    wanted = [store.rows[case.key] for case in cases]
    typer.echo("\n".join(network_table(wanted)))
    return not any(misses(row) for row in wanted)


def network_text(store: RowStore) -> list[str]:
    """What the table of networks says."""
    return [
        "Batch 1. Errors are (measured - predicted) / predicted; the worst task is the one of more",
        f"than {TASK_CYCLES:,} cycles that is farthest off, by the cycles of its RUNs or from its",
        "first command to its last. Outputs are compared byte for byte with the integer reference.",
        f"Limits: {WHOLE_ERROR:.0%} for the network, {TASK_ERROR:.0%} for a task, no byte wrong.",
        "",
        *network_table(sorted(store.rows.values(), key=lambda row: row["key"])),
    ]


def _utilisation(output: Path, work: Path, seed: int, command: str) -> bool:
    rows = utilisation_rows(work, seed)
    lines = [
        "VGG16's convolutions, 224 x 224, one frame, on 256 multipliers. Utilisation:",
        "multiply-accumulates over multipliers x measured cycles of the layer's RUNs, with the",
        "pool of a fused layer. DRAM cycles: the layer's bytes through the port.",
        "",
        *utilisation_table(rows),
    ]
    write_json(output / "utilisation.json", FORMAT, VERSION, {"command": command, "rows": rows})
    _write(output / "utilisation.md", "Utilisation of the multipliers", command, lines)
    typer.echo("\n".join(utilisation_table(rows)))
    return all(
        row["utilisation"] >= UTILISATION and not row["wrong_bytes"] for row in rows if judged(row)
    )


def _write(path: Path, title: str, command: str, lines: Sequence[str]) -> None:
    text = "\n".join([f"# {title}", "", f"Made by `{command}`.", "", *lines])
    write_bytes(path, text.encode("utf-8") + b"\n")


if __name__ == "__main__":
    typer.run(main)
