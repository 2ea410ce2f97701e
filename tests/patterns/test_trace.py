"""Tracing gives the graph that the loops compute; what depends on data is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_nests import convolution, fully_connected, layer_with_bias_and_relu, padded, two_layers

from fragenv.patterns import trace as module
from fragenv.patterns.scalar_graph import ScalarGraph
from fragenv.patterns.trace import TraceError, maximum, minimum, trace

COMPUTE = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "neg": np.negative,
}


def evaluate(graph: ScalarGraph, arrays: dict[str, np.ndarray]) -> list[float]:
    """The stored values, operation by operation."""
    values: list[float] = []
    for value in range(len(graph)):
        if graph.is_leaf(value):
            name, index = graph.leaf_of[value]
            values.append(index[0] if name == "constant" else arrays[name][index])
        else:
            operands = [values[v] for v in graph.operands(value)]
            values.append(COMPUTE[graph.kind(value)](*operands))
    return [values[v] for v in graph.outputs]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_trace__computes_a_layer(k: int, c: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {"x": rng.integers(-9, 9, c), "w": rng.integers(-9, 9, (k, c)),
              "b": rng.integers(-9, 9, k)}  # fmt: skip
    shapes = {name: a.shape for name, a in arrays.items()}
    graph = trace(layer_with_bias_and_relu, **shapes, y=(k,))
    expected = np.maximum(arrays["w"] @ arrays["x"] + arrays["b"], 0)
    assert evaluate(graph, arrays) == list(expected)
    plain = trace(fully_connected, x=(c,), w=(k, c), y=(k,))
    assert evaluate(plain, arrays) == list(arrays["w"] @ arrays["x"])
    assert plain.num_operations == k * (2 * c - 1)


def test_trace__computes_a_convolution_and_two_layers() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 9, (2, 4, 5)), rng.integers(-9, 9, (3, 2, 2, 3))
    graph = trace(convolution, x=x.shape, w=w.shape, y=(3, 3, 3))
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 3), (1, 2))
    expected = np.einsum("kcrs,cpqrs->kpq", w, windows)
    assert evaluate(graph, {"x": x, "w": w}) == list(expected.ravel())
    x, w, v = rng.integers(-9, 9, 4), rng.integers(-9, 9, (3, 4)), rng.integers(-9, 9, (2, 3))
    graph = trace(two_layers, x=(4,), w=(3, 4), v=(2, 3), y=(2,))
    expected = v @ np.maximum(w @ x, 0)
    assert evaluate(graph, {"x": x, "w": w, "v": v}) == list(expected)


def test_trace__conditions_on_loop_counters() -> None:
    x, w = np.arange(1, 6), np.array([2, 3, 5])
    graph = trace(padded, x=(5,), w=(3,), y=(5,))
    assert evaluate(graph, {"x": x, "w": w}) == list(np.correlate(x, w, "same"))


def test_trace__every_operator() -> None:
    def everything(a, y, n):
        y[0] = n - a[0] * 2 + (3 * a[1] - a[2]) / a[3] - 0
        y[1] = 0 + minimum(-a[0], 1 / a[1]) + 0.5
        y[2] = maximum(1, a[2])
        y[3] = 7
        for i, value in enumerate(a):
            y[3] = y[3] + value * (i + 1)

    a = np.array([1.0, 2.0, 5.0, 4.0])
    graph = trace(everything, a=(4,), y=(4,), n=9)
    assert evaluate(graph, {"a": a}) == [9 - 2 + (6 - 5) / 4, -1 + 0.5, 5, 7 + 1 + 4 + 15 + 16]


def test_trace__an_element_read_before_it_is_assigned_is_a_leaf() -> None:
    def accumulate(x, y):
        for i in range(2):
            y[0] += x[i]

    graph = trace(accumulate, x=(2,), y=(1,))
    assert evaluate(graph, {"x": np.array([3, 4]), "y": np.array([10])}) == [17]


def bound(x, y):
    for _ in range(x[0]):
        y[0] = x[1]


def branch(x, y):
    if x[0] > 0:
        y[0] = x[1]


def truth(x, y):
    y[0] = x[0] + x[1] if x[0] * x[1] else 0


def builtin(x, y):
    y[0] = max(x[0], x[1])


def equal(x, y):
    y[0] = int(x[0] == x[1])


def indirect(x, y):
    y[x[0]] = x[1]


def outside(x, y):
    y[0] = x[-1]


def partial(x, y):
    y[0, 1] = x[0]


def section(x, y):
    y[0] = sum(x[0:2])


def textual(x, y):
    y[0] = "1"


def silent(x, y):
    return x[0] * x[1]


@pytest.mark.parametrize(
    ("nest", "message"),
    [
        (bound, "bound: the value of x\\[0\\] is needed as a number; loop bounds"),
        (branch, "the value of x\\[0\\] is needed"),
        (truth, "the value of a computed mul is needed"),
        (builtin, "use maximum and minimum"),
        (equal, "must not depend on data"),
        (indirect, "y is indexed by the value of x\\[0\\]"),
        (outside, "x\\[-1\\] is outside its shape \\(2,\\)"),
        (partial, "is no element; give 1 whole numbers, as in y\\[i\\]"),
        (section, "x\\[slice"),
        (textual, "'1' is neither an element nor a number"),
        (silent, "assigns no element"),
    ],
)
def test_trace__refuses_in_one_sentence(nest: object, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        trace(nest, x=(2,), y=(1,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": (2,)}, "missing a required argument: 'y'"),
        ({"x": (2,), "y": (1,), "z": (1,)}, "unexpected keyword"),
        ({"x": (2, 0), "y": (1,)}, "shape \\(2, 0\\) of 'x'"),
        ({"x": (), "y": (1,)}, "of 'x' must be 1 to 6"),
    ],
)
def test_trace__refuses_wrong_arguments(
    arguments: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(TraceError, match=message):
        trace(silent, **arguments)


def test_trace__refuses_to_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OPERATIONS", 50)
    with pytest.raises(TraceError, match="more than 50 scalar values; trace a smaller tile"):
        trace(fully_connected, x=(10,), w=(5, 10), y=(5,))


def test_maximum__of_numbers_alone() -> None:
    with pytest.raises(TraceError, match="use max and min on numbers"):
        maximum(1, 2)
