"""Area and time of a pattern as a circuit of its own, roughly: what triplets are chosen by.

Every operator gets the circuit that its channels can use, up to 16 lanes on each side, and all run
one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2

import torch
from torch import Tensor

from fragenv.graph.operators import Operator
from fragenv.hardware.fragment import Fragment, Stage, stages_of
from fragenv.hardware.timing import ceil_div
from fragenv.patterns.similarity.typed import TypedGraph

_LANES = 16


@dataclass(frozen=True, slots=True)
class PatternCost:
    """LUTs and cycles of one frame."""

    lut: int
    cycles: int


def pattern_cost(operators: Iterable[Operator]) -> PatternCost:
    """The cost of the operators of a pattern."""
    lut = cycles = 0
    for op in operators:
        nest, stages = op.nest, stages_of(op)
        k, c = nest.k // nest.groups, nest.c // nest.groups
        depthwise = Stage.DEPTHWISE in stages
        lanes_out = min(_LANES, nest.k if depthwise else k)
        lanes_in = min(_LANES, c) if Stage.MAC in stages else 1
        lut += Fragment(lanes_in, lanes_out, tuple(stages)).area.lut
        if depthwise:
            blocks = ceil_div(nest.k, lanes_out)
        else:
            inputs = ceil_div(c, lanes_in) if Stage.MAC in stages else 1
            blocks = nest.groups * ceil_div(k, lanes_out) * inputs
        cycles += blocks * nest.r * nest.s * nest.p * nest.q
    return PatternCost(lut, cycles)


def log_costs(graphs: Sequence[TypedGraph]) -> Tensor:
    """(n, 2): the base-2 logarithms of LUTs and cycles."""
    costs = [pattern_cost(graph.operators) for graph in graphs]
    return torch.tensor([(log2(cost.lut), log2(cost.cycles)) for cost in costs]).reshape(-1, 2)
