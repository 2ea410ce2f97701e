"""What fused tasks win: cycles and DRAM bytes of the best schedules at depth 3 over depth 1.

Bytes are those of the best schedules by the default cost. Cycles are those of the fewest: the
default cost gives cycles away for bytes, as it should, so that its best schedules say little about
how fast fused tasks can be. The solvers search for either with the same budget, at both depths.
"""

from __future__ import annotations

import copy
import multiprocessing
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import alwani
import typer
from rich.progress import Progress

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.benchmark.row_store import NO_MATTER, Row, RowStore, source_digest
from agents.scheduler import SCHEDULERS, Budget, Result
from fragenv.errors import FragenvError
from fragenv.hardware.chip import load_chip, preset_names
from fragenv.models import zoo
from fragenv.schedule.bounds_cost import least_possible
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import TaskRecord
from fragenv.serialize import write_bytes

NETWORKS = ("mobilenetv2", "resnet50", "squeezenet")
BATCH, SINGLE, FUSED = 8, 1, 3
SOLVERS = ("beam", "annealing")

#: limits of depth 3 over depth 1: bytes everywhere, cycles on these chips, either anywhere
TRAFFIC, LATENCY, LATENCY_CHIPS, NEVER = 0.6, 0.85, ("xc7z045", "cgra512"), 1.0
#: a byte's share of what it counts in the default cost where cycles are searched for
LITTLE = 1 / 1024
FORMAT, VERSION = "fragenv-bench-fused", 3


@dataclass(frozen=True, slots=True)
class Case:
    """A row: the solvers on one problem."""

    network: str
    chip: str
    depth: int
    budget: int
    seed: int

    @property
    def key(self) -> str:
        """What tells rows apart."""
        return f"{self.network} {self.chip} {self.depth} {self.budget} {self.seed}"


def row_of(case: Case) -> Row:
    """Solve one case; where there is no schedule the row says why."""
    row: Row = {"key": case.key, "network": case.network, "chip": case.chip, "depth": case.depth}
    start = time.perf_counter()
    try:
        problem = Problem(zoo.graph(case.network), case.chip, BATCH, case.depth)
        results = _solved(problem, case)
        swift = _solved(by_cycles(problem), case)
        least = least_possible(problem)
    except FragenvError as error:
        return {**row, "error": str(error)}
    # within one problem costs compare; between depths their bounds may differ
    best = min(results, key=lambda result: result.cost)
    fastest = min((*results, *swift), key=lambda result: result.state.latency_cycles)
    return {
        **row,
        **summary(problem, best),
        "solvers": {r.scheduler: summary(problem, r) for r in results},
        "fastest": summary(problem, fastest),
        "least_cycles": least.latency_cycles,
        "least_bytes": least.traffic_bytes,
        "wall_s": round(time.perf_counter() - start, 1),
    }


def _solved(problem: Problem, case: Case) -> list[Result]:
    return [SCHEDULERS.get(s).solve(problem, Budget(case.budget), case.seed) for s in SOLVERS]


def by_cycles(problem: Problem) -> Problem:
    """The same problem with a cost of cycles and ``LITTLE`` of the bytes."""
    found = copy.copy(problem)
    unit = round(problem.bound.traffic_bytes / LITTLE)
    found.bound = replace(problem.bound, traffic_bytes=unit)
    return found


def summary(problem: Problem, result: Result) -> Row:
    """What a schedule takes, and how many of its operators run in fused tasks."""
    tasks = [r.choice for r in result.state.records() if isinstance(r, TaskRecord)]
    fused = [choice for choice in tasks if choice.layers]
    return {
        "solver": result.scheduler,
        "cycles": result.state.latency_cycles,
        "bytes": result.state.traffic_bytes,
        "config_bytes": result.state.config_bytes,
        "cost": result.cost,
        "apply_calls": result.apply_calls,
        "fused_operators": sum(len(choice.operators) for choice in fused),
        "operators": len(problem.operators),
        "pipelines": sum(len(problem.library[c.fragment].parts) > 1 for c in fused),
        "fused_tasks": len(fused),
    }


