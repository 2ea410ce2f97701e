"""Does the chip's int8 result say what the node test expects?

Integer tests are compared exactly. The chip rounds halves up where ONNX rounds them to even, so a
difference of one is allowed where, in exact arithmetic, the value lies half-way.

Float tests are compared within the error that quantisation can cause, element by element:

* half a step of the output, and another half where the result is the least or largest int8;
* half a step of each input times the operator's slope: for a product, the sum of all |w|;
* half a step of each weight times |x|, summed in the same way, and half a step of the bias.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from equivalents import INTEGER_SUMS, QLINEAR
from node_tests import Array
from on_chip import OnChip
from onnx import helper
from onnx.reference import ReferenceEvaluator

_MACS = frozenset({"Conv", "Gemm", "MatMul"})
#: of the largest result: float32 rounds, and so do the 24-bit multipliers and the tables of LRN
_ARITHMETIC = 2.0**-12


def assert_conforms(chip: OnChip, result: Array) -> None:
    """``result``: int8, (frames, *shape) as the graph's output."""
    case = chip.case
    shape = chip.graph.tensors[chip.output].shape
    if not case.is_view:
        assert _without_ones(shape) == _without_ones(case.expected.shape[1:])
    found = result.reshape(case.expected.shape)
    if case.expected.dtype.kind == "f":
        _assert_near(chip, found)
    elif case.operator in INTEGER_SUMS:
        sums = case.expected.astype(np.int64)
        assert np.array_equal(found, _requantised(chip, sums)[0])
    else:
        offset = 128 if case.expected.dtype == np.uint8 else 0
        expected = case.expected.astype(np.int16) - offset
        if case.operator not in QLINEAR:
            assert np.array_equal(found, expected)
            return
        exact, ties = _requantised(chip, _sums(chip))
        assert np.array_equal(found, exact)
        assert np.array_equal(found[~ties], expected[~ties])
        assert np.abs(found.astype(np.int16) - expected).max() <= 1


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


# -- integers --------------------------------------------------------------------------------------


def _requantised(chip: OnChip, sums: Array) -> tuple[Array, Array]:
    """floor(sum * factor + 1/2) + zero as int8 by rational arithmetic, and where it is a tie."""
    case = chip.case
    if case.operator in INTEGER_SUMS:
        names, zero_name = ("factor", "step"), "zero"
        numbers = [case.constants[name] for name in names]
        ratio = np.asarray(_exact(numbers[0]) / _exact(numbers[1]))
    else:
        x_scale, w_scale, y_scale = (case.constants[case.node.input[i]] for i in (1, 4, 6))
        shape = (-1, 1, 1) if case.operator == "QLinearConv" else (-1,)
        ratio = np.asarray(_exact(x_scale) * _exact(w_scale).reshape(shape) / _exact(y_scale))
        zero_name = case.node.input[7]
    stored = case.constants[zero_name]
    zero = int(stored.item()) - (128 if stored.dtype == np.uint8 else 0)
    real = np.vectorize(Fraction)(sums) * ratio
    rounded = np.vectorize(lambda v: (v + Fraction(1, 2)).__floor__(), otypes=[np.int64])(real)
    ties = np.vectorize(lambda v: (v * 2).denominator == 1 and v.denominator == 2)(real)
    return np.clip(rounded + zero, -128, 127).astype(np.int8), ties


def _exact(values: Array) -> Array:
    """Floats as fractions."""
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(values)


def _sums(chip: OnChip) -> Array:
    """The accumulators of a quantised product, by ONNX's own reference of the integer operator."""
    case, names = chip.case, chip.case.node.input
    kind = "ConvInteger" if case.operator == "QLinearConv" else "MatMulInteger"
    (x,) = case.data.values()
    values = [x, *(case.constants[names[i]] for i in (3, 2, 5))]
    # the reference wants zero points that are scalars or one per channel, and one type each
    values[2] = values[2].reshape(())
    return np.asarray(_run(kind, values, case.node), np.int64)


