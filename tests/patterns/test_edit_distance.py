"""The exact edit distance: as networkx has it, a metric, and known edits cost what they should."""

from __future__ import annotations

from dataclasses import replace
from math import log2

import networkx as nx
import pytest
from hypothesis import given, settings
from typed_graphs import SEEDS, shuffled, typed_graphs

from fragenv.errors import FragenvError
from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.patterns.similarity.edit_distance import (
    MOST_OPERATORS,
    distance_matrix,
    edge_cost,
    edit_distance,
    operator_cost,
)
from fragenv.patterns.similarity.typed import TypedGraph


def conv(kernel: int = 3, k: int = 64, c: int = 64, stride: int = 1) -> Operator:
    nest = LoopNest(k, c, 8, 8, kernel, kernel, 8, 8, stride=(stride, stride))
    return Operator("conv", OpKind.CONV, nest, (), "")


def plain(kind: OpKind, channels: int = 64) -> Operator:
    return Operator(kind.value, kind, LoopNest(channels, channels, 8, 8), (), "")


def chain(*operators: Operator) -> TypedGraph:
    return TypedGraph(operators, tuple((i, i + 1, 0) for i in range(len(operators) - 1)))


def by_networkx(a: TypedGraph, b: TypedGraph) -> float:
    """The same costs, searched by networkx."""

    def labelled(graph: TypedGraph) -> nx.DiGraph:
        result = nx.DiGraph()
        result.add_nodes_from((i, {"op": op}) for i, op in enumerate(graph.operators))
        result.add_edges_from((*pair, {"slots": s}) for pair, s in graph.slots.items())
        return result

    return float(
        nx.graph_edit_distance(
            labelled(a),
            labelled(b),
            node_subst_cost=lambda x, y: operator_cost(x["op"], y["op"]),
            node_del_cost=lambda x: 1.0,
            node_ins_cost=lambda x: 1.0,
            edge_subst_cost=lambda x, y: edge_cost(x["slots"], y["slots"]),
            edge_del_cost=lambda x: 0.5,
            edge_ins_cost=lambda x: 0.5,
        )
    )


@settings(max_examples=60, deadline=None)
@given(typed_graphs(), typed_graphs())
def test_distance__is_that_of_networkx(a: TypedGraph, b: TypedGraph) -> None:
    assert edit_distance(a, b) == pytest.approx(by_networkx(a, b))


@settings(max_examples=40, deadline=None)
@given(typed_graphs(6), typed_graphs(6), SEEDS)
def test_distance__is_symmetric_and_blind_to_order(a: TypedGraph, b: TypedGraph, seed: int) -> None:
    distance = edit_distance(a, b)
    assert edit_distance(b, a) == pytest.approx(distance)
    assert edit_distance(shuffled(a, seed), shuffled(b, seed + 1)) == pytest.approx(distance)
    assert edit_distance(a, shuffled(a, seed)) == pytest.approx(0)


@settings(max_examples=40, deadline=None)
@given(typed_graphs(5), typed_graphs(5), typed_graphs(5))
def test_distance__never_shrinks_by_a_detour(a: TypedGraph, b: TypedGraph, c: TypedGraph) -> None:
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c) + 1e-9


def test_distance__of_known_edits() -> None:
    relu = plain(OpKind.RELU)
    base = chain(conv(), relu)
    assert edit_distance(base, chain(conv(), relu, plain(OpKind.MAXPOOL))) == 1.5
    assert edit_distance(base, chain(conv(1), relu)) == pytest.approx(0.2 * log2(3))
    assert edit_distance(base, chain(conv(stride=2), relu)) == pytest.approx(0.2)
    assert edit_distance(base, chain(conv(k=128), relu)) == pytest.approx(0.05)
    assert edit_distance(base, chain(conv(), plain(OpKind.CLIP))) == 0.5
    assert edit_distance(base, chain(conv(), plain(OpKind.ADD))) == 1
    assert edit_distance(base, TypedGraph(base.operators, ())) == 0.5
    other_slot = TypedGraph(base.operators, ((0, 1, 1),))
    assert edit_distance(base, other_slot) == 0.25
    wide = replace(conv().nest, p=100, q=100)
    assert edit_distance(base, chain(replace(conv(), nest=wide), relu)) == 0


def test_distance__refuses_large_graphs() -> None:
    large = chain(*(plain(OpKind.RELU) for _ in range(MOST_OPERATORS + 1)))
    with pytest.raises(FragenvError, match="at most 8 operators, got 9 and 9"):
        edit_distance(large, large)


def test_matrix__holds_all_pairs() -> None:
    graphs = [chain(conv()), chain(conv(1)), chain(plain(OpKind.ADD))]
    matrix = distance_matrix(graphs)
    assert matrix.shape == (3, 3)
    assert matrix[0, 2] == matrix[2, 0] == edit_distance(graphs[0], graphs[2])
    assert not matrix.diagonal().any()
