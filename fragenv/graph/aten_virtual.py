"""What ATen operators mean where graphs are mined only: those of attention, and moved data."""

from __future__ import annotations

import operator
from typing import Any, cast

from torch import fx

from fragenv.graph import aten
from fragenv.graph.aten import Call, Handler, Scope
from fragenv.graph.builder import Value
from fragenv.graph.refused import RefusedError
from fragenv.graph.virtual import VirtualBuilder, frame_shape, moves_data

HANDLERS: dict[str, Handler] = dict(aten.HANDLERS)
_handles = aten.registers_in(HANDLERS)


def _builder(scope: Scope) -> VirtualBuilder:
    return cast(VirtualBuilder, scope.builder)


def _batched(node: fx.Node) -> tuple[int, ...]:
    return tuple(int(n) for n in node.meta["val"].shape)


def _result(call: Call) -> tuple[int, ...]:
    return frame_shape(_batched(call.node))


@_handles(
    *("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze", "unflatten"),
)
def _reshape(scope: Scope, call: Call) -> Value:
    return scope.builder.reshape(scope.value(call.node.args[0]), _result(call))


@_handles("permute", "transpose", "t")
def _permute(scope: Scope, call: Call) -> Value:
    source = call.node.args[0]
    assert isinstance(source, fx.Node)
    batched, x = _batched(source), scope.value(source)
    if moves_data(batched, aten.axes_order(call, len(batched))):
        return _builder(scope).move(call.name, x, call.out, _result(call))
    return scope.builder.reshape(x, _result(call))


@_handles("select", "slice", "narrow")
def _part(scope: Scope, call: Call) -> Value:
    x = scope.value(call.node.args[0])
    shape = _result(call)
    if call.node.args[0].meta["val"].numel() == call.node.meta["val"].numel():  # type: ignore[union-attr]
        return scope.builder.reshape(x, shape)
    return _builder(scope).move(call.name, x, call.out, shape)


@_handles("chunk", "split", "split_with_sizes", "unbind")
def _parts(scope: Scope, call: Call) -> Value:
    """The whole; each part is taken by the ``getitem`` that follows."""
    return scope.value(call.node.args[0])


def take_part(scope: Scope, node: fx.Node, name: str) -> Value:
    """``operator.getitem``: one of several results.

    Raises:
        RefusedError: of an operator whose results are not parts of one tensor.
    """
    source = cast(fx.Node, node.args[0])
    kind = str(source.target).removeprefix("aten.").split(".")[0]
    if HANDLERS.get(kind) is not _parts:
        raise RefusedError(f"the results of '{kind}' are not supported; use the first only")
    return _builder(scope).move(name, scope.value(source), node.name, frame_shape(_batched(node)))


@_handles("matmul", "mm", "bmm")
def _matmul(scope: Scope, call: Call) -> Value:
    a, b = cast(Any, call.node.args[:2])
    if scope.is_constant(a):
        raise RefusedError("the first factor is constant; transpose the product")
    if scope.is_constant(b):
        return aten.HANDLERS["matmul"](scope, call)
    shape = _result(call)
    return _builder(scope).matmul(call.name, scope.value(a), scope.value(b), call.out, shape)


@_handles("scaled_dot_product_attention")
def _attention(scope: Scope, call: Call) -> Value:
    """softmax(q k') v; the scale of the scores is a number, a mask of the scores is left out."""
    build = _builder(scope)
    q, k, v = (scope.value(call[name]) for name in ("query", "key", "value"))
    *heads, rows, _ = _batched(call["query"])
    columns = _batched(call["key"])[-2]
    shape = frame_shape((*heads, rows, columns))
    scores = build.matmul(f"{call.name}.scores", q, k, f"{call.out}.scores", shape)
    weights = build.softmax(f"{call.name}.softmax", scores, f"{call.out}.softmax", -1)
    return build.matmul(call.name, weights, v, call.out, _result(call))


@_handles("layer_norm", "native_layer_norm", "rms_norm")
def _norm(scope: Scope, call: Call) -> Value:
    return _builder(scope).norm(call.name, scope.value(call["input"]), call.out)


@_handles("gelu", "silu")
def _gelu(scope: Scope, call: Call) -> Value:
    return _builder(scope).gelu(call.name, scope.value(call["self"]), call.out)


@_handles("softmax", "_softmax", "log_softmax", "_log_softmax")
def _softmax(scope: Scope, call: Call) -> Value:
    log = "log" in str(call.node.target)
    return scope.builder.softmax(call.name, scope.value(call["self"]), call.out, call["dim"], log)


@_handles("mul", "div")
def _scale(scope: Scope, call: Call) -> Value:
    """A number as a factor changes the scale of the integers, not the integers."""
    if isinstance(call["other"], int | float):
        return scope.value(call["self"])
    return aten.HANDLERS["mul"](scope, call)


def is_part(node: fx.Node) -> bool:
    """Whether ``node`` takes one of several results."""
    return node.target is operator.getitem
