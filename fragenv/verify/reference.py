"""The integer reference: what the chip must compute, byte for byte, by other means.

Accumulators come from ONNX Runtime's integer operators (ConvInteger, MatMulInteger); everything
after that is exact integer arithmetic of numpy. It shares no code with the emitter. Per operator,
with scales s, zero points z, and operators applied one after the other to whole int8 tensors:

* conv, gemm:  y = clamp(Q(acc + bias; sx * sw / sy) + zy),  acc = sum (x - zx) * w
* maxpool:     y = clamp(Q(max x - zx; sx / sy) + zy), padding never wins
* avgpool:     y = clamp(Q(sum x - n * zx; sx / (sy * n)) + zy), padding reads as zx where it counts
* relu, clip:  y = max(x, zx); y = min(max(x, q(min)), q(max))

Q(v; f) = floor(v * m / 2**e + 1/2), where m / 2**e is f with m rounded to 24 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, log2
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper

from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import Operator, OpKind
from fragenv.models.parameters import MacParameters, Quantisation, TensorScale

Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]


class ReferenceError(FragenvError):
    """The reference has no integer arithmetic for an operator."""


def quantise(values: npt.NDArray[np.float32], scale: TensorScale) -> Int8:
    """Real numbers to int8: round half to even, as ONNX's QuantizeLinear."""
    integers = np.rint(values.astype(np.float64) / scale.scale) + scale.zero_point
    result: Int8 = np.clip(integers, -128, 127).astype(np.int8)
    return result


def evaluate(
    graph: DataflowGraph, numbers: Quantisation, inputs: Mapping[str, Int8]
) -> dict[str, Int8]:
    """All tensors of the graph up to what the host computes; inputs (n, *shape), channels first.

    Raises:
        ReferenceError: an operator has no integer reference.
    """
    tensors: dict[str, Int8] = dict(inputs)
    for op in graph.chip_operators:
        x, scales = tensors[op.inputs[0]], numbers.tensors
        before, after = scales[op.inputs[0]], scales[op.output]
        if op.is_mac:
            result = _mac(op, x, numbers.macs[op.name], before, after)
        elif op.kind is OpKind.MAXPOOL:
            best = _windows(op, x, -128).max(axis=(-2, -1)).astype(np.int64)
            factor = np.array(before.scale / after.scale)
            result = _requantise(best - before.zero_point, factor, after.zero_point)
        elif op.kind in (OpKind.AVGPOOL, OpKind.GLOBALAVG):
            result = _mean(op, x, before, after)
        elif op.kind in (OpKind.RELU, OpKind.CLIP):
            result = _activation(op, x, before, after)
        else:
            raise ReferenceError(f"node '{op.name}' ({op.kind}) has no integer reference yet")
        tensors[op.output] = result.reshape(len(x), *graph.tensors[op.output].shape)
    return tensors


def _requantise(sums: Int64, factor: npt.NDArray[np.float64], zero: int) -> Int8:
    """clamp(Q(sums; factor) + zero); factor has the shape of one sum or broadcasts to the sums."""
    exponent = 23 - np.floor(np.log2(factor)).astype(np.int64)
    exponent -= factor * 2.0**exponent >= 2**24  # where log2 rounded down past a power of two
    exponent += factor * 2.0**exponent < 2**23
    mantissa = np.rint(factor * 2.0**exponent).astype(np.int64)
    carry = mantissa == 2**24
    mantissa, exponent = np.where(carry, 2**23, mantissa), np.where(carry, exponent - 1, exponent)
    doubled = ((sums * mantissa) >> (exponent - 1)) + 1 if np.all(exponent > 0) else None
    if doubled is None:
        raise ReferenceError(
            f"scale ratio {factor.max()} (2**{log2(float(factor.max()))}) is too large"
        )
    result: Int8 = np.clip((doubled >> 1) + zero, -128, 127).astype(np.int8)
    return result


