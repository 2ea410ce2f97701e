"""Scalar patterns against networkx's isomorphism of naively cut cones; layers as they are known."""

from __future__ import annotations

import math
import time

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_nests import convolution, fully_connected, layer_with_bias_and_relu, mixed, padded

from fragenv.errors import FragenvError
from fragenv.graph import LoopNest, Operator, OpKind
from fragenv.graph.unroll import UnrollFactors, unroll
from fragenv.patterns.scalar import DotProduct, mine_scalars
from fragenv.patterns.scalar_graph import COMMUTATIVE, ScalarGraph, from_networkx
from fragenv.patterns.trace import trace

CONV = Operator("conv", OpKind.CONV, LoopNest(8, 3, 6, 6, 3, 3, 8, 8), ("x",), "y")
DENSE = Operator("fc", OpKind.GEMM, LoopNest(10, 16), ("x",), "y")


@st.composite
def scalar_graphs(draw: st.DrawFn) -> ScalarGraph:
    """Small graphs that share values, use one twice and leave some unused."""
    graph = ScalarGraph("random")
    for i in range(draw(st.integers(1, 3))):
        graph.leaf("ab"[i % 2], (i,))
    for _ in range(draw(st.integers(1, 9))):
        recent = st.integers(max(0, len(graph) - 5), len(graph) - 1)
        kind = draw(st.sampled_from(["mul", "add", "add", "sub", "neg"]))
        left, right = draw(recent), draw(recent)
        graph.operation(kind, left, None if kind == "neg" else right)
    graph.outputs = [len(graph) - 1, *draw(st.lists(st.integers(0, len(graph) - 1), max_size=1))]
    return graph


def cones(graph: ScalarGraph) -> dict[int, nx.DiGraph]:
    """Each root with the tree of operations that only it uses, user by user."""
    users: dict[int, list[int]] = {v: [] for v in range(len(graph))}
    for v in graph.operations():
        for operand in graph.operands(v):
            users[operand].append(v)
    roots = [v for v in graph.operations() if len(users[v]) != 1 or v in graph.outputs]
    found = {}
    for root in roots:
        tree, todo = nx.DiGraph(), [root]
        tree.add_node(root, kind=graph.kind(root))
        while todo:
            v = todo.pop()
            for slot, operand in enumerate(graph.operands(v)):
                if not graph.is_leaf(operand) and operand not in roots:
                    ordered = slot if graph.kind(v) not in COMMUTATIVE else "any"
                    tree.add_node(operand, kind=graph.kind(operand))
                    tree.add_edge(operand, v, slot=ordered)
                    todo.append(operand)
        found[root] = tree
    return found


def alike(a: nx.DiGraph, b: nx.DiGraph) -> bool:
    return bool(
        nx.is_isomorphic(
            a,
            b,
            node_match=lambda m, n: m["kind"] == n["kind"],
            edge_match=lambda m, n: m["slot"] == n["slot"],
        )
    )


@settings(max_examples=300, deadline=None)
@given(scalar_graphs())
def test_mine_scalars__equals_naive_cones_up_to_isomorphism(graph: ScalarGraph) -> None:
    trees = cones(graph)
    patterns = mine_scalars(graph)
    assert sorted(r for p in patterns for r in p.roots) == sorted(trees)
    assert sum(p.gain for p in patterns) == graph.num_operations
    key = {root: p.key for p in patterns for root in p.roots}
    for p in patterns:
        assert all(len(trees[root]) == p.operations for root in p.roots)
    for a in trees:
        for b in trees:
            assert (key[a] == key[b]) == alike(trees[a], trees[b])


@pytest.mark.parametrize(
    ("operator", "factors", "replicas", "dot"),
    [
        (DENSE, UnrollFactors(k=10, c=16), 10, DotProduct(16, 0, 4)),
        (DENSE, UnrollFactors(k=4, c=3), 4, DotProduct(3, 1, 3)),
        (CONV, UnrollFactors(8, 3, 6, 6, 3, 3), 8 * 36, DotProduct(27, 0, 5)),
        (CONV, UnrollFactors(k=2, r=3, s=3), 2, DotProduct(9, 1, 5)),
    ],
)
def test_mine_scalars__finds_the_dot_product_of_a_layer(
    operator: Operator, factors: UnrollFactors, replicas: int, dot: DotProduct
) -> None:
    (pattern,) = mine_scalars(from_networkx(unroll(operator, factors)))
    assert pattern.replicas == replicas == factors.outputs
    assert pattern.dot == dot and dot.products == factors.reduction
    assert dict(pattern.kinds) == {"mul": dot.products, "add": dot.additions} | (
        {} if dot.additions else {"add": 0}
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9])
def test_mine_scalars__chains_and_trees_are_told_apart(size: int) -> None:
    (chain,) = mine_scalars(trace(fully_connected, x=(size,), w=(4, size), y=(4,)))
    op = Operator("fc", OpKind.GEMM, LoopNest(4, size), ("x",), "y")
    (tree,) = mine_scalars(from_networkx(unroll(op, UnrollFactors(k=4, c=size))))
    assert chain.dot == DotProduct(size, 0, size - 1)
    assert tree.dot == DotProduct(size, 0, math.ceil(math.log2(size)))
    assert tree.dot.balanced and chain.dot.balanced == (size <= 3)
    assert (chain.key == tree.key) == (size <= 3)


