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
#: LUTs, roughly: of control, per multiplier, per output lane, and per output lane of a stage. The
#: fitted area model is not used: the encoder that ships with the package was trained on these
#: numbers, and a new fit must not change what it was trained on
_LUT_BASE, _LUT_PER_MULTIPLIER, _LUT_PER_LANE = 1500, 20, 400
_LUT_PER_STAGE_LANE = {
    Stage.MAC: 0,
    Stage.DEPTHWISE: 40,
    Stage.ADD: 120,
    Stage.POOL: 60,
    Stage.LRN: 200,
}


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
        lut += _lut(Fragment(lanes_in, lanes_out, tuple(stages)))
        if depthwise:
            blocks = ceil_div(nest.k, lanes_out)
        else:
            inputs = ceil_div(c, lanes_in) if Stage.MAC in stages else 1
            blocks = nest.groups * ceil_div(k, lanes_out) * inputs
        cycles += blocks * nest.r * nest.s * nest.p * nest.q
    return PatternCost(lut, cycles)


def _lut(fragment: Fragment) -> int:
    per_lane = _LUT_PER_LANE + sum(_LUT_PER_STAGE_LANE[stage] for stage in fragment.stages)
    array = _LUT_PER_MULTIPLIER * fragment.multipliers
    return _LUT_BASE + array + per_lane * fragment.lanes_out


def log_costs(graphs: Sequence[TypedGraph]) -> Tensor:
    """(n, 2): the base-2 logarithms of LUTs and cycles."""
    costs = [pattern_cost(graph.operators) for graph in graphs]
    return torch.tensor([(log2(cost.lut), log2(cost.cycles)) for cost in costs]).reshape(-1, 2)
