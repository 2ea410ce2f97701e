"""discover() against all subsets of small graphs, judged by networkx."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_graphs import build, classes, graphs, make, most_disjoint, pieces

from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import OpKind
from fragenv.patterns import discover as module
from fragenv.patterns.discover import APART, discover
from fragenv.patterns.pattern import label

Groups = set[frozenset[frozenset[str]]]


def found(graph: DataflowGraph, depth: int, least: int, most: int | None = None) -> Groups:
    mined = discover(graph, depth, least, most)
    groups = [frozenset(frozenset(o.operators) for o in m.occurrences) for m in mined]
    assert len(set(groups)) == len(groups) == len({m.pattern.key for m in mined})
    assert all(len(g) == len(m.occurrences) for g, m in zip(groups, mined, strict=True))
    return set(groups)


@settings(max_examples=250, deadline=None)
@given(graphs(), st.integers(1, 4), st.integers(1, 3), st.sampled_from([None, 1, 3]))
def test_discover__equals_naive_enumeration(
    graph: DataflowGraph, depth: int, least: int, most: int | None
) -> None:
    groups = classes(graph, pieces(graph, depth, most or 8 * depth))
    expected = {frozenset(g) for g in groups if most_disjoint(g) >= least}
    assert found(graph, depth, least, most) == expected


@settings(max_examples=100, deadline=None)
@given(graphs(most=10))
def test_discover__operators_play_the_parts_of_their_pattern(graph: DataflowGraph) -> None:
    for m in discover(graph, 2):
        assert m.pattern.depth <= 2
        assert m.gain == len(m.pattern.kinds) * len(m.occurrences)
        for place in m.occurrences:
            labels = tuple(text.removesuffix(APART) for text in m.pattern.labels)
            assert tuple(label(graph.op(n)) for n in place.operators) == labels


@settings(max_examples=60, deadline=None)
@given(graphs(most=7), graphs(most=7))
def test_discover__a_disconnected_graph_is_searched_in_every_part(
    one: DataflowGraph, two: DataflowGraph
) -> None:
    """Alone with min_occurrences=1, the parts' sets are those of the whole."""
    moved = [
        make(f"m{op.name}", op.kind, tuple("x" if t == "x" else f"m{t}" for t in op.inputs),
             op.nest.r)
        for op in two.operators
    ]  # fmt: skip
    outputs = {*one.outputs, *(f"m{t}" for t in two.outputs)}
    both = build([*one.operators, *moved], outputs)
    sets = {s for g in found(both, 2, 1) for s in g}
    left = {s for g in found(one, 2, 1) for s in g}
    right = {frozenset(f"m{n}" for n in s) for g in found(two, 2, 1) for s in g}
    assert sets == left | right


def test_discover__an_operator_that_ten_share_does_not_make_a_pattern_frequent() -> None:
    operators = [make("c", OpKind.CONV, ("x",), 3)]
    operators += [make(f"p{i}", OpKind.MAXPOOL, ("c.out",)) for i in range(10)]
    graph = build(operators, {f"p{i}.out" for i in range(10)})
    assert {m.pattern.name for m in discover(graph)} == {"maxpool1x1/1"}


def test_discover__both_operands_of_one_tensor_are_seen() -> None:
    """x + x and x + y differ: a multi-edge is not an edge."""
    operators = [
        make("a", OpKind.CONV, ("x",)),
        make("twice", OpKind.ADD, ("a.out", "a.out")),
        make("b", OpKind.CONV, ("twice.out",)),
        make("once", OpKind.ADD, ("b.out", "x")),
    ]
    graph = build(operators, {"once.out"})
    assert frozenset({frozenset({"a", "twice"})}) in found(graph, 1, 1)
    assert frozenset({frozenset({"b", "once"})}) in found(graph, 1, 1)


def test_discover__one_operator() -> None:
    graph = build([make("only", OpKind.CONV, ("x",))], {"only.out"})
    assert discover(graph, 4) == ()
    assert found(graph, 4, 1) == {frozenset({frozenset({"only"})})}


def test_discover__a_depth_beyond_the_graphs_own_changes_nothing() -> None:
    operators = [make(f"c{i}", OpKind.CONV, ("x" if not i else f"c{i - 1}.out",)) for i in range(2)]
    graph = build(operators, {"c1.out"})
    assert found(graph, 4, 1) == found(graph, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "max_depth must be 1 to 4, got 0"),
        ((5,), "max_depth must be 1 to 4, got 5"),
        ((1, 0), "at least 1, got 8 and 0"),
        ((1, 2, 0), "at least 1, got 0 and 2"),
    ],
)
def test_discover__refuses_arguments_out_of_range(arguments: tuple[int, ...], message: str) -> None:
    graph = build([make("only", OpKind.CONV, ("x",))], {"only.out"})
    with pytest.raises(FragenvError, match=message):
        discover(graph, *arguments)


def test_discover__refuses_what_memory_would_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SETS", 20)
    operators = [make("c", OpKind.CONV, ("x",), 3)]
    operators += [make(f"p{i}", OpKind.MAXPOOL, ("c.out",)) for i in range(10)]
    graph = build(operators, {f"p{i}.out" for i in range(10)})
    with pytest.raises(FragenvError, match="more than 20 connected, convex sets of 3 operators"):
        discover(graph, 1, min_occurrences=1)
