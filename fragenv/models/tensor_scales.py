"""The scales and zero points of a quantised ONNX file's tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fragenv.errors import ModelError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_onnx import OnnxImport
from fragenv.graph.onnx_file import OnnxFile
from fragenv.graph.onnx_scope import ScaleNames
from fragenv.graph.operators import ACTIVATION_KINDS, OpKind

Array = npt.NDArray[Any]
#: the types of activations and weights
BYTES = (np.dtype(np.int8), np.dtype(np.uint8))
_KEEPS_SCALE = ACTIVATION_KINDS | {OpKind.MAXPOOL}


@dataclass(frozen=True, slots=True)
class TensorScale:
    """real = scale * (q - zero_point), with q and zero_point in int8."""

    scale: float
    zero_point: int


def tensor_scales(found: OnnxImport) -> dict[str, TensorScale]:
    """The scale of every tensor but a softmax's, as the file gives it or as an operator keeps it.

    Raises:
        ModelError: a tensor has no scale, or two.
    """
    graph, file = found.graph, found.scope.file
    scales: dict[str, TensorScale] = {}
    for tensor, notes in found.scope.scales.items():
        if tensor in graph.tensors:
            scales[tensor] = _one_scale(file, tensor, notes)
    for tensor in graph.inputs:
        kind = file.input_types.get(tensor)
        if tensor not in scales and kind in BYTES:
            scales[tensor] = TensorScale(1.0, _as_int8(0, kind))
    _spread(graph, scales)
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


def _spread(graph: DataflowGraph, scales: dict[str, TensorScale]) -> None:
    """Give tensors without a scale that of the operator which keeps it."""
    for op in reversed(graph.operators):  # an activation right after an operator absorbs its scale
        if op.kind in ACTIVATION_KINDS and op.output in scales:
            sole = len(graph.consumers[op.inputs[0]]) == 1 and op.inputs[0] not in graph.outputs
            if sole:
                scales.setdefault(op.inputs[0], scales[op.output])
    for op in graph.operators:
        if op.kind in _KEEPS_SCALE and op.inputs[0] in scales:
            scales.setdefault(op.output, scales[op.inputs[0]])


def _one_scale(file: OnnxFile, tensor: str, notes: list[ScaleNames]) -> TensorScale:
    found = {_tensor_scale(file, note) for note in notes if note.scale}
    integers = [note for note in notes if not note.scale]
    scale = next(iter(found), None)
    for note in integers:
        same = _integer_scale(file, note, 1.0 if scale is None else scale.scale)
        scale = scale or same
        found.add(same)
    if len(found) > 1:
        raise file.error(
            f"tensor '{tensor}' is quantised with several scales ({len(found)}); quantise it once",
            notes[-1].node,
        )
    assert scale is not None
    return scale


def _integer_scale(file: OnnxFile, note: ScaleNames, scale: float) -> TensorScale:
    """The scale of a tensor whose reader knows its zero point only."""
    zero = np.zeros((), _integer_type(file, note.node.input[0]))
    if note.zero_point:
        zero = _constant(file, note, note.zero_point)
    if zero.size != 1:
        raise file.error("activations have one zero point; quantise them per tensor", note.node)
    return TensorScale(scale, _as_int8(int(zero.item()), zero.dtype))


def _integer_type(file: OnnxFile, name: str) -> np.dtype[Any]:
    """The type of the integers called ``name``: the input's or that of a quantising node."""
    while name in file.producer:
        node = file.producer[name]
        if node.op_type == "QuantizeLinear":
            zero = node.input[2] if len(node.input) > 2 else ""
            return file.array(zero).dtype if zero else np.dtype(np.uint8)
        name = node.input[0]
    return file.input_types[name]


def _constant(file: OnnxFile, note: ScaleNames, name: str) -> Array:
    if not file.is_constant(name):
        raise file.error(f"scale '{name}' varies at run time; quantise statically", note.node)
    return file.array(name)


def _as_int8(value: int, kind: np.dtype[Any] | None) -> int:
    """A uint8 or int8 number as the chip stores it."""
    return value - 128 if kind == np.uint8 else value


def _tensor_scale(file: OnnxFile, note: ScaleNames) -> TensorScale:
    scale, zero = _constant(file, note, note.scale), np.zeros((), np.uint8)
    if note.zero_point:  # ONNX: without a zero point the type is uint8 and the zero point 0
        zero = _constant(file, note, note.zero_point)
    if scale.size != 1 or zero.size != 1:
        raise file.error("activations have one scale each; quantise them per tensor", note.node)
    if float(scale.item()) <= 0:
        raise file.error(f"scale {scale.item()} is not positive; quantise again", note.node)
    if zero.dtype not in BYTES:
        raise file.error(f"activations of type {zero.dtype} are not supported; use int8", note.node)
    return TensorScale(float(scale.item()), _as_int8(int(zero.item()), zero.dtype))
