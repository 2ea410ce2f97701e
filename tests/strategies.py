"""Random dataflow graphs, chips and decisions."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from fragenv.errors import InfeasibleError
from fragenv.graph.dataflow import DataflowGraph, Tensor
from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.hardware.chip import Chip
from fragenv.schedule.choices import Choice
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.state import State


class GraphBuilder:
    """Grows a graph operator by operator from one input."""

    def __init__(self, channels: int, size: int) -> None:
        self.tensors = {"in": Tensor("in", (channels, size, size))}
        self.operators: list[Operator] = []

    def _add(self, kind: OpKind, nest: LoopNest, inputs: tuple[str, ...], **extra: int) -> str:
        name = f"op{len(self.operators)}"
        shape = (nest.k,) if kind is OpKind.GEMM else (nest.k, nest.p, nest.q)
        self.tensors[f"t_{name}"] = Tensor(f"t_{name}", shape)
        self.operators.append(Operator(name, kind, nest, inputs, f"t_{name}", **extra))
        return f"t_{name}"

    def conv(
        self,
        source: str,
        k: int,
        kernel: int,
        stride: int,
        depthwise: bool = False,
        pad: int | None = None,
        dilation: int = 1,
    ) -> str:
        """A convolution, padded by ``kernel // 2`` unless said otherwise."""
        c, h, w = self.tensors[source].shape
        pad = kernel // 2 if pad is None else pad
        k = c if depthwise else k
        extent = (kernel - 1) * dilation + 1
        p, q = ((x + 2 * pad - extent) // stride + 1 for x in (h, w))
        nest = LoopNest(
            k,
            c,
            p,
            q,
            kernel,
            kernel,
            h,
            w,
            (stride, stride),
            (pad,) * 4,
            (dilation, dilation),
            groups=c if depthwise else 1,
        )
        groups = nest.groups
        size = k * (c // groups) * kernel * kernel
        return self._add(OpKind.CONV, nest, (source,), weight_bytes=size, bias_bytes=4 * k)

    def pool(self, source: str, kernel: int, stride: int, pad: int = 0) -> str:
        c, h, w = self.tensors[source].shape
        p, q = ((x + 2 * pad - kernel) // stride + 1 for x in (h, w))
        nest = LoopNest(c, c, p, q, kernel, kernel, h, w, (stride, stride), (pad,) * 4, groups=c)
        return self._add(OpKind.MAXPOOL, nest, (source,))

    def same(self, kind: OpKind, *sources: str) -> str:
        _, h, w = self.tensors[sources[0]].shape
        k = sum(self.tensors[s].shape[0] for s in sources)
        k = k if kind is OpKind.CONCAT else self.tensors[sources[0]].shape[0]
        return self._add(kind, LoopNest(k, k, h, w, h=h, w=w), sources)

    def gemm(self, source: str, k: int) -> str:
        c = self.tensors[source].bytes
        nest = LoopNest(k, c)
        return self._add(OpKind.GEMM, nest, (source,), weight_bytes=k * c, bias_bytes=4 * k)

    def graph(self) -> DataflowGraph:
        read = {t for op in self.operators for t in op.inputs}
        outputs = [op.output for op in self.operators if op.output not in read]
        return DataflowGraph("random", self.operators, self.tensors, ["in"], outputs)


def random_graph(rng: random.Random, operators: int) -> DataflowGraph:
    """A branching graph of about ``operators`` operators."""
    build = GraphBuilder(rng.choice([1, 3, 8]), rng.choice([6, 9, 12]))
    tensors = ["in"]
    while len(build.operators) < operators:
        source = rng.choice(tensors[-3:])
        c, h, w = build.tensors[source].shape
        alike = [t for t in tensors if build.tensors[t].shape == (c, h, w) and t != source]
        kind = rng.random()
        if kind < 0.4:
            kernel = rng.choice([1, 3])
            made = build.conv(source, rng.choice([4, 8, 12]), kernel, rng.choice([1, 1, 2]))
            if rng.random() < 0.6:
                made = build.same(OpKind.RELU, made)
        elif kind < 0.5:
            made = build.conv(source, c, 3, 1, depthwise=c > 1)
        elif kind < 0.65 and min(h, w) >= 4:
            made = build.pool(source, rng.choice([2, 3]), 2)
        elif kind < 0.85 and alike:
            made = build.same(rng.choice([OpKind.ADD, OpKind.CONCAT]), source, rng.choice(alike))
        else:
            made = build.same(OpKind.RELU, build.conv(source, 8, 1, 1))
        tensors.append(made)
    build.gemm(tensors[-1], 10)
    return build.graph()


def random_chip(rng: random.Random) -> Chip:
    """A small chip on which decisions matter."""
    return Chip(
        name="random",
        multipliers=rng.choice([16, 40, 100]),
        lut=rng.choice([30_000, 80_000]),
        buffer_bytes=rng.choice([6_000, 12_000, 40_000]),
        local_bytes=rng.choice([40_000, 80_000]),
        dram_bytes_per_cycle=rng.choice([4, 16]),
        dram_latency_cycles=rng.choice([0, 20]),
        config_bytes=rng.choice([2_000, 50_000]),
        config_bytes_per_cycle=8.0,
        clock_mhz=100.0,
    )


def random_problem(
    rng: random.Random, max_depth: int = 1, objective: str = "latency"
) -> Problem | None:
    """A small problem; None where the chip is too small for the graph."""
    graph, chip = random_graph(rng, rng.randint(2, 9)), random_chip(rng)
    try:
        return Problem(graph, chip, rng.randint(1, 3), max_depth, objective=objective)
    except InfeasibleError:
        return None


def choice_of(problem: Problem, action: int) -> Choice | None:
    """The choice that an action takes; None for EVICT and SPILL."""
    node, index = divmod(action - MAX_SLOTS, problem.num_choices + 1)
    return (
        None if action < MAX_SLOTS or index == problem.num_choices else problem.choices[node][index]
    )


def random_episode(
    problem: Problem, rng: random.Random, fused: float = 0.0
) -> tuple[State, list[int]]:
    """Any legal decisions until the end; with probability ``fused`` a task of several layers, where
    there is one."""
    state, actions = problem.initial(), []
    while not state.finished:
        legal = problem.legal_actions(state)
        if rng.random() < fused:
            chosen = [(a, choice_of(problem, a)) for a in legal]
            legal = [a for a, choice in chosen if choice is not None and choice.layers] or legal
        action = rng.choice(legal)
        actions.append(action)
        state = problem.apply(state, action)
    return state, actions


seeds = st.integers(0, 2**32 - 1)
