"""The scalar graph computes what the loop nest says: counts, sharing, numbers."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fragenv.errors import ModelError
from fragenv.graph import LoopNest, Operator, OpKind
from fragenv.graph.unroll import UnrollFactors, unroll


def mac(kind, **bounds):
    return Operator("op", kind, LoopNest(**bounds), ("x",), "y")


def nodes(graph, kind):
    return [n for n, data in graph.nodes(data=True) if data["kind"] == kind]


def indices(node):
    return tuple(int(i) for i in node[node.index("[") + 1 : -1].split(","))


def evaluate(graph, x, w, acc):
    """Every output of the scalar graph, node by node."""
    values = {}
    for node in nx.topological_sort(graph):
        before = [values[n] for n in graph.predecessors(node)]
        match graph.nodes[node]["kind"]:
            case "input":
                values[node] = x[indices(node)]
            case "weight":
                values[node] = w[indices(node)]
            case "accumulator":
                values[node] = acc[indices(node)]
            case "mul":
                assert len(before) == 2
                values[node] = before[0] * before[1]
            case "add":
                assert len(before) == 2
                values[node] = before[0] + before[1]
            case "output":
                (values[node],) = before
    return {indices(n): values[n] for n in nodes(graph, "output")}


def test_unroll__rows_of_a_matrix_product_share_the_input():
    op = mac(OpKind.GEMM, k=10, c=6)
    graph = unroll(op, UnrollFactors(k=4, c=3))
    counts = {kind: len(nodes(graph, kind)) for kind in ("input", "weight", "mul", "add", "output")}
    assert counts == {"input": 3, "weight": 12, "mul": 12, "add": 12, "output": 4}
    assert all(graph.out_degree(x) == 4 for x in nodes(graph, "input"))
    assert all(graph.out_degree(w) == 1 for w in nodes(graph, "weight"))
    assert len(nodes(graph, "accumulator")) == 4


def test_unroll__a_whole_reduction_needs_no_accumulator_and_a_tree_of_logarithmic_depth():
    graph = unroll(mac(OpKind.GEMM, k=3, c=8), UnrollFactors(k=1, c=8))
    assert nodes(graph, "accumulator") == []
    assert len(nodes(graph, "add")) == 7
    # input, product, three levels of additions, output
    assert nx.dag_longest_path_length(graph) == 1 + 3 + 1


def test_unroll__windows_share_overlapping_inputs_and_weights():
    op = mac(OpKind.CONV, k=2, c=1, p=6, q=6, r=3, s=3, h=8, w=8)
    graph = unroll(op, UnrollFactors(p=2, r=3, s=3))
    assert len(nodes(graph, "input")) == 4 * 3  # rows 0 to 3 of columns 0 to 2
    assert len(nodes(graph, "weight")) == 9
    assert len(nodes(graph, "mul")) == 18
    assert graph.out_degree("w[0,0,0,0]") == 2
    assert graph.out_degree("x[0,1,0]") == 2


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_unroll__whole_convolutions_equal_pytorchs(data):
    groups = data.draw(st.integers(1, 2))
    k, c = groups * data.draw(st.integers(1, 2)), groups * data.draw(st.integers(1, 2))
    r, s, stride = (data.draw(st.integers(1, 2)) for _ in range(3))
    dilation = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2)))
    padding = data.draw(st.integers(0, 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.integers(-9, 9, (c, 3, 4))
    w = rng.integers(-9, 9, (k, c // groups, r, s))
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x[None]), torch.from_numpy(w), None, stride, padding, dilation, groups
    )[0].numpy()
    _, p, q = expected.shape
    op = mac(
        OpKind.CONV,
        **{"k": k, "c": c, "p": p, "q": q, "r": r, "s": s, "h": 3, "w": 4},
        stride=(stride, stride),
        padding=(padding,) * 4,
        dilation=dilation,
        groups=groups,
    )
    factors = UnrollFactors(k, c // groups, p, q, r, s)
    graph = unroll(op, factors)
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    found = evaluate(graph, padded, w, None)
    assert found == {index: expected[index] for index in np.ndindex(expected.shape)}
    assert len(nodes(graph, "mul")) == op.macs == factors.multiplications


@settings(max_examples=40, deadline=None)
@given(k=st.integers(1, 5), c=st.integers(1, 9), data=st.data())
def test_unroll__partial_products_add_to_the_accumulator(k, c, data):
    factors = UnrollFactors(k=data.draw(st.integers(1, k)), c=data.draw(st.integers(1, c)))
    rng = np.random.default_rng(0)
    x, w, acc = rng.integers(-9, 9, (c, 1, 1)), rng.integers(-9, 9, (k, c, 1, 1)), None
    acc = rng.integers(-9, 9, (k, 1, 1))
    graph = unroll(mac(OpKind.GEMM, k=k, c=c), factors)
    start = acc[:, 0, 0] if factors.c < c else np.zeros(k, int)
    expected = start + w[:, : factors.c, 0, 0] @ x[: factors.c, 0, 0]
    found = evaluate(graph, x, w, acc)
    assert found == {(i, 0, 0): expected[i] for i in range(factors.k)}
    operands = factors.c + (factors.c < c)
    assert len(nodes(graph, "add")) == factors.k * (operands - 1)


def test_unroll__refuses_factors_beyond_the_loops_and_other_operators():
    op = mac(OpKind.CONV, k=4, c=4, p=2, q=2, h=2, w=2, groups=2)
    with pytest.raises(ModelError, match="c=3 is not within 1 to 2"):
        unroll(op, UnrollFactors(c=3))
    with pytest.raises(ModelError, match="k=0 is not within 1 to 4"):
        unroll(op, UnrollFactors(k=0))
    with pytest.raises(ModelError, match="only convolutions and matrix products"):
        unroll(replace(op, kind=OpKind.ADD), UnrollFactors())
