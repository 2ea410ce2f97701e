"""A network of three operators and a chip so small that every schedule can be tried."""

from __future__ import annotations

from fragenv.graph.dataflow import DataflowGraph, Tensor
from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.hardware.chip import Chip
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import State


def toy_graph() -> DataflowGraph:
    """A convolution, a pool and a fully connected layer."""
    conv = LoopNest(k=8, c=4, p=8, q=8, r=3, s=3, h=8, w=8, padding=(1, 1, 1, 1))
    pool = LoopNest(k=8, c=8, p=4, q=4, r=2, s=2, h=8, w=8, stride=(2, 2))
    return DataflowGraph(
        "toy",
        [
            Operator("conv", OpKind.CONV, conv, ("x",), "a", weight_bytes=8 * 4 * 9),
            Operator("pool", OpKind.MAXPOOL, pool, ("a",), "b"),
            Operator("fc", OpKind.GEMM, LoopNest(k=10, c=128), ("b",), "y", weight_bytes=1280),
        ],
        {
            "x": Tensor("x", (4, 8, 8)),
            "a": Tensor("a", (8, 8, 8)),
            "b": Tensor("b", (8, 4, 4)),
            "y": Tensor("y", (10,)),
        },
        ["x"],
        ["y"],
    )


def toy_chip(**changes: object) -> Chip:
    """16 multipliers and 2 KiB of buffer: fragments have to take turns."""
    fields: dict[str, object] = {
        "name": "toy16",
        "multipliers": 16,
        "lut": 12_000,
        "buffer_bytes": 2048,
        "local_bytes": 32_768,
        "dram_bytes_per_cycle": 2,
        "dram_latency_cycles": 10,
        "config_bytes": 256,
        "config_bytes_per_cycle": 4.0,
        "clock_mhz": 100.0,
        "dram_pj_per_byte": 100.0,
        "mac_pj": 0.5,
    }
    return Chip(**(fields | changes))  # type: ignore[arg-type]


def best_schedule(problem: Problem) -> tuple[float, list[int]]:
    """The least cost of any schedule and its actions, by trying all of them."""
    best: tuple[float, list[int]] = (float("inf"), [])

    def visit(state: State, taken: list[int]) -> None:
        nonlocal best
        if state.finished:
            best = min(best, (problem.cost(state), taken))
        for action in problem.legal_actions(state):
            visit(problem.apply(state, action), [*taken, action])

    visit(problem.initial(), [])
    return best
