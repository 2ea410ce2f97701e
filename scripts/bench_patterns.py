"""Measure how long mining takes, and its memory: networks, large graphs, a million scalars."""

from __future__ import annotations

import multiprocessing
import random
import resource
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import networkx as nx
import typer
from rich.progress import Progress

from fragenv.graph.builder import GraphBuilder, Value
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.graph.unroll import UnrollFactors, unroll
from fragenv.graph.windows import Window
from fragenv.models import zoo
from fragenv.patterns.cover import cover
from fragenv.patterns.discover import discover
from fragenv.patterns.lanes import map_to_lanes
from fragenv.patterns.scalar import mine_scalars
from fragenv.patterns.scalar_graph import ScalarGraph, from_networkx
from fragenv.patterns.trace import TracedArray, trace
from fragenv.serialize import write_bytes

NETWORKS = (
    *(("resnet18", 2), ("squeezenet", 2), ("googlenet", 2), ("googlenet", 4)),
    *(("mobilenetv2", 3), ("resnet50", 3), ("resnet50", 4)),
)
SIZES = (2_500, 5_000, 10_000)
SYNTHETIC_DEPTH = 2
SEED = 0


def synthetic(operators: int, seed: int) -> DataflowGraph:
    """A network of at least ``operators`` operators: blocks of published networks, shuffled."""
    chance = random.Random(seed)
    net = _Network()
    while net.size < operators:
        chance.choice((net.plain, net.residual, net.inverted, net.fire, net.inception))()
    return net.builder.finish(f"synthetic{operators}", [net.x])


class _Network:
    """Grows block by block from one tensor of 16 channels."""

    def __init__(self) -> None:
        self.builder = GraphBuilder()
        self.x = self.builder.input("x", (16, 8, 8))
        self.size = 0

    def conv(self, x: Value, k: int, kernel: int = 1, groups: int = 1, relu: bool = True) -> Value:
        pad = kernel // 2
        window = Window((kernel, kernel), (1, 1), (pad,) * 4)
        y = self.builder.conv(f"conv{self.size}", x, f"t{self.size}", k, window, groups)
        self.size += 1
        return self.relu(y) if relu else y

    def relu(self, x: Value) -> Value:
        self.size += 1
        return self.builder.relu(f"relu{self.size}", x, f"t{self.size}r")

    def add(self, a: Value, b: Value) -> Value:
        self.size += 1
        return self.builder.add(f"add{self.size}", a, b, f"t{self.size}a")

    def concat(self, *parts: Value) -> None:
        self.size += 1
        self.x = self.builder.concat(f"concat{self.size}", parts, f"t{self.size}c", 0)

    def plain(self) -> None:
        self.x = self.conv(self.x, 16, 3)

    def residual(self) -> None:
        y = self.conv(self.conv(self.x, 16, 3), 16, 3, relu=False)
        self.x = self.relu(self.add(y, self.x))

    def inverted(self) -> None:
        y = self.conv(self.conv(self.x, 64), 64, 3, groups=64)
        self.x = self.add(self.conv(y, 16, relu=False), self.x)

    def fire(self) -> None:
        y = self.conv(self.x, 4)
        self.concat(self.conv(y, 8), self.conv(y, 8, 3))

    def inception(self) -> None:
        x = self.x
        branch = self.conv(self.conv(x, 4), 4, 3)
        pool = self.builder.max_pool(
            f"pool{self.size}", x, f"t{self.size}p", Window((3, 3), (1, 1), (1,) * 4), False
        )
        self.size += 1
        self.concat(self.conv(x, 4), branch, self.conv(self.conv(x, 2), 4, 3), self.conv(pool, 4))


def fully_connected(x: TracedArray, w: TracedArray, y: TracedArray) -> None:
    """A matrix-vector product as a loop nest."""
    for k in range(len(y)):
        total = w[k, 0] * x[0]
        for c in range(1, len(x)):
            total = total + w[k, c] * x[c]
        y[k] = total


def convolution(x: TracedArray, w: TracedArray, y: TracedArray) -> None:
    """A 3 x 3 convolution without padding as a loop nest."""
    for k in range(y.shape[0]):
        for p in range(y.shape[1]):
            for q in range(y.shape[2]):
                taps = (
                    w[k, c, r, s] * x[c, p + r, q + s]
                    for c in range(x.shape[0])
                    for r in range(3)
                    for s in range(3)
                )
                total = next(taps)
                for product in taps:
                    total = total + product
                y[k, p, q] = total


def traced_layer() -> ScalarGraph:
    return trace(fully_connected, x=(1000,), w=(500, 1000), y=(500,))


def traced_convolution() -> ScalarGraph:
    return trace(convolution, x=(32, 14, 14), w=(12, 32, 3, 3), y=(12, 12, 12))


def unrolled_layer() -> nx.DiGraph:
    op = Operator("fc", OpKind.GEMM, LoopNest(500, 1000), ("x",), "y")
    return unroll(op, UnrollFactors(k=500, c=1000))


