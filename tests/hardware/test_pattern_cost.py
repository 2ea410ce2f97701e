"""Area and time of a pattern alone, by hand."""

from __future__ import annotations

from math import log2

import pytest

from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.hardware.pattern_cost import log_costs, pattern_cost
from fragenv.patterns.similarity.typed import TypedGraph


def operator(kind: OpKind, **bounds: int) -> Operator:
    return Operator("x", kind, LoopNest(**bounds), (), "")


def test_cost__of_each_kind_by_hand() -> None:
    dense = pattern_cost([operator(OpKind.CONV, k=40, c=20, p=5, q=4, r=3, s=3)])
    assert dense.lut == 1500 + 20 * 256 + 400 * 16
    assert dense.cycles == 3 * 2 * 9 * 20
    depthwise = pattern_cost([operator(OpKind.CONV, k=40, c=40, groups=40, r=3, s=3, p=2)])
    assert depthwise.lut == 1500 + 20 * 16 + 440 * 16
    assert depthwise.cycles == 3 * 9 * 2
    pool = pattern_cost([operator(OpKind.MAXPOOL, k=8, c=8, r=2, s=2, p=3, q=3)])
    assert pool.lut == 1500 + 460 * 8
    assert pool.cycles == 4 * 9


def test_cost__adds_up() -> None:
    one, two = operator(OpKind.GEMM, k=10, c=84), operator(OpKind.RELU, k=10, c=10)
    both, first, second = (pattern_cost(ops) for ops in ([one, two], [one], [two]))
    assert both.cycles == first.cycles + second.cycles
    assert both.lut == first.lut + second.lut


def test_log_costs__are_octaves() -> None:
    op = operator(OpKind.GEMM, k=16, c=64)
    costs = log_costs([TypedGraph((op,), ()), TypedGraph((op, op), ((0, 1, 0),))])
    assert (costs[1] - costs[0]).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert costs[0, 1].item() == pytest.approx(log2(4))
    assert log_costs([]).shape == (0, 2)
