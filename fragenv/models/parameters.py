"""The numbers of a quantised ONNX file: a scale for each tensor, integers for each MAC operator.

Everything is int8 on the chip: a tensor's real values are ``scale * (q - zero_point)`` with int8
``q``. Files with uint8 tensors are shifted by 128, which changes no real value. For a MAC operator
with input scale ``sx``, zero point ``zx`` and weight scale ``sw[k]``:

    acc[k] = bias[k] + sum (x - zx) * weight[k]        int32; padding has the value zx
    real   = sx * sw[k] * acc[k]
    y      = clamp(round(sx * sw[k] / sy * acc[k]) + zy, -128, 127)

so a bias is in units of ``sx * sw[k]`` (ONNX QLinearConv).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from fragenv.errors import ModelError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_onnx import OnnxImport, import_onnx
from fragenv.graph.onnx_file import OnnxFile, attributes
from fragenv.graph.onnx_scope import ScaleNames, WeightNames
from fragenv.graph.operators import ACTIVATION_KINDS, Operator, OpKind

Array = npt.NDArray[Any]

_KEEPS_SCALE = ACTIVATION_KINDS | {OpKind.MAXPOOL}


@dataclass(frozen=True, slots=True)
class TensorScale:
    """real = scale * (q - zero_point), with q and zero_point in int8."""

    scale: float
    zero_point: int


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
        path: a file in QDQ or QOperator form, symmetric int8 weights, int8 or uint8 activations.
        graph: the graph of that file.
        batch, dims: as given to ``from_onnx``.

    Raises:
        ModelError: the graph is another file's; a tensor has no scale or two; weights are float,
            asymmetric, or separate from a batch normalisation that is not folded in the file.
    """
    found = import_onnx(path, batch, dims)
    if found.graph.operators != graph.operators:
        raise ModelError(str(path), f"graph '{graph.name}' was not made from this file; import it")
    try:
        tensors = _tensor_scales(found)
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


def _tensor_scales(found: OnnxImport) -> dict[str, TensorScale]:
    graph, file = found.graph, found.scope.file
    scales: dict[str, TensorScale] = {}
    for tensor, notes in found.scope.scales.items():
        if tensor in graph.tensors:
            scales[tensor] = _one_scale(file, tensor, notes)
    for op in reversed(graph.operators):  # an activation right after an operator absorbs its scale
        if op.kind in ACTIVATION_KINDS and op.output in scales:
            sole = len(graph.consumers[op.inputs[0]]) == 1 and op.inputs[0] not in graph.outputs
            if sole:
                scales.setdefault(op.inputs[0], scales[op.output])
    for op in graph.operators:
        if op.kind in _KEEPS_SCALE and op.inputs[0] in scales:
            scales.setdefault(op.output, scales[op.inputs[0]])
    for tensor in graph.inputs:
        if tensor not in scales:
            raise file.error(f"input '{tensor}' has no scale; quantise the model's input")
    for op in graph.operators:
        if op.output not in scales and op.kind is not OpKind.SOFTMAX:
            raise ModelError(
                file.source,
                f"its result '{op.output}' has no scale; quantise the whole model",
                op.name,
                op.kind,
            )
    return scales


def _one_scale(file: OnnxFile, tensor: str, notes: list[ScaleNames]) -> TensorScale:
    found = {_tensor_scale(file, note) for note in notes}
    if len(found) > 1:
        raise file.error(
            f"tensor '{tensor}' is quantised with several scales ({len(found)}); quantise it once",
            notes[-1].node,
        )
    return found.pop()


def _tensor_scale(file: OnnxFile, note: ScaleNames) -> TensorScale:
    for name in filter(None, (note.scale, note.zero_point)):
        if not file.is_constant(name):
            raise file.error(f"scale '{name}' varies at run time; quantise statically", note.node)
    scale = file.array(note.scale)
    # ONNX: without a zero point the type is uint8 and the zero point 0
    zero = file.array(note.zero_point) if note.zero_point else np.zeros((), np.uint8)
    if scale.size != 1 or zero.size != 1:
        raise file.error("activations have one scale each; quantise them per tensor", note.node)
    if float(scale.item()) <= 0:
        raise file.error(f"scale {scale.item()} is not positive; quantise again", note.node)
    if zero.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
        raise file.error(f"activations of type {zero.dtype} are not supported; use int8", note.node)
    shift = 128 if zero.dtype == np.uint8 else 0
    return TensorScale(float(scale.item()), int(zero.item()) - shift)


def _mac_parameters(found: OnnxImport, op: Operator, x: TensorScale) -> MacParameters:
    file, names = found.scope.file, found.scope.weights.get(op.output)
    if names is None:
        raise ModelError(
            file.source,
            "a batch normalisation or addition after it is not folded into its weights; fold it "
            "before quantising (quantise_onnx does)",
            op.name,
            op.kind,
        )
    weight, scale, zero = _weight_integers(file, names)
    if names.transposed:
        weight, scale, zero = weight.T, scale.T, zero.T
    if weight.dtype == np.uint8:
        weight, zero = (weight.astype(np.int16) - 128).astype(np.int8), zero.astype(np.int64) - 128
    if weight.dtype != np.int8 or np.any(zero != 0):
        raise file.error(
            f"weights must be int8 with zero point 0, got {weight.dtype}; quantise symmetrically",
            names.node,
        )
    nest = op.nest
    shape = (nest.k, nest.c // nest.groups, nest.r, nest.s)
    scales = scale.astype(np.float64).reshape(nest.k, -1)
    if np.any(scales != scales[:, :1]) or np.any(scales <= 0):
        raise file.error("weights must have one positive scale per output channel", names.node)
    per_channel = scales[:, 0] * names.factor
    bias = _bias_integers(file, names, x.scale * per_channel)
    arrays = np.ascontiguousarray(weight.reshape(shape)), bias, per_channel
    for array in arrays:
        array.flags.writeable = False
    return MacParameters(*arrays)


def _weight_integers(file: OnnxFile, names: WeightNames) -> tuple[Array, Array, Array]:
    """Integers, scales and zero points of a weight, all of its stored shape."""
    if not names.scale:
        return _dequantised(file, names.weight, names)
    integers = file.array(names.weight)
    axis = 1 if names.transposed else 0
    scale = file.along(names.scale, integers.shape, axis)
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


def _bias_integers(
    file: OnnxFile, names: WeightNames, unit: npt.NDArray[np.float64]
) -> npt.NDArray[np.int32]:
    """The bias in units of ``unit`` (k,); as stored where the file uses these units."""
    if not names.bias:
        return np.zeros(unit.shape, np.int32)
    stored = file.array(names.bias)
    if names.scale:  # QOperator forms: int32 in these units by definition
        return stored.astype(np.int32).reshape(unit.shape)
    node = file.producer.get(names.bias)
    if node is not None and node.op_type == "DequantizeLinear":
        integers = file.array(node.input[0])
        scale, zero = file.scale_and_zero(node, integers.shape)
        same = np.allclose(scale, unit, rtol=1e-4, atol=0) and not np.any(zero)
        if integers.dtype == np.int32 and same:
            return integers.reshape(unit.shape).copy()
    rounded = np.rint(np.broadcast_to(stored, unit.shape) / unit)
    limit = np.iinfo(np.int32).max
    if np.any(np.abs(rounded) > limit):
        raise file.error("its bias exceeds int32; quantise with larger scales", names.node)
    return rounded.astype(np.int32)
