"""Replicas on lanes: what layers are known to share, and every product computed once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_nests import convolution, fully_connected, layer_with_bias_and_relu, two_layers

from fragenv.errors import FragenvError
from fragenv.graph import LoopNest, Operator, OpKind
from fragenv.graph.unroll import UnrollFactors, unroll
from fragenv.patterns.lanes import map_to_lanes
from fragenv.patterns.scalar import mine_scalars
from fragenv.patterns.scalar_graph import from_networkx
from fragenv.patterns.trace import trace


def test_map_to_lanes__outputs_of_a_fully_connected_layer_share_the_input() -> None:
    graph = trace(fully_connected, x=(6,), w=(10, 6), y=(10,))
    (pattern,) = mine_scalars(graph)
    mapping = map_to_lanes(graph, pattern)
    assert (mapping.lanes_in, mapping.lanes_out) == (6, 10)
    assert (mapping.shared.operand, mapping.shared.vectors) == ("x", 1)
    assert (mapping.other.operand, mapping.other.vectors) == ("w", 10)
    assert [mapping.place(i) for i in range(10)] == [(0, i) for i in range(10)]
    with pytest.raises(FragenvError, match="no replica 10"):
        mapping.place(10)


def test_map_to_lanes__replicas_taken_away_free_their_lanes() -> None:
    for outputs in range(5, 0, -1):
        graph = trace(fully_connected, x=(3,), w=(outputs, 3), y=(outputs,))
        (pattern,) = mine_scalars(graph)
        mapping = map_to_lanes(graph, pattern, "x")
        assert pattern.replicas == mapping.lanes_out == outputs


@settings(max_examples=30, deadline=None)
@given(*(st.integers(1, 3) for _ in range(6)))
def test_map_to_lanes__a_convolution_is_a_grid_of_windows_and_kernels(
    k: int, c: int, p: int, q: int, r: int, s: int
) -> None:
    graph = trace(convolution, x=(c, p + r - 1, q + s - 1), w=(k, c, r, s), y=(k, p, q))
    (pattern,) = mine_scalars(graph)
    by_window = map_to_lanes(graph, pattern, "x")
    assert (by_window.shared.vectors, by_window.lanes_out) == (p * q, k)
    assert by_window.lanes_in == c * r * s
    by_kernel = map_to_lanes(graph, pattern, "w")
    assert (by_kernel.shared.vectors, by_kernel.lanes_out) == (k, p * q)
    # every pair of a window and a kernel is one replica
    pairs = {(by_window.place(i)[0], by_kernel.place(i)[0]) for i in range(pattern.replicas)}
    assert len(pairs) == pattern.replicas == k * p * q
    # an array as large as everything needs a pass per window, a single multiplier one per product
    assert by_window.steps(c * r * s, k) == p * q
    assert by_window.steps(1, 1) == k * c * p * q * r * s == by_kernel.steps(1, 1)


def test_map_to_lanes__steps_round_up_lanes_on_both_sides() -> None:
    op = Operator("fc", OpKind.GEMM, LoopNest(10, 7), ("x",), "y")
    graph = from_networkx(unroll(op, UnrollFactors(k=10, c=7)))
    mapping = map_to_lanes(graph, mine_scalars(graph)[0])
    assert mapping.shared.operand == "input"
    assert mapping.steps(3, 4) == 3 * 3
    assert mapping.steps(7, 10) == 1
    with pytest.raises(FragenvError, match="at least 1 x 1 lanes, got 0 x 4"):
        mapping.steps(0, 4)


def test_map_to_lanes__a_layer_that_reads_computed_values() -> None:
    graph = trace(two_layers, x=(4,), w=(3, 4), v=(2, 3), y=(2,))
    first, second = mine_scalars(graph)
    assert map_to_lanes(graph, first).shared.operand == "x"
    assert map_to_lanes(graph, second).shared.operand == "computed"


def test_map_to_lanes__one_array_on_both_sides() -> None:
    def gram(x, y):
        for i in range(3):
            for j in range(3):
                y[i, j] = x[i, 0] * x[j, 0] + x[i, 1] * x[j, 1]

    graph = trace(gram, x=(3, 2), y=(3, 3))
    mapping = map_to_lanes(graph, mine_scalars(graph)[0])
    assert (mapping.shared.vectors, mapping.other.vectors) == (3, 3)


def test_map_to_lanes__bias_takes_no_lane() -> None:
    graph = trace(layer_with_bias_and_relu, x=(6,), w=(5, 6), b=(5,), y=(5,))
    mapping = map_to_lanes(graph, mine_scalars(graph)[0])
    assert (mapping.lanes_in, mapping.lanes_out, mapping.dot.addends) == (6, 5, 1)


def test_map_to_lanes__refuses_other_operands_and_patterns_without_products() -> None:
    def sums(x, y):
        y[0] = x[0] + x[1]

    graph = trace(sums, x=(2,), y=(1,))
    with pytest.raises(FragenvError, match="pattern '1 add' multiplies no two values"):
        map_to_lanes(graph, mine_scalars(graph)[0])
    graph = trace(fully_connected, x=(2,), w=(2, 2), y=(2,))
    with pytest.raises(FragenvError, match="no operand 'z'; there are w and x"):
        map_to_lanes(graph, mine_scalars(graph)[0], "z")
