"""The integer reference: what the chip must compute, byte for byte, by other means.

Accumulators come from ONNX Runtime's integer operators (ConvInteger, MatMulInteger); everything
after that is exact integer arithmetic of numpy. It shares no code with the emitter. Per operator,
with scales s, zero points z, and operators applied one after the other to whole int8 tensors:

* conv, gemm:  y = clamp(Q(acc + bias; sx * sw / sy) + zy),  acc = sum (x - zx) * w
* maxpool:     y = clamp(Q(max x - zx; sx / sy) + zy), padding never wins
* avgpool:     y = clamp(Q(sum x - n * zx; sx / (sy * n)) + zy) over the n elements that count:
               padding is left out, or reads as zx where it counts
* add:         y = clamp(R((a - za) * Ma + (b - zb) * Mb; e) + zy), where Ma / 2**e and Mb / 2**e
               are sa / sy and sb / sy and the larger of Ma and Mb has 24 bits
* concat:      the parts as they are: their scales equal the result's
* relu, clip:  y = max(x, zx); y = min(max(x, q(min)), q(max))
* lrn:         see ``fragenv.verify.response``

R(v; e) = floor(v / 2**e + 1/2);  Q(v; f) = R(v * m; e), where m / 2**e is f with m rounded to 24
bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import Operator, OpKind
from fragenv.models.parameters import MacParameters, Quantisation, TensorScale
from fragenv.verify.integers import (
    Int8,
    ReferenceError,
    fixed_point,
    integer_operator,
    quantise,
    requantise,
    saturate,
    shift_rounded,
)
from fragenv.verify.response import normalise


def evaluate(
    graph: DataflowGraph, numbers: Quantisation, inputs: Mapping[str, Int8]
) -> dict[str, Int8]:
    """All tensors of the graph up to what the host computes; inputs (n, *shape), channels first.

    Raises:
        ReferenceError: an operator has no integer reference.
    """
    tensors: dict[str, Int8] = dict(inputs)
    for op in graph.chip_operators:
        result = evaluate_operator(op, numbers, [tensors[name] for name in op.inputs])
        tensors[op.output] = result.reshape(len(result), *graph.tensors[op.output].shape)
    return tensors


def evaluate_operator(op: Operator, numbers: Quantisation, inputs: Sequence[Int8]) -> Int8:
    """One operator on its inputs (n, *shape).

    Raises:
        ReferenceError: the operator has no integer reference.
    """
    x = inputs[0]
    before = [numbers.tensors[name] for name in op.inputs]
    after = numbers.tensors[op.output]
    match op.kind:
        case OpKind.CONV | OpKind.GEMM:
            return _mac(op, x, numbers.macs[op.name], before[0], after)
        case OpKind.MAXPOOL:
            best = _windows(op, x, -128).max(axis=(-2, -1)).astype(np.int64)
            factor = np.array(before[0].scale / after.scale)
            return requantise(best - before[0].zero_point, factor, after.zero_point)
        case OpKind.AVGPOOL | OpKind.GLOBALAVG:
            return _mean(op, x, before[0], after)
        case OpKind.ADD:
            return _add(inputs, before, after)
        case OpKind.CONCAT:
            return _concat(op, inputs, before, after)
        case OpKind.RELU | OpKind.CLIP:
            return _activation(op, x, before[0], after)
        case OpKind.LRN:
            return normalise(op, x, before[0], after)
    raise ReferenceError(f"node '{op.name}' ({op.kind}) has no integer reference")


def _mac(
    op: Operator, x: Int8, mac: MacParameters, before: TensorScale, after: TensorScale
) -> Int8:
    nest = op.nest
    if op.kind is OpKind.GEMM:
        # the features of a row are last; a tensor of an image is one row
        rows = np.ascontiguousarray(x.reshape(len(x) * nest.p, nest.c))
        weight = np.ascontiguousarray(mac.weight.reshape(nest.k, nest.c).T)
        sums = integer_operator("MatMulInteger", rows, weight, before.zero_point, {})
        per_channel: tuple[int, ...] = (nest.k,)
    else:
        attributes: dict[str, Any] = {
            "strides": list(nest.stride),
            "pads": list(nest.padding),
            "dilations": list(nest.dilation),
            "group": nest.groups,
        }
        image = np.ascontiguousarray(x.reshape(len(x), nest.c, nest.h, nest.w))
        sums = integer_operator("ConvInteger", image, mac.weight, before.zero_point, attributes)
        per_channel = (nest.k, 1, 1)
    bias = mac.bias.astype(np.int64).reshape(per_channel)
    factor = (before.scale * mac.scale / after.scale).reshape(per_channel)
    return requantise(sums + bias, factor, after.zero_point).reshape(len(x), -1)


def _windows(op: Operator, x: npt.NDArray[Any], padding: int) -> npt.NDArray[Any]:
    """(n, channels, p, q, r, s): every window of a pool, with ``padding`` around the input."""
    nest = op.nest
    top, left, bottom, right = nest.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=padding)
    extent = [(k - 1) * d + 1 for k, d in zip((nest.r, nest.s), nest.dilation, strict=True)]
    windows = sliding_window_view(padded, extent, axis=(2, 3))
    windows = windows[:, :, :: nest.stride[0], :: nest.stride[1]]
    return windows[:, :, : nest.p, : nest.q, :: nest.dilation[0], :: nest.dilation[1]]


def _mean(op: Operator, x: Int8, before: TensorScale, after: TensorScale) -> Int8:
    sums = _windows(op, x, before.zero_point).sum(axis=(-2, -1), dtype=np.int64)
    inside = 1 if op.attribute("count_include_pad") else 0
    ones = np.ones((1, 1, op.nest.h, op.nest.w), np.int64)
    counts = _windows(op, ones, inside).sum(axis=(-2, -1))  # (1, 1, p, q)
    if np.any(counts == 0):
        raise ReferenceError(
            f"node '{op.name}' ({op.kind}): a window lies in the padding alone; pad less"
        )
    # padding adds zx to a sum, and so nothing after the subtraction
    centred = sums - op.nest.r * op.nest.s * before.zero_point
    return requantise(centred, before.scale / (after.scale * counts), after.zero_point)


def _add(inputs: Sequence[Int8], before: Sequence[TensorScale], after: TensorScale) -> Int8:
    factors = [scale.scale / after.scale for scale in before]
    _, shift = fixed_point(np.array(max(factors)))
    sums = np.zeros(inputs[0].shape, np.int64)
    for x, scale, factor in zip(inputs, before, factors, strict=True):
        multiplier = np.rint(np.ldexp(factor, shift)).astype(np.int64)
        sums += (x.astype(np.int64) - scale.zero_point) * multiplier
    return saturate(shift_rounded(sums, shift) + after.zero_point)


def _concat(
    op: Operator, inputs: Sequence[Int8], before: Sequence[TensorScale], after: TensorScale
) -> Int8:
    for name, scale in zip(op.inputs, before, strict=True):
        if scale != after:
            raise ReferenceError(
                f"node '{op.name}' ({op.kind}): its part '{name}' has another scale than its "
                "result; quantise all parts alike"
            )
    # images are joined at their channels, rows of features at the features
    return np.concatenate(inputs, axis=1 if inputs[0].ndim == 4 else -1)


def _activation(op: Operator, x: Int8, before: TensorScale, after: TensorScale) -> Int8:
    if before != after:
        raise ReferenceError(
            f"node '{op.name}' ({op.kind}): its input has another scale than its output; "
            "quantise both alike"
        )
    if op.kind is OpKind.RELU:
        return np.maximum(x, np.int8(before.zero_point))
    low, high = op.attribute("min", float("-inf")), op.attribute("max", float("inf"))
    if isfinite(low):
        x = np.maximum(x, quantise(np.array(low, np.float32), before))
    if isfinite(high):
        x = np.minimum(x, quantise(np.array(high, np.float32), before))
    return x
