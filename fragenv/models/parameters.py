"""The numbers of a quantised ONNX file: a scale for each tensor, integers for each MAC operator.

Everything is int8 on the chip: a tensor's real values are ``scale * (q - zero_point)`` with int8
``q``. Files with uint8 tensors are shifted by 128, which changes no real value. For a MAC operator
with input scale ``sx``, zero point ``zx`` and weight scale ``sw[k]``:

    acc[k] = bias[k] + sum (x - zx) * weight[k]        int32; padding has the value zx
    real   = sx * sw[k] * acc[k]
    y      = clamp(round(sx * sw[k] / sy * acc[k]) + zy, -128, 127)

so a bias is in units of ``sx * sw[k]`` (ONNX QLinearConv). Integer operators (ConvInteger,
MatMulInteger) give acc itself; the constants that the file multiplies and adds to it afterwards
become scale and bias. Integers that the file gives no scale stand for themselves (scale 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from fragenv.errors import ModelError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_onnx import OnnxImport, import_onnx
from fragenv.graph.onnx_file import OnnxFile, attributes
from fragenv.graph.onnx_scaling import affine
from fragenv.graph.onnx_scope import Scaling, WeightNames
from fragenv.graph.operators import Operator
from fragenv.models.tensor_scales import BYTES, TensorScale, tensor_scales

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]

__all__ = ["MacParameters", "Quantisation", "TensorScale", "load_parameters"]


@dataclass(frozen=True, slots=True, eq=False)
class MacParameters:
    """Integers of a convolution or matrix product; read-only arrays."""

    weight: npt.NDArray[np.int8]  # (k, c/groups, r, s); inputs of a GEMM in (C, H, W) order
    bias: npt.NDArray[np.int32]  # (k,), in units of input scale * weight scale
    scale: npt.NDArray[np.float64]  # (k,): real weight = scale[k] * weight[k]


@dataclass(frozen=True, slots=True, eq=False)
class Quantisation:
    """All numbers of a quantised graph.

    ``tensors`` has every tensor of the graph but the result of a softmax, which the host computes
    in floating point. The tensor between an operator and the activation that follows it has the
    activation's scale where the file gives it none, so that the activation is a clamp: relu is
    max(q, zero_point). ``macs`` is keyed by operator name.
    """

    tensors: Mapping[str, TensorScale]
    macs: Mapping[str, MacParameters]


def load_parameters(
    path: str | Path,
    graph: DataflowGraph,
    batch: int = 1,
    dims: Mapping[str, int] | None = None,
) -> Quantisation:
    """The numbers of the quantised file from which ``from_onnx`` made ``graph``.

    Args:
        path: a file in QDQ or QOperator form, int8 or uint8 activations; weights int8 or uint8,
            whose difference to their zero point is int8.
        graph: the graph of that file.
        batch, dims: as given to ``from_onnx``.

    Raises:
        ModelError: the graph is another file's; a tensor has no scale or two; weights are float,
            asymmetric, or separate from a batch normalisation that is not folded in the file.
    """
    found = import_onnx(path, batch, dims)
    if found.graph.operators != graph.operators:
        why = f"graph '{graph.name}' was not made from this file; schedule the file itself"
        raise ModelError(str(path), f"{why} (train.py --env ModelChip-v0 --model {path})")
    try:
        tensors = tensor_scales(found)
        macs = {
            op.name: _mac_parameters(found, op, tensors[op.inputs[0]])
            for op in graph.operators
            if op.is_mac
        }
    except (ValueError, LookupError, TypeError) as error:
        raise ModelError(
            str(path), f"its scales or weights are malformed ({error}); quantise it again"
        ) from error
    return Quantisation(MappingProxyType(tensors), MappingProxyType(macs))


def _mac_parameters(found: OnnxImport, op: Operator, x: TensorScale) -> MacParameters:
    file, (names, scalings) = found.scope.file, _sources(found, op)
    weight, scale, zero = _weight_integers(file, names)
    if names.transposed:
        weight, scale, zero = weight.T, scale.T, zero.T
    centred = weight.astype(np.int64) - zero.astype(np.int64)
    if weight.dtype not in BYTES or centred.min() < -128 or centred.max() > 127:
        raise file.error(
            f"weights of type {weight.dtype} less their zero point reach from {centred.min()} to "
            f"{centred.max()}, which is not int8; quantise symmetrically",
            names.node,
        )
    nest = op.nest
    shape = (nest.k, nest.c // nest.groups, nest.r, nest.s)
    scales = scale.astype(np.float64).reshape(nest.k, -1)
    per_channel = scales[:, 0] * names.factor / (x.scale if names.integers else 1.0)
    bias = _bias_integers(file, names, x.scale * per_channel)
    for scaling in scalings:
        factor, addend = affine(file, scaling.node, per_channel.shape)
        per_channel = per_channel * factor
        bias = _added(file, bias, addend / (x.scale * per_channel), scaling.node)
    if np.any(scales != scales[:, :1]) or np.any(per_channel <= 0):
        raise file.error("weights must have one positive scale per output channel", names.node)
    int8 = np.ascontiguousarray(centred.reshape(shape).astype(np.int8))
    arrays = int8, bias, per_channel
    for array in arrays:
        array.flags.writeable = False
    return MacParameters(*arrays)


def _sources(found: OnnxImport, op: Operator) -> tuple[WeightNames, list[Scaling]]:
    """Where the numbers of ``op`` are: its weights, then the scalings folded into it.

    Raises:
        ModelError: a scaling stands alone, or the file rounds before it.
    """
    scope, tensor = found.scope, op.output
    scalings: list[Scaling] = []
    while tensor not in scope.weights:
        scaling = scope.scalings[tensor]
        if scaling.source in (*op.inputs, *scope.scales):
            raise ModelError(
                scope.file.source,
                "a batch normalisation or addition after it is not folded into its weights; fold "
                "it before quantising (quantise_onnx does)",
                op.name,
                op.kind,
            )
        scalings.insert(0, scaling)
        tensor = scaling.source
    return scope.weights[tensor], scalings


def _added(file: OnnxFile, bias: Int32, more: Float64, node: onnx.NodeProto) -> Int32:
    """``bias`` and the nearest integers to ``more``."""
    total = bias + np.rint(more)
    if np.any(np.abs(total) > np.iinfo(np.int32).max):
        raise file.error("its bias exceeds int32; quantise with larger scales", node)
    return total.astype(np.int32)


def _weight_integers(file: OnnxFile, names: WeightNames) -> tuple[Array, Array, Array]:
    """Integers, scales and zero points of a weight, all of its stored shape (a GEMM's: 2-D)."""
    if not names.scale and not names.integers:
        return _dequantised(file, names.weight, names)
    integers = file.array(names.weight)
    axis = integers.ndim - 1 if names.transposed else 0
    ones = np.ones(integers.shape)
    scale = file.along(names.scale, integers.shape, axis) if names.scale else ones
    return integers, scale, file.along(names.zero_point, integers.shape, axis)


def _dequantised(file: OnnxFile, name: str, names: WeightNames) -> tuple[Array, Array, Array]:
    node = file.producer.get(name)
    match node.op_type if node is not None else "":
        case "DequantizeLinear":
            assert node is not None
            integers = file.array(node.input[0])
            return integers, *file.scale_and_zero(node, integers.shape)
        case "Identity" | "Transpose":
            assert node is not None
            order = attributes(node).get("perm")
            integers, scale, zero = _dequantised(file, node.input[0], names)
            if node.op_type == "Identity":
                return integers, scale, zero
            return integers.transpose(order), scale.transpose(order), zero.transpose(order)
    raise file.error(f"weight '{name}' is not quantised; quantise the model first", names.node)


def _bias_integers(file: OnnxFile, names: WeightNames, unit: Float64) -> Int32:
    """The bias in units of ``unit`` (k,); as stored where the file uses these units."""
    if not names.bias:
        return np.zeros(unit.shape, np.int32)
    stored = file.array(names.bias)
    if names.scale:  # QOperator forms: int32 in these units by definition
        return np.broadcast_to(stored.astype(np.int32).ravel(), unit.shape).copy()
    node = file.producer.get(names.bias)
    if node is not None and node.op_type == "DequantizeLinear":
        integers = file.array(node.input[0])
        scale, zero = file.scale_and_zero(node, integers.shape)
        real = names.bias_factor * np.broadcast_to(scale.ravel(), unit.shape)
        same = np.allclose(real, unit, rtol=1e-4, atol=0) and not np.any(zero)
        if integers.dtype == np.int32 and same:
            return np.broadcast_to(integers.ravel(), unit.shape).copy()
    zeros = np.zeros(unit.shape, np.int32)
    return _added(file, zeros, names.bias_factor * stored.ravel() / unit, names.node)
