"""What the graph's constructor refuses, and its orders and lookups."""

import networkx as nx
import pytest

from fragenv.errors import ModelError
from fragenv.graph import DataflowGraph, LoopNest, Operator, OpKind, Tensor


def relu(name, source, result):
    return Operator(name, OpKind.RELU, LoopNest(k=2, c=2), (source,), result)


def add(name, a, b, result):
    return Operator(name, OpKind.ADD, LoopNest(k=2, c=2), (a, b), result)


def graph(operators, outputs=("y",), tensors="xabcy"):
    return DataflowGraph("net", operators, {t: Tensor(t, (2,)) for t in tensors}, ["x"], outputs)


def test_dataflow_graph__orders_operators_topologically_and_stably():
    made = graph([add("last", "a", "b", "y"), relu("one", "x", "a"), relu("two", "x", "b")])
    assert [op.name for op in made.operators] == ["one", "two", "last"]
    assert made.consumers["x"] == ("one", "two")
    assert made.producer["y"] == "last"


def test_dataflow_graph__keeps_both_edges_of_a_tensor_read_twice():
    made = graph([relu("one", "x", "a"), add("twice", "a", "a", "y")])
    assert made.nx.number_of_edges("one", "twice") == 2
    assert made.consumers["a"] == ("twice",)


def test_dataflow_graph__is_frozen():
    made = graph([relu("one", "x", "y")])
    with pytest.raises(nx.NetworkXError):
        made.nx.add_node("other")
    with pytest.raises(TypeError):
        made.tensors["z"] = Tensor("z", (1,))


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        ([], "no operator"),
        ([relu("one", "b", "a"), relu("two", "a", "b"), relu("o", "b", "y")], "cycle: one -> two"),
        ([relu("one", "q", "y")], "nothing produces input 'q'"),
        ([relu("one", "x", "a")], "nothing produces output 'y'"),
        ([relu("one", "x", "y"), relu("two", "x", "y")], "two producers"),
        ([relu("one", "x", "x")], "two producers"),
        ([relu("one", "x", "a"), relu("one", "a", "y")], "two operators have this name"),
        ([relu("one", "x", "q"), relu("two", "q", "y")], "tensor 'q' has no shape"),
    ],
)
def test_dataflow_graph__refuses(operators, message):
    with pytest.raises(ModelError, match=message):
        graph(operators)


def test_loop_nest__refuses_impossible_bounds():
    with pytest.raises(ValueError, match="bound p must be at least 1"):
        LoopNest(k=1, c=1, p=0)
    with pytest.raises(ValueError, match="do not divide into 3 groups"):
        LoopNest(k=4, c=3, groups=3)