def _run(kind: str, values: list[Array], like: onnx.NodeProto) -> Any:
    """One operator with the attributes of ``like`` in ONNX's reference implementation."""
    names = [f"i{index}" for index in range(len(values))]
    node = helper.make_node(kind, names, ["o"])
    node.attribute.extend(like.attribute)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for name, v in zip(names, values, strict=True)
    ]
    output = helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], kind, infos, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return ReferenceEvaluator(model).run(None, dict(zip(names, values, strict=True)))[0]


# -- floats ----------------------------------------------------------------------------------------


def _assert_near(chip: OnChip, found: Array) -> None:
    scale = chip.numbers.tensors[chip.output]
    real = scale.scale * (found.astype(np.float64) - scale.zero_point)
    ends = (found == -128) | (found == 127)
    bound = scale.scale / 2 * (1 + ends) + _propagated(chip)
    bound += _ARITHMETIC * float(np.abs(chip.case.expected).max())
    error = np.abs(real - chip.case.expected)
    worst = np.unravel_index(np.argmax(error - bound), error.shape)
    assert np.all(error <= bound), f"error {error[worst]} beyond {bound[worst]} at {worst}"
    spread = float(np.ptp(chip.case.expected))
    assert not spread or bound.min() < spread / 4, "the bound says nothing"


def _propagated(chip: OnChip) -> Array:
    """What the steps of inputs and weights can do to each element of the result."""
    case = chip.case
    steps = [chip.numbers.tensors[name].scale for name in case.data]
    if case.operator in _MACS:
        return _product_error(chip, steps[0])
    if case.operator == "BatchNormalization":
        return _normalisation_error(chip, steps[0])
    slope = _response_slope(chip) if case.operator == "LRN" else 1.0
    if case.operator in ("QuantizeLinear", "DequantizeLinear"):
        slope = 0.0  # the expected result is on the chip's grid itself
    most = sum(steps) if case.operator in ("Add", "Sum") else max(steps)
    return np.asarray(slope * most / 2)


def _product_error(chip: OnChip, step: float) -> Array:
    case, node = chip.case, chip.case.node
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    (mac,) = chip.numbers.macs.values()
    ((_, x),) = case.data.items()
    weight = case.constants[node.input[1]]
    by_outputs = case.operator == "Conv" or bool(given.get("transB", 0))
    form = [1] * weight.ndim
    form[0 if by_outputs else -1] = -1
    half = (mac.scale / given.get("alpha", 1.0) / 2).reshape(form) * np.ones(weight.shape)
    dx = np.full(x.shape, step / 2)

    def run(left: Array, right: Array) -> Array:
        values = [np.abs(v).astype(np.float32) for v in (left, right)]
        return np.asarray(_run(case.operator, values, node), np.float64)

    channels = (-1, 1, 1) if case.operator == "Conv" else (-1,)
    bias = (step * mac.scale / 2).reshape(channels) if len(node.input) > 2 else 0.0
    return run(dx, weight) + run(x, half) + run(dx, half) + bias


def _normalisation_error(chip: OnChip, step: float) -> Array:
    """Of y = a*x + b, where a is the weight of the unit convolution before it."""
    (mac,) = chip.numbers.macs.values()
    ((_, x),) = chip.case.data.items()
    scale = mac.scale.reshape(-1, 1, 1)
    largest = 127 * scale  # of a channel's only weight
    return np.asarray((largest * step + np.abs(x) * scale + step * scale / 2 + step * scale) / 2)


def _response_slope(chip: OnChip) -> float:
    """At least the slope of x / (k + a/n * sum x*x)**b, summed over the window."""
    given = {a.name: helper.get_attribute_value(a) for a in chip.case.node.attribute}
    alpha, beta, k = given.get("alpha", 1e-4), given.get("beta", 0.75), given.get("bias", 1.0)
    ((_, x),) = chip.case.data.items()
    largest = float(np.abs(x).max())
    return float(k**-beta * (1 + 2 * beta * alpha * largest**2 / k))
