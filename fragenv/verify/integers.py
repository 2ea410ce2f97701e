"""Exact integer arithmetic that every operator of the reference shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from fragenv.errors import FragenvError
from fragenv.models.parameters import TensorScale

Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

MULTIPLIER_BITS = 24


class ReferenceError(FragenvError):
    """The reference has no integer arithmetic for an operator."""


def quantise(values: npt.NDArray[np.float32], scale: TensorScale) -> Int8:
    """Real numbers to int8: round half to even, as ONNX's QuantizeLinear."""
    integers = np.rint(values.astype(np.float64) / scale.scale) + scale.zero_point
    return saturate(integers)


def dequantise(values: Int8, scale: TensorScale) -> npt.NDArray[np.float32]:
    """The real numbers of int8 values, as ONNX's DequantizeLinear."""
    centred = values.astype(np.float32) - np.float32(scale.zero_point)
    return centred * np.float32(scale.scale)


def saturate(values: npt.NDArray[Any]) -> Int8:
    """The nearest int8 of each value."""
    result: Int8 = np.clip(values, -128, 127).astype(np.int8)
    return result


def fixed_point(factor: Float64) -> tuple[Int64, Int64]:
    """(multiplier, shift), each of the shape of ``factor``: factor ~ multiplier / 2**shift.

    The multiplier is rounded to 24 bits: 2**23 <= multiplier < 2**24.

    Raises:
        ReferenceError: a factor is not positive, or so large that its shift is not.
    """
    if not np.all(factor > 0):
        raise ReferenceError(f"the scale ratio {np.min(factor)} is not positive; quantise again")
    mantissa, exponent = np.frexp(factor)  # mantissa in [1/2, 1)
    multiplier = np.rint(mantissa * 2**MULTIPLIER_BITS).astype(np.int64)
    shift = MULTIPLIER_BITS - exponent.astype(np.int64)
    carry = multiplier == 2**MULTIPLIER_BITS
    multiplier = np.where(carry, multiplier // 2, multiplier)
    shift = np.where(carry, shift - 1, shift)
    if np.any(shift < 1):
        raise ReferenceError(f"the scale ratio {np.max(factor)} is too large; quantise again")
    return multiplier, shift


def shift_rounded(values: Int64, shift: Int64) -> Int64:
    """floor(values / 2**shift + 1/2) for |values| < 2**61 and shifts of 0 or more."""
    shift = np.minimum(shift, 62)  # from there on the result is 0
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    result: Int64 = (values + half) >> shift
    return result


def requantise(sums: Int64, factor: Float64, zero_point: int) -> Int8:
    """clamp(floor(sums * m / 2**e + 1/2) + zero_point), m / 2**e = ``factor`` to 24 bits.

    ``factor`` broadcasts against ``sums``, which fit into int32.
    """
    multiplier, shift = fixed_point(factor)
    return saturate(shift_rounded(sums * multiplier, shift) + zero_point)


def integer_operator(
    kind: str, x: Int8, weight: Int8, zero_point: int, attributes: dict[str, Any]
) -> Int64:
    """ONNX Runtime's ``kind`` (ConvInteger, MatMulInteger): sums over (x - zero_point) * weight.

    Both operands go in as uint8, shifted by 128 like their zero points: on processors without
    VNNI, products of uint8 and int8 saturate in ONNX Runtime.
    """
    import onnxruntime

    operands = {
        "x": (x.astype(np.int16) + 128).astype(np.uint8),
        "w": (weight.astype(np.int16) + 128).astype(np.uint8),
        "zx": np.array(zero_point + 128, np.uint8),
        "zw": np.array(128, np.uint8),
    }
    infos = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, value.shape)
        for name, value in operands.items()
    ]
    output = helper.make_tensor_value_info("y", TensorProto.INT32, None)
    node = helper.make_node(kind, list(operands), ["y"], **attributes)
    graph = helper.make_graph([node], kind, infos, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    sums: npt.NDArray[np.int32] = session.run(None, operands)[0]
    return sums.astype(np.int64)
