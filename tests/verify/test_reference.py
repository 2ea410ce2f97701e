"""The integer reference against ONNX Runtime's floating point: at most one unit, and rarely."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.models.parameters import MacParameters, Quantisation, TensorScale
from fragenv.verify.integers import ReferenceError, integer_operator, requantise
from fragenv.verify.reference import evaluate_operator

RNG = np.random.default_rng(0)


def numbers_of(inputs, output, mac=None):
    tensors = {f"x{i}": scale for i, scale in enumerate(inputs)} | {"y": output}
    return Quantisation(tensors, {"op": mac} if mac else {})


def operator(kind, nest, count=1, **attributes):
    names = tuple(f"x{i}" for i in range(count))
    return Operator("op", kind, nest, names, "y", attributes=tuple(sorted(attributes.items())))


def random_scale():
    return TensorScale(float(RNG.uniform(0.01, 0.1)), int(RNG.integers(-60, 60)))


def random_int8(*shape):
    return RNG.integers(-128, 128, shape, dtype=np.int8)


def quantised_by_onnx(kind, xs, scales, after, attributes, weights=()):
    """DequantizeLinear -> kind -> QuantizeLinear in ONNX Runtime, nothing fused."""
    nodes, feeds, names = [], {}, []
    constants = [("sy", np.float32(after.scale)), ("zy", np.int8(after.zero_point))]
    for i, (x, scale) in enumerate(zip(xs, scales, strict=True)):
        feeds[f"x{i}"] = x
        constants += [(f"s{i}", np.float32(scale.scale)), (f"z{i}", np.int8(scale.zero_point))]
        nodes.append(helper.make_node("DequantizeLinear", [f"x{i}", f"s{i}", f"z{i}"], [f"f{i}"]))
        names.append(f"f{i}")
    constants += [(f"w{i}", weight.astype(np.float32)) for i, weight in enumerate(weights)]
    names += [f"w{i}" for i in range(len(weights))]
    nodes.append(helper.make_node(kind, names, ["f"], **attributes))
    nodes.append(helper.make_node("QuantizeLinear", ["f", "sy", "zy"], ["y"]))
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info(n, TensorProto.INT8, x.shape) for n, x in feeds.items()],
        [helper.make_tensor_value_info("y", TensorProto.INT8, None)],
        [helper.make_tensor(n, _type(v), v.shape, v.tobytes(), raw=True) for n, v in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    return session.run(None, feeds)[0]


def _type(value):
    return TensorProto.INT8 if value.dtype == np.int8 else TensorProto.FLOAT


def assert_close(found, expected, share):
    """At most one unit apart, and only in ``share`` of all elements; not saturated."""
    difference = np.abs(found.astype(int).reshape(expected.shape) - expected.astype(int))
    assert difference.max() <= 1
    assert np.mean(difference > 0) <= share
    assert len(np.unique(expected)) > 20


# -- the shared arithmetic -------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-40, -20, -3, 0, 5])
def test_requantise__is_the_formula_in_exact_fractions(exponent):
    factors = 2.0**exponent * RNG.uniform(0.5, 1, 200)
    sums = RNG.integers(-(2**31), 2**31, 200) >> RNG.integers(0, 31, 200)
    found = requantise(sums, factors, 3)
    for value, factor, result in zip(sums.tolist(), factors.tolist(), found.tolist(), strict=True):
        step = Fraction(2) ** (floor(np.log2(factor)) - 23)
        rounded = round(Fraction(factor) / step) * step
        assert result == max(-128, min(127, floor(value * rounded + Fraction(1, 2)) + 3))


def test_requantise__rounds_halves_up():
    sums = np.array([-3, -1, 1, 3, 5])
    assert requantise(sums, np.array(0.5), 0).tolist() == [-1, 0, 1, 2, 3]


@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0**24, float("nan")])
def test_requantise__refuses_factors_without_a_fixed_point_number(factor):
    with pytest.raises(ReferenceError, match="quantise again"):
        requantise(np.array([1]), np.array(factor), 0)


def test_integer_operator__does_not_saturate_between_products():
    x = np.full((1, 64), 127, np.int8)
    sums = integer_operator("MatMulInteger", x, np.full((64, 1), -128, np.int8), -128, {})
    assert sums.tolist() == [[-128 * 255 * 64]]


# -- convolutions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("c", "k", "groups"), [(6, 6, 6), (6, 12, 6), (8, 12, 4), (5, 7, 1)], ids=str
)
def test_conv__groups_agree_with_onnx_runtime(c, k, groups):
    nest = LoopNest(k, c, 5, 4, 3, 3, 10, 9, (2, 2), (1, 0, 1, 1), (1, 1), groups)
    x, before, after = random_int8(3, c, 10, 9), random_scale(), random_scale()
    weight, bias = random_int8(k, c // groups, 3, 3), RNG.integers(-3000, 3000, k, dtype=np.int32)
    scale = after.scale / before.scale / (60 * np.sqrt(weight[0].size)) * RNG.uniform(0.5, 1.5, k)
    mac = MacParameters(weight, bias, scale)
    found = evaluate_operator(
        operator(OpKind.CONV, nest), numbers_of([before], after, mac), [x]
    ).reshape(3, k, 5, 4)
    real_weight = weight * scale[:, None, None, None]
    attributes = {"strides": [2, 2], "pads": [1, 0, 1, 1], "group": groups}
    reals = (real_weight, bias * before.scale * scale)
    assert_close(
        found, quantised_by_onnx("Conv", [x], [before], after, attributes, reals), share=0.001
    )


def test_gemm__runs_over_every_row():
    nest = LoopNest(k=7, c=40, p=6, h=6)
    x, before, after = random_int8(2, 6, 40), random_scale(), random_scale()
    weight = random_int8(7, 40, 1, 1)
    scale = after.scale / before.scale / 400 * np.ones(7)
    mac = MacParameters(weight, np.zeros(7, np.int32), scale)
    found = evaluate_operator(operator(OpKind.GEMM, nest), numbers_of([before], after, mac), [x])
    real = (weight[:, :, 0, 0] * scale[:, None]).T
    expected = quantised_by_onnx("MatMul", [x], [before], after, {}, [real])
    assert_close(found, expected, share=0.02)


# -- pools -----------------------------------------------------------------------------------------

#: kernel, stride, pads (top, left, bottom, right), dilation, ceil, input rows and columns
MEANS = {
    "padded": ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 0, (9, 8)),
    "uneven": ((2, 3), (2, 1), (1, 0, 0, 2), (1, 1), 0, (9, 8)),
    "ceil": ((3, 3), (2, 2), (0, 0, 0, 0), (1, 1), 1, (8, 10)),
    "ceil, padded": ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1, (8, 8)),
    "dilated": ((2, 2), (1, 1), (1, 1, 1, 1), (2, 2), 0, (7, 7)),
}


@pytest.mark.parametrize("case", MEANS)
def test_mean_without_padding__agrees_with_onnx_runtime(case):
    from fragenv.graph.builder import GraphBuilder
    from fragenv.graph.windows import Window

    kernel, stride, pads, dilation, ceil, size = MEANS[case]
    builder = GraphBuilder()
    value = builder.input("x0", (6, *size))
    window = Window(kernel, stride, pads, dilation)
    out = builder.average_pool("op", value, "y", window, bool(ceil), count_padding=False)
    (op,) = builder.finish("mean", [out]).operators
    x, before = random_int8(4, 6, *size), random_scale()
    after = TensorScale(before.scale * 0.6137, 5)  # no ties
    found = evaluate_operator(op, numbers_of([before], after), [x])
    attributes = {
        "kernel_shape": kernel,
        "strides": stride,
        "pads": pads,
        "dilations": dilation,
        "ceil_mode": ceil,
        "count_include_pad": 0,
    }
    expected = quantised_by_onnx("AveragePool", [x], [before], after, attributes)
    assert_close(found, expected, share=0.001)


def test_mean__refuses_a_window_of_padding_alone():
    nest = LoopNest(1, 1, 3, 3, 1, 1, 1, 1, (1, 1), (1, 1, 1, 1), groups=1)
    op = operator(OpKind.AVGPOOL, nest, count_include_pad=0.0)
    with pytest.raises(ReferenceError, match="in the padding alone"):
        evaluate_operator(
            op, numbers_of([random_scale()], random_scale()), [random_int8(1, 1, 1, 1)]
        )


# -- element by element ----------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [1.0, 0.3, 40.0, 1e-6])
def test_add__agrees_with_onnx_runtime(ratio):
    first = random_scale()
    scales = [first, TensorScale(first.scale * ratio, int(RNG.integers(-60, 60)))]
    after = TensorScale(0.9137 * max(s.scale for s in scales), -7)
    xs = [random_int8(2, 8, 30, 30) for _ in scales]
    op = operator(OpKind.ADD, LoopNest(8, 8, 30, 30, h=30, w=30), 2)
    found = evaluate_operator(op, numbers_of(scales, after), xs)
    expected = quantised_by_onnx("Add", xs, scales, after, {})
    assert_close(found, expected, share=0.001)


def test_add__is_the_formula_in_exact_fractions():
    scales, after = [TensorScale(0.0371, -12), TensorScale(0.0113, 90)], TensorScale(0.0293, 4)
    a, b = (v.ravel() for v in np.meshgrid(np.arange(-128, 128, 5), np.arange(-128, 128, 3)))
    op = operator(OpKind.ADD, LoopNest(1, 1), 2)
    found = evaluate_operator(op, numbers_of(scales, after), [a.astype(np.int8), b.astype(np.int8)])
    step = Fraction(1, 2**23)  # 0.0371 / 0.0293 lies between 1 and 2
    factors = [round(Fraction(s.scale / after.scale) / step) * step for s in scales]
    for x, y, result in zip(a.tolist(), b.tolist(), found.tolist(), strict=True):
        real = (x + 12) * factors[0] + (y - 90) * factors[1]
        assert result == max(-128, min(127, floor(real + Fraction(1, 2)) + 4))


def test_concat__joins_channels_and_refuses_other_scales():
    scale = random_scale()
    parts = [random_int8(2, 3, 4, 4), random_int8(2, 5, 4, 4)]
    op = operator(OpKind.CONCAT, LoopNest(8, 8, 4, 4, h=4, w=4), 2)
    found = evaluate_operator(op, numbers_of([scale, scale], scale), parts)
    assert np.array_equal(found[:, :3], parts[0]) and np.array_equal(found[:, 3:], parts[1])
    features = [part.reshape(2, -1) for part in parts]
    assert evaluate_operator(op, numbers_of([scale, scale], scale), features).shape == (2, 128)
    with pytest.raises(ReferenceError, match="'x1' has another scale"):
        other = TensorScale(scale.scale * 2, scale.zero_point)
        evaluate_operator(op, numbers_of([scale, other], scale), parts)


def test_activation__refuses_a_change_of_scale():
    op = operator(OpKind.RELU, LoopNest(8, 8))
    with pytest.raises(ReferenceError, match="quantise both alike"):
        evaluate_operator(
            op, numbers_of([TensorScale(0.1, 0)], TensorScale(0.2, 0)), [random_int8(1, 8)]
        )
