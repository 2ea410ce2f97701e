"""The verifier accepts what importers make and notices every graph broken on purpose."""

from dataclasses import replace

import pytest

from fragenv.errors import ModelError
from fragenv.graph import DataflowGraph, LoopNest, Operator, OpKind, Tensor
from fragenv.graph.check import check_graph

CONV = Operator(
    "conv",
    OpKind.CONV,
    LoopNest(k=4, c=3, p=6, q=6, r=3, s=3, h=8, w=8),
    ("x",),
    "a",
    weight_bytes=4 * 3 * 9,
    bias_bytes=16,
)
ADD = Operator("add", OpKind.ADD, LoopNest(k=4, c=4, p=6, q=6, h=6, w=6), ("a", "a"), "b")
CONCAT = Operator("cat", OpKind.CONCAT, LoopNest(k=8, c=8, p=6, q=6, h=6, w=6), ("a", "b"), "y")
SHAPES = {"x": (3, 8, 8), "a": (4, 6, 6), "b": (4, 6, 6), "y": (8, 6, 6)}


def graph(conv=CONV, add=ADD, concat=CONCAT, **shapes):
    tensors = {name: Tensor(name, shape) for name, shape in (SHAPES | shapes).items()}
    return DataflowGraph("net", [conv, add, concat], tensors, ["x"], ["y"])


def test_check_graph__accepts_a_consistent_graph():
    check_graph(graph())


def nest(op, **changes):
    return replace(op, nest=replace(op.nest, **changes))


BROKEN = {
    "output tensor": ({"a": (4, 6, 5)}, "output elements"),
    "input tensor": ({"x": (3, 8, 9)}, "input elements"),
    "concat size": ({"concat": nest(CONCAT, c=4)}, "input elements"),
    "add size": ({"add": nest(ADD, c=8)}, "input elements"),
    "add inputs": ({"add": replace(ADD, inputs=("a",))}, "inputs"),
    "weights": ({"conv": replace(CONV, weight_bytes=107)}, "weight bytes"),
    "biases": ({"conv": replace(CONV, bias_bytes=4)}, "bias bytes"),
    "rows": ({"conv": nest(CONV, stride=(2, 1))}, "output rows"),
    "columns": ({"conv": nest(CONV, padding=(0, 1, 0, 1))}, "output columns"),
    "softmax": ({"add": replace(ADD, kind=OpKind.SOFTMAX, inputs=("a",))}, "must end the graph"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_check_graph__notices_what_is_broken_on_purpose(name):
    changes, message = BROKEN[name]
    with pytest.raises(ModelError, match=message):
        check_graph(graph(**changes))