@dataclass(frozen=True, slots=True)
class Pair:
    """The rows of both depths of a network on a chip."""

    single: Row
    fused: Row

    @property
    def error(self) -> str:
        return str(self.single.get("error") or self.fused.get("error") or "")

    @property
    def traffic(self) -> float:
        """DRAM bytes and swaps, depth 3 over depth 1."""
        return float(self.fused["bytes"] / self.single["bytes"])

    @property
    def latency(self) -> float:
        """The fewest cycles, depth 3 over depth 1."""
        return float(self.fused["fastest"]["cycles"] / self.single["fastest"]["cycles"])

    @property
    def cost_latency(self) -> float:
        """Cycles of the schedules that are best by the default cost, depth 3 over depth 1."""
        return float(self.fused["cycles"] / self.single["cycles"])

    @property
    def least_traffic(self) -> float:
        """What no schedule at depth 3 is below, over depth 1."""
        return float(self.fused["least_bytes"] / self.single["bytes"])

    @property
    def least_latency(self) -> float:
        """What no schedule at depth 3 is below, over depth 1."""
        return float(self.fused["least_cycles"] / self.single["fastest"]["cycles"])

    @property
    def port_busy(self) -> float:
        """The share of the fewest cycles at depth 1 in which the DRAM port moves bytes."""
        fastest, chip = self.single["fastest"], load_chip(self.single["chip"])
        return float(fastest["bytes"] / chip.dram_bytes_per_cycle / fastest["cycles"])

    def misses(self, by_cost: bool = False) -> list[str]:
        """The limits that the pair misses, in words; ``by_cost``: the limits on cycles are for the
        schedules of the best cost."""
        if self.error:
            return [self.error]
        found = []
        latency = self.cost_latency if by_cost else self.latency
        if self.traffic > TRAFFIC:
            found.append(f"traffic above {TRAFFIC}{beyond(self.least_traffic, TRAFFIC)}")
        if max(self.traffic, latency) > NEVER:
            found.append("worse than depth 1")
        if self.single["chip"] in LATENCY_CHIPS and latency > LATENCY:
            found.append(f"latency above {LATENCY}{beyond(self.least_latency, LATENCY)}")
        return found


def beyond(least: float, limit: float) -> str:
    """A remark where no schedule keeps a limit."""
    return f" (beyond the bound, {least:.3f})" if least > limit else ""


def pairs_of(rows: Mapping[str, Row], cases: Sequence[Case]) -> list[Pair]:
    """The pairs of which both rows are there, in the order of the cases."""
    keys = {(c.network, c.chip, c.depth): c.key for c in cases if c.key in rows}
    return [
        Pair(rows[keys[n, c, SINGLE]], rows[keys[n, c, FUSED]])
        for n, c in dict.fromkeys((case.network, case.chip) for case in cases)
        if (n, c, SINGLE) in keys and (n, c, FUSED) in keys
    ]


def table(pairs: Sequence[Pair]) -> list[str]:
    """The pairs as Markdown."""
    names = (
        *("network", "chip", f"bytes, depth {SINGLE}", f"depth {FUSED}", "traffic ratio"),
        *("least possible", f"cycles, depth {SINGLE}", f"depth {FUSED}", "ratio"),
        *(f"fewest cycles, depth {SINGLE}", "port busy", f"depth {FUSED}", "latency ratio"),
        *("least possible", "fused operators", "pipelined tasks", "solvers", "verdict"),
    )
    lines = [f"| {' | '.join(names)} |", "|---|---|" + "---:|" * 14 + "---|---|"]
    for pair in pairs:
        single, fused = pair.single, pair.fused
        head, verdict = [single["network"], single["chip"]], "; ".join(pair.misses()) or "good"
        if pair.error:
            lines.append(f"| {' | '.join([*head, *[''] * 15, verdict])} |")
            continue
        cells = [
            *(f"{single['bytes']:,}", f"{fused['bytes']:,}", f"{pair.traffic:.3f}"),
            *(f"{pair.least_traffic:.3f}", f"{single['cycles']:,}", f"{fused['cycles']:,}"),
            f"{pair.cost_latency:.3f}",
            *(f"{single['fastest']['cycles']:,}", f"{pair.port_busy:.0%}"),
            *(f"{fused['fastest']['cycles']:,}", f"{pair.latency:.3f}"),
            f"{pair.least_latency:.3f}",
            f"{fused['fused_operators']} of {fused['operators']}",
            f"{fused['pipelines']} of {fused['fused_tasks']}",
            f"{single['solver']}, {fused['solver']}",
        ]
        lines.append(f"| {' | '.join([*head, *cells, verdict])} |")
    return lines


