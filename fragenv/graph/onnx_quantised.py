"""Quantised ONNX operators: QDQ pairs and the QOperator forms.

QuantizeLinear and DequantizeLinear make no operator: on the chip every tensor is int8, and the
scales are noted for ``fragenv.models.parameters``.
"""

from __future__ import annotations

from fragenv.graph.builder import Value
from fragenv.graph.onnx_float import average_pool, concatenate, convolve, global_average, multiply
from fragenv.graph.onnx_scope import Call, Handler, Registry, Scope, WeightNames
from fragenv.graph.refused import RefusedError

HANDLERS = Registry()
_MICROSOFT = "com.microsoft"


@HANDLERS.handles("QuantizeLinear", "DequantizeLinear")
@HANDLERS.handles("QuantizeLinear", "DequantizeLinear", domain=_MICROSOFT)
def _quantise(scope: Scope, call: Call) -> Value:
    x = scope.framed(call.inputs[0])
    _note(scope, call, x, 1)
    return x


@HANDLERS.handles("QLinearConv")
def _conv(scope: Scope, call: Call) -> Value:
    names = call.inputs
    weights = WeightNames(call.node, names[3], call.optional(8), names[4], names[5])
    return _noted(scope, call, convolve(scope, call, weights), inputs=(0,), output=6)


@HANDLERS.handles("ConvInteger")
def _conv_integer(scope: Scope, call: Call) -> Value:
    weights = WeightNames(call.node, call.inputs[1], "", "", call.optional(3), integers=True)
    result = convolve(scope, call, weights)
    scope.note_scale(scope.framed(call.inputs[0]), "", call.optional(2), call.node)
    return result


@HANDLERS.handles("MatMulInteger")
def _matmul_integer(scope: Scope, call: Call) -> Value:
    weights = WeightNames(
        call.node, call.inputs[1], "", "", call.optional(3), transposed=True, integers=True
    )
    result = multiply(scope, call, weights)
    scope.note_scale(scope.value(call.inputs[0]), "", call.optional(2), call.node)
    return result


@HANDLERS.handles("QLinearMatMul")
def _matmul(scope: Scope, call: Call) -> Value:
    names = call.inputs
    weights = WeightNames(call.node, names[3], "", names[4], names[5], transposed=True)
    return _noted(scope, call, multiply(scope, call, weights), inputs=(0,), output=6)


@HANDLERS.handles("QGemm", domain=_MICROSOFT)
def _gemm(scope: Scope, call: Call) -> Value:
    if call.get("transA", 0):
        raise RefusedError("a transposed first operand is not supported; transpose the weight")
    names = call.inputs
    weights = WeightNames(
        call.node,
        names[3],
        call.optional(6),
        names[4],
        names[5],
        transposed=not call.get("transB", 0),
        factor=call.get("alpha", 1.0),
    )
    if not call.optional(7):
        raise RefusedError("its output is float; quantise the output too")
    return _noted(scope, call, multiply(scope, call, weights), inputs=(0,), output=7)


@HANDLERS.handles("QLinearAdd", domain=_MICROSOFT)
def _add(scope: Scope, call: Call) -> Value:
    a, b = scope.value(call.inputs[0]), scope.value(call.inputs[3])
    result = scope.builder.add(call.name, a, b, call.out)
    return _noted(scope, call, result, inputs=(0, 3), output=6)


def _pool(pool: Handler) -> Handler:
    def handler(scope: Scope, call: Call) -> Value:
        if call.get("channels_last", 0):
            raise RefusedError("channels-last pooling is not supported; export channels first")
        return _noted(scope, call, pool(scope, call), inputs=(0,), output=3)

    return handler


HANDLERS[_MICROSOFT, "QLinearAveragePool"] = _pool(average_pool)
HANDLERS[_MICROSOFT, "QLinearGlobalAveragePool"] = _pool(global_average)


@HANDLERS.handles("QLinearConcat", domain=_MICROSOFT)
def _concat(scope: Scope, call: Call) -> Value:
    parts = range(2, len(call.inputs), 3)
    result = concatenate(scope, call, [call.inputs[i] for i in parts])
    return _noted(scope, call, result, inputs=tuple(parts), output=0)


def _noted(scope: Scope, call: Call, result: Value, inputs: tuple[int, ...], output: int) -> Value:
    """Note the scales that follow each input, and those of the output at index ``output``."""
    for index in inputs:
        _note(scope, call, scope.framed(call.inputs[index]), index + 1)
    _note(scope, call, result, output)
    return result


def _note(scope: Scope, call: Call, value: Value, index: int) -> None:
    scope.note_scale(value, call.inputs[index], call.optional(index + 1), call.node)
