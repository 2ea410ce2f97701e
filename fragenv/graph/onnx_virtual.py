"""What ONNX operators mean where graphs are mined only: those of attention, and moved data."""

from __future__ import annotations

from typing import cast

import numpy as np

from fragenv.graph.builder import Shape, Value
from fragenv.graph.onnx_float import HANDLERS as FLOAT_HANDLERS
from fragenv.graph.onnx_padding import HANDLERS as PADDING_HANDLERS
from fragenv.graph.onnx_quantised import HANDLERS as QUANTISED_HANDLERS
from fragenv.graph.onnx_scope import Call, Registry, Scope
from fragenv.graph.refused import RefusedError
from fragenv.graph.virtual import VirtualBuilder, frame_shape, moves_data

HANDLERS = Registry({**FLOAT_HANDLERS, **PADDING_HANDLERS, **QUANTISED_HANDLERS})


def _builder(scope: Scope) -> VirtualBuilder:
    return cast(VirtualBuilder, scope.builder)


def _batched(scope: Scope, name: str) -> Shape:
    """The shape of a value of the file, with its batch."""
    shape = scope.file.inputs.get(name) or scope.file.inferred.get(name)
    if shape is None:
        raise RefusedError(f"the shape of '{name}' is unknown; export with fixed sizes")
    return shape


def _result(scope: Scope, call: Call) -> Shape:
    return frame_shape(_batched(scope, call.out))


@HANDLERS.handles("Reshape", "Squeeze", "Unsqueeze", "Flatten")
def _reshape(scope: Scope, call: Call) -> Value:
    return scope.builder.reshape(scope.value(call.inputs[0]), _result(scope, call))


@HANDLERS.handles("Transpose")
def _transpose(scope: Scope, call: Call) -> Value:
    x, batched = scope.value(call.inputs[0]), _batched(scope, call.inputs[0])
    order = list(call.get("perm", range(len(batched) - 1, -1, -1)))
    if moves_data(batched, order):
        return _builder(scope).move(call.name, x, call.out, _result(scope, call))
    return scope.builder.reshape(x, _result(scope, call))


@HANDLERS.handles("Gather", "Slice")
def _part(scope: Scope, call: Call) -> Value:
    x = scope.value(call.inputs[0])
    if not all(scope.file.is_constant(name) for name in call.inputs[1:] if name):
        raise RefusedError("which elements it takes is computed from the input; make it constant")
    return _builder(scope).move(call.name, x, call.out, _result(scope, call))


@HANDLERS.handles("Split")
def _split(scope: Scope, call: Call) -> Value:
    x = scope.value(call.inputs[0])
    for name in call.node.output[1:]:
        shape = frame_shape(_batched(scope, name))
        scope.bind(name, _builder(scope).move(call.name, x, name, shape))
    return _builder(scope).move(call.name, x, call.out, _result(scope, call))


@HANDLERS.handles("MatMul")
def _matmul(scope: Scope, call: Call) -> Value:
    a, b = call.inputs
    if not scope.is_activation(a):
        raise RefusedError("the first factor is constant; transpose the product")
    if not scope.is_activation(b):
        return FLOAT_HANDLERS["", "MatMul"](scope, call)
    shape = _result(scope, call)
    return _builder(scope).matmul(call.name, scope.value(a), scope.value(b), call.out, shape)


@HANDLERS.handles("Mul", "Div")
def _scale(scope: Scope, call: Call) -> Value:
    """A number as a factor changes the scale of the integers, not the integers."""
    a, b = call.inputs
    if scope.is_activation(a) and scope.file.is_constant(b) and np.size(scope.file.array(b)) == 1:
        return scope.value(a)
    return FLOAT_HANDLERS["", call.node.op_type](scope, call)


@HANDLERS.handles("Softmax", "LogSoftmax")
def _softmax(scope: Scope, call: Call) -> Value:
    log = call.node.op_type == "LogSoftmax"
    x = scope.value(call.inputs[0])
    return scope.builder.softmax(call.name, x, call.out, call.get("axis", -1), log)


@HANDLERS.handles("LayerNormalization", "RMSNormalization")
def _norm(scope: Scope, call: Call) -> Value:
    return _builder(scope).norm(call.name, scope.value(call.inputs[0]), call.out)


@HANDLERS.handles("Gelu")
def _gelu(scope: Scope, call: Call) -> Value:
    return _builder(scope).gelu(call.name, scope.value(call.inputs[0]), call.out)