SCALARS: dict[str, Callable[[], ScalarGraph | nx.DiGraph]] = {
    "fully connected 1000 -> 500, a loop nest": traced_layer,
    "convolution 3x3, 32 -> 12, 12 x 12, a loop nest": traced_convolution,
    "fully connected 1000 -> 500, `graph.unroll`": unrolled_layer,
}


@dataclass(frozen=True, slots=True)
class Mined:
    """One row of the tables of operators; memory is the growth of the process's peak."""

    network: str
    depth: int
    operators: int
    patterns: int
    occurrences: int
    mine_s: float
    mine_bytes: int
    cover_s: float
    value: int
    bound: int


def measure(network: str, depth: int) -> Mined:
    """Mine and cover a network of the zoo, or ``synthetic`` with a number of operators."""
    size = network.removeprefix("synthetic")
    graph = synthetic(int(size), SEED) if size.isdigit() else zoo.graph(network)
    before, start = _peak_bytes(), time.perf_counter()
    mined = discover(graph, depth)
    middle, after = time.perf_counter(), _peak_bytes()
    found = cover(graph, mined)
    end = time.perf_counter()
    return Mined(
        network,
        depth,
        len(graph.operators),
        len(mined),
        sum(len(m.occurrences) for m in mined),
        middle - start,
        after - before,
        end - middle,
        found.value,
        found.bound,
    )


def measure_scalars(name: str) -> str:
    """One row of the table of scalar graphs."""
    start = time.perf_counter()
    made = SCALARS[name]()
    built = time.perf_counter()
    graph = from_networkx(made) if isinstance(made, nx.DiGraph) else made
    read = time.perf_counter()
    patterns = mine_scalars(graph)
    mined = time.perf_counter()
    mapping = map_to_lanes(graph, patterns[0])
    end = time.perf_counter()
    first = patterns[0]
    return (
        f"| {name} | {graph.num_operations:,} | {built - start:.1f} | {read - built:.1f} | "
        f"{mined - read:.1f} | {end - mined:.1f} | {first.name} | {first.replicas:,} | "
        f"{mapping.lanes_in} x {mapping.lanes_out} ({mapping.shared.operand} shared) | "
        f"{_peak_bytes() / 2**20:,.0f} |"
    )


def _peak_bytes() -> int:
    """The most memory that this process has held (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def report(rows: list[Mined], scalars: list[str], command: str) -> str:
    """The tables as Markdown."""
    lines = [
        "# Mining",
        "",
        f"Made by `{command}`, every row",
        "in a process of its own. `mine`: all frequent patterns with all their occurrences;",
        "`cover`: the choice among them, with the bound that no choice exceeds. Memory is what",
        "mining adds to the peak of the process (little of it hides in what was freed before).",
        "",
        "## Operators",
        "",
        "| network | depth | operators | patterns | occurrences | mine s | MiB | bytes each | "
        "cover s | value | bound |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r.network} | {r.depth} | {r.operators:,} | {r.patterns:,} | {r.occurrences:,} | "
            f"{r.mine_s:.2f} | {r.mine_bytes / 2**20:.1f} | {r.mine_bytes / r.occurrences:.0f} | "
            f"{r.cover_s:.2f} | {r.value} | {r.bound} |"
        )
    lines += [
        "",
        "`syntheticN`: plain, residual, inverted residual, fire and inception blocks in random",
        f"order (seed {SEED}) until there are N operators.",
        "",
        "## Scalar operations",
        "",
        "| graph | operations | build s | read s | mine s | map s | first pattern | replicas | "
        "lanes | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *scalars,
        "",
        "`build` is tracing the loop nest, or unrolling the operator into a networkx graph; `read`",
        "turns that graph into a compact one. PyTorch, which fragenv imports, is in every peak.",
    ]
    return "\n".join(lines) + "\n"


def main(
    output: Annotated[Path, typer.Option(help="Folder for mining.md.")] = Path("results/patterns"),
) -> None:
    """Print and write how long it takes to mine networks, graphs of up to 10,000 operators, and
    scalar graphs of a million operations. Takes about two minutes."""
    output.mkdir(parents=True, exist_ok=True)
    work = [*NETWORKS, *((f"synthetic{n}", SYNTHETIC_DEPTH) for n in SIZES)]
    rows, scalars = [], []
    # a new process for each: the peak of memory never falls
    with (
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool,
        Progress() as progress,
    ):
        bar = progress.add_task("mining", total=len(work) + len(SCALARS))
        for network, depth in work:
            progress.update(bar, description=f"{network}, depth {depth}")
            rows.append(pool.apply(measure, (network, depth)))
            progress.advance(bar)
        for name in SCALARS:
            progress.update(bar, description=name)
            scalars.append(pool.apply(measure_scalars, (name,)))
            progress.advance(bar)
    command = shlex.join(["python", "scripts/bench_patterns.py", *sys.argv[1:]])
    text = report(rows, scalars, command)
    write_bytes(output / "mining.md", text.encode("utf-8"))
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