def text(pairs: Sequence[Pair], wanted: int, budget: int, command: str) -> str:
    """The whole of fused.md."""
    good = sum(not pair.misses() for pair in pairs)
    by_cost = sum(not pair.misses(by_cost=True) for pair in pairs)
    lines = [
        "# Fused tasks",
        "",
        f"Made by `{command}`. Batch {BATCH};",
        f"the better of {' and '.join(SOLVERS)} with {budget:,} apply calls each, at depth",
        f"{SINGLE} and at depth {FUSED}. Ratios: depth {FUSED} over depth {SINGLE}.",
        "",
        "Bytes, cycles, fused operators, tasks and solvers are those of the schedules that are",
        "best by the default cost, which gives cycles away for bytes. The fewest cycles are those",
        "of the fastest schedules, for which the solvers search again with as many calls and",
        f"{LITTLE:.1%} of a byte's weight, at both depths. Least possible: what no schedule of the",
        f"tasks that depth {FUSED} offers is below, over the same figure of depth {SINGLE}.",
        f"Port busy: the share of the fewest cycles at depth {SINGLE} in which the DRAM port moves",
        "bytes, about the most that fewer bytes can save.",
        "",
        f"Limits: traffic {TRAFFIC}, fewest cycles {LATENCY} on {' and '.join(LATENCY_CHIPS)},",
        f"neither above {NEVER:g}. {len(pairs)} of {wanted} pairs are measured, {good} keep them.",
        f"With the cycles of the best costs instead of the fewest, {by_cost} do.",
        "",
        *table(pairs),
        "",
        "## A published pipeline",
        "",
        *alwani.report(),
    ]
    return "\n".join(lines) + "\n"


def finished(cases: Sequence[Case], jobs: int) -> Iterator[Row]:
    """The rows of the cases, each as soon as it is there."""
    if jobs == 1:
        yield from map(row_of, cases)
        return
    # a fork would share PyTorch's threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for future in as_completed([pool.submit(row_of, case) for case in cases]):
            yield future.result()


def main(
    network: Annotated[list[str] | None, typer.Option(help="Networks of the zoo.")] = None,
    chip: Annotated[list[str] | None, typer.Option(help="Chip presets.")] = None,
    budget: Annotated[int, typer.Option(help="apply calls of each solver.", min=1)] = 5_000,
    seed: Annotated[int, typer.Option(help="Of the solvers.")] = 0,
    jobs: Annotated[int, typer.Option(help="Cases at the same time.", min=1)] = 1,
    published: Annotated[
        bool, typer.Option("--alwani", help="Only the comparison with the published pipeline.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path(
        "results/reference/fused"
    ),
) -> None:
    """Schedule networks with fused tasks and without, at equal budgets, and compare.

    Writes fused.json and fused.md to --output at the start and after every row; a run that was
    interrupted goes on there, rows of an older version of the code are made again. Exit status: 0
    where every pair keeps the limits, 1 where one does not.
    """
    if published:
        typer.echo("\n".join(alwani.report()))
        return
    command = f"python scripts/bench_fused.py {shlex.join(sys.argv[1:])}".rstrip()
    cases = [
        Case(n, c, depth, budget, seed)
        for n in network or NETWORKS
        for c in chip or preset_names()
        for depth in (SINGLE, FUSED)
    ]
    try:
        pairs = _measured(cases, output, jobs, command)
    except (FragenvError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo("\n".join(table(pairs)))
    if any(pair.misses() for pair in pairs):
        raise typer.Exit(1)


def _measured(cases: Sequence[Case], output: Path, jobs: int, command: str) -> list[Pair]:
    output.mkdir(parents=True, exist_ok=True)
    digest = source_digest(NO_MATTER | {"rtl", "verify"})
    store = RowStore(output / "fused.json", FORMAT, VERSION, digest)
    todo = [case for case in cases if case.key not in store.rows]

    def write() -> list[Pair]:
        pairs = pairs_of(store.rows, cases)
        page = text(pairs, len(cases) // 2, cases[0].budget, command)
        write_bytes(output / "fused.md", page.encode("utf-8"))
        return pairs

    pairs = write()
    with Progress() as progress:
        bar = progress.add_task("schedules", total=len(cases), completed=len(cases) - len(todo))
        for row in finished(todo, jobs):
            store.add(row, command)
            progress.advance(bar)
            pairs = write()
    return pairs


if __name__ == "__main__":
    typer.run(main)