def _mac(
    op: Operator, x: Int8, mac: MacParameters, before: TensorScale, after: TensorScale
) -> Int8:
    zero = np.array(before.zero_point, np.int8)
    if op.kind is OpKind.GEMM:
        flat = np.ascontiguousarray(x.reshape(len(x), -1))
        weight = np.ascontiguousarray(mac.weight.reshape(len(mac.weight), -1).T)
        acc = _run_onnx("MatMulInteger", [flat, weight, zero], {})[:, :, None, None]
    else:
        top, left, bottom, right = op.nest.padding
        attributes = {
            "strides": list(op.nest.stride),
            "pads": [top, left, bottom, right],
            "dilations": list(op.nest.dilation),
            "group": op.nest.groups,
        }
        acc = _run_onnx("ConvInteger", [np.ascontiguousarray(x), mac.weight, zero], attributes)
    sums = acc.astype(np.int64) + mac.bias.astype(np.int64)[:, None, None]
    factor = (before.scale * mac.scale / after.scale)[:, None, None]
    return _requantise(sums, factor, after.zero_point)


def _run_onnx(
    kind: str, inputs: list[npt.NDArray[Any]], attributes: dict[str, Any]
) -> npt.NDArray[np.int32]:
    """One integer operator in ONNX Runtime: (activations, weights, zero point) -> int32."""
    import onnxruntime

    # ONNX Runtime has these operators for uint8 activations: shift both by 128
    x, weight, zero = inputs
    shifted = (x.astype(np.int16) + 128).astype(np.uint8)
    shifted_zero = np.array(int(zero) + 128, np.uint8)
    names = ["x", "w", "z"]
    node = helper.make_node(kind, names, ["y"], **attributes)
    infos = [
        helper.make_tensor_value_info("x", TensorProto.UINT8, shifted.shape),
        helper.make_tensor_value_info("w", TensorProto.INT8, weight.shape),
        helper.make_tensor_value_info("z", TensorProto.UINT8, []),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.INT32, None)
    graph = helper.make_graph([node], kind, infos, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    result: npt.NDArray[np.int32] = session.run(
        None, {"x": shifted, "w": weight, "z": shifted_zero}
    )[0]
    return result


def _windows(op: Operator, x: Int8, padding: int) -> npt.NDArray[np.int8]:
    """(n, channels, p, q, r, s): every window of a pool, with ``padding`` around the input."""
    nest = op.nest
    top, left, bottom, right = nest.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=padding)
    extent = [(k - 1) * d + 1 for k, d in zip((nest.r, nest.s), nest.dilation, strict=True)]
    windows = sliding_window_view(padded, extent, axis=(2, 3))
    windows = windows[:, :, :: nest.stride[0], :: nest.stride[1]]
    return windows[:, :, : nest.p, : nest.q, :: nest.dilation[0], :: nest.dilation[1]]


def _mean(op: Operator, x: Int8, before: TensorScale, after: TensorScale) -> Int8:
    nest = op.nest
    if any(nest.padding) and not op.attribute("count_include_pad"):
        raise ReferenceError(
            f"node '{op.name}' ({op.kind}): a mean without padding has no reference yet"
        )
    count = nest.r * nest.s
    sums = _windows(op, x, before.zero_point).astype(np.int64).sum(axis=(-2, -1))
    factor = np.array(before.scale / (after.scale * count))
    return _requantise(sums - count * before.zero_point, factor, after.zero_point)


def _activation(op: Operator, x: Int8, before: TensorScale, after: TensorScale) -> Int8:
    if before != after:
        raise ReferenceError(
            f"node '{op.name}' ({op.kind}): its input has another scale than its output"
        )
    if op.kind is OpKind.RELU:
        return np.maximum(x, np.int8(before.zero_point))
    result = x.astype(np.int64)
    low, high = op.attribute("min", float("-inf")), op.attribute("max", float("inf"))
    if isfinite(low):
        result = np.maximum(result, int(quantise(np.array(low, np.float32), before)))
    if isfinite(high):
        result = np.minimum(result, int(quantise(np.array(high, np.float32), before)))
    return result.astype(np.int8)