def test_mine_scalars__a_convolution_written_by_hand() -> None:
    graph = trace(convolution, x=(2, 5, 6), w=(4, 2, 3, 3), y=(4, 3, 4))
    (pattern,) = mine_scalars(graph)
    assert pattern.replicas == 4 * 3 * 4
    assert pattern.name == "18 mul + 17 add"


def test_mine_scalars__bias_and_activation_belong_to_the_pattern() -> None:
    shapes = {"x": (6,), "w": (5, 6), "b": (5,), "y": (5,)}
    (pattern,) = mine_scalars(trace(layer_with_bias_and_relu, **shapes))
    assert dict(pattern.kinds) == {"mul": 6, "add": 6, "max": 1}
    assert pattern.dot == DotProduct(6, 1, 6) and pattern.replicas == 5


def test_mine_scalars__windows_cut_at_the_border_are_another_pattern() -> None:
    patterns = mine_scalars(trace(padded, x=(9,), w=(3,), y=(9,)))
    assert [(p.dot.products, p.replicas) for p in patterns if p.dot] == [(3, 7), (2, 2)]


def test_mine_scalars__replicas_taken_away_one_by_one() -> None:
    whole = unroll(DENSE, UnrollFactors(k=10, c=16))
    key = mine_scalars(from_networkx(whole))[0].key
    for left in range(9, -1, -1):
        # one result with everything that only leads to it
        gone = [n for n in whole if n.startswith((f"y[{left},", f"mul[{left},", f"add[{left},"))]
        whole.remove_nodes_from([*gone, *(n for n in whole if n.startswith(f"w[{left},"))])
        if left:
            (pattern,) = mine_scalars(from_networkx(whole))
            assert (pattern.replicas, pattern.key) == (left, key)
    with pytest.raises(FragenvError, match="no operation"):
        from_networkx(whole)


def test_mine_scalars__a_damaged_replica_no_longer_counts() -> None:
    graph = unroll(DENSE, UnrollFactors(k=4, c=8))
    for k in range(4):
        graph.nodes[f"add[{k},0,0,0]"]["kind"] = "sub"
        by_gain = mine_scalars(from_networkx(graph))
        assert sorted(p.replicas for p in by_gain) == sorted(n for n in (3 - k, k + 1) if n)


def test_mine_scalars__nothing_repeats() -> None:
    patterns = mine_scalars(trace(mixed, x=(4,), y=(2,), z=3))
    assert [p.replicas for p in patterns] == [1, 1]


def test_mine_scalars__keys_agree_between_graphs() -> None:
    conv = mine_scalars(from_networkx(unroll(CONV, UnrollFactors(k=2, c=1, r=3, s=3))))
    op = Operator("fc", OpKind.GEMM, LoopNest(3, 20), ("x",), "y")
    dense = mine_scalars(from_networkx(unroll(op, UnrollFactors(k=3, c=9))))
    assert conv[0].key == dense[0].key


@pytest.mark.slow
def test_mine_scalars__a_million_operations_in_a_minute() -> None:
    graph = trace(fully_connected, x=(1000,), w=(500, 1000), y=(500,))
    start = time.perf_counter()
    (pattern,) = mine_scalars(graph)
    seconds = time.perf_counter() - start
    assert pattern.replicas == 500 and seconds < 60


def star(kind: str, operands: int) -> nx.DiGraph:
    graph = nx.DiGraph(name="bad")
    graph.add_node("op", kind=kind)
    for i in range(operands):
        graph.add_node(i, kind="input")
        graph.add_edge(i, "op")
    return graph


def cyclic() -> nx.DiGraph:
    graph = nx.DiGraph([("a", "b"), ("b", "a")], name="bad")
    nx.set_node_attributes(graph, "add", "kind")
    return graph


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (cyclic(), "bad: the scalar graph has a cycle"),
        (star("fma", 2), "'op' is of unknown kind 'fma'; known are add"),
        (star("add", 3), "'op' \\(add\\) has 3 operands"),
        (star("neg", 2), "has 2 operands"),
        (star("output", 2), "stores 2 values"),
        (nx.DiGraph(), "no operation"),
        (nx.DiGraph([("a", "b")]), "node 'a' has no kind"),
    ],
)
def test_from_networkx__refuses_what_is_no_scalar_graph(graph: nx.DiGraph, message: str) -> None:
    with pytest.raises(FragenvError, match=message):
        from_networkx(graph)


def test_from_networkx__slots_and_parallel_edges() -> None:
    """x - y by slots, against the order of the edges; x * x by two edges and by one."""
    graph = nx.MultiDiGraph(name="slots")
    for node, kind in (("x", "a"), ("y", "b"), ("d", "sub"), ("s", "mul"), ("o", "output")):
        graph.add_node(node, kind=kind)
    graph.add_edge("y", "d", slot=1)
    graph.add_edge("x", "d", slot=0)
    graph.add_edges_from([("d", "s"), ("d", "s"), ("s", "o")])
    found = from_networkx(graph)
    sub, square = found.operations()
    assert [found.array_of(v) for v in found.operands(sub)] == ["a", "b"]
    assert found.operands(square) == (sub, sub)
    single = star("mul", 1)
    assert len(set(from_networkx(single).operands(1))) == 1
