"""What each ATen operator means: one handler per operator, all in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Protocol

from torch import fx, nn

from fragenv.graph.builder import GraphBuilder, Shape, Value
from fragenv.graph.refused import RefusedError
from fragenv.graph.windows import Window


class Scope(Protocol):
    """What a handler may ask of the scope."""

    builder: GraphBuilder

    def value(self, node: Any) -> Value:
        """The activation that ``node`` is; RefusedError for weights and numbers."""

    def is_constant(self, node: Any) -> bool:
        """Whether ``node`` is a number or made of weights alone."""

    def module_of(self, node: fx.Node) -> nn.Module:
        """The innermost module that made ``node``."""


class Call:
    """One ATen call with its arguments by name, defaults included."""

    def __init__(self, node: fx.Node, name: str) -> None:
        self.node, self.name, self.out = node, name, node.name
        schema = node.target._schema  # type: ignore[union-attr]
        self._arguments = {a.name: a.default_value for a in schema.arguments}
        self._arguments.update(zip(self._arguments, node.args, strict=False))
        self._arguments.update(node.kwargs)

    def __getitem__(self, argument: str) -> Any:
        return self._arguments[argument]

    def pair(self, argument: str, default: Sequence[int] | None = None) -> tuple[int, int]:
        """An argument of one or two integers; ``default`` where it is empty."""
        values = self[argument]
        if values is None or (isinstance(values, list | tuple) and not values):
            values = default
        if isinstance(values, int):
            values = [values]
        if values is None or not 1 <= len(values) <= 2:
            raise RefusedError(
                f"only 2-D windows are supported, got {argument}={values}; use 2-D layers"
            )
        return int(values[0]), int(values[-1])

    def window(self, kernel: tuple[int, int], stride: tuple[int, int]) -> Window:
        top, left = self.pair("padding")
        dilation = self.pair("dilation") if "dilation" in self._arguments else (1, 1)
        return Window(kernel, stride, (top, left, top, left), dilation)


Handler = Callable[[Scope, Call], Value]

#: ATen name without namespace, overload and in-place underscore -> handler
HANDLERS: dict[str, Handler] = {}


def flatten(item: Any) -> list[Any]:
    if isinstance(item, list | tuple):
        return [leaf for part in item for leaf in flatten(part)]
    return [item]


def registers_in(handlers: dict[str, Handler]) -> Callable[..., Callable[[Handler], Handler]]:
    """A decorator that enters a function into ``handlers`` under the names given to it."""

    def handles(*targets: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            handlers.update(dict.fromkeys(targets, handler))
            return handler

        return register

    return handles


_handles = registers_in(HANDLERS)


def _shape_of(node: fx.Node) -> Shape:
    return tuple(int(n) for n in node.meta["val"].shape)


def _weight_shape(scope: Scope, weight: fx.Node) -> Shape:
    if not scope.is_constant(weight):
        raise RefusedError(
            "the second factor is computed from the input; only constant weights multiply"
        )
    return _shape_of(weight)


@_handles("conv2d")
def _conv2d(scope: Scope, call: Call) -> Value:
    k, _, r, s = _weight_shape(scope, call["weight"])
    x = scope.value(call["input"])
    if isinstance(call["padding"], str):
        raise RefusedError("string paddings are not supported; give the padding as numbers")
    window = call.window((r, s), call.pair("stride"))
    return scope.builder.conv(call.name, x, call.out, k, window, call["groups"])


@_handles("linear")
def _linear(scope: Scope, call: Call) -> Value:
    x = scope.value(call["input"])
    return scope.builder.gemm(call.name, x, call.out, _weight_shape(scope, call["weight"])[0])


@_handles("matmul", "mm")
def _matmul(scope: Scope, call: Call) -> Value:
    shape = _weight_shape(scope, call.node.all_input_nodes[-1])
    if len(shape) != 2:
        raise RefusedError(f"the right operand of shape {shape} must be a matrix")
    return scope.builder.gemm(call.name, scope.value(call.node.args[0]), call.out, shape[1])


@_handles("addmm")
def _addmm(scope: Scope, call: Call) -> Value:
    if not scope.is_constant(call["self"]):
        raise RefusedError("the bias is computed from the input; only constant biases are added")
    x, shape = scope.value(call["mat1"]), _weight_shape(scope, call["mat2"])
    return scope.builder.gemm(call.name, x, call.out, shape[1])


@_handles("batch_norm")
def _batch_norm(scope: Scope, call: Call) -> Value:
    if call["training"]:
        raise RefusedError("it normalises by each batch's own statistics; track running statistics")
    return scope.builder.scale(call.name, scope.value(call["input"]), call.out)


@_handles("relu")
def _relu(scope: Scope, call: Call) -> Value:
    return scope.builder.relu(call.name, scope.value(call["self"]), call.out)


@_handles("relu6")
def _relu6(scope: Scope, call: Call) -> Value:
    return scope.builder.clip(call.name, scope.value(call["self"]), call.out, 0.0, 6.0)


@_handles("hardtanh")
def _hardtanh(scope: Scope, call: Call) -> Value:
    low, high = float(call["min_val"]), float(call["max_val"])
    return scope.builder.clip(call.name, scope.value(call["self"]), call.out, low, high)


@_handles("clamp")
def _clamp(scope: Scope, call: Call) -> Value:
    low = -inf if call["min"] is None else float(call["min"])
    high = inf if call["max"] is None else float(call["max"])
    return scope.builder.clip(call.name, scope.value(call["self"]), call.out, low, high)


@_handles("max_pool2d")
def _max_pool(scope: Scope, call: Call) -> Value:
    kernel = call.pair("kernel_size")
    window = call.window(kernel, call.pair("stride", kernel))
    x = scope.value(call["self"])
    return scope.builder.max_pool(call.name, x, call.out, window, call["ceil_mode"])


@_handles("avg_pool2d")
def _avg_pool(scope: Scope, call: Call) -> Value:
    if call["divisor_override"] is not None:
        raise RefusedError("divisor_override is not supported; leave it out")
    kernel = call.pair("kernel_size")
    window = call.window(kernel, call.pair("stride", kernel))
    return scope.builder.average_pool(
        call.name,
        scope.value(call["self"]),
        call.out,
        window,
        call["ceil_mode"],
        call["count_include_pad"],
    )


@_handles("adaptive_avg_pool2d")
def _adaptive(scope: Scope, call: Call) -> Value:
    x = scope.value(call["self"])
    return scope.builder.adaptive_average(call.name, x, call.out, call.pair("output_size"))


@_handles("mean")
def _mean(scope: Scope, call: Call) -> Value:
    x = scope.value(call["self"])
    axes = sorted(axis % (len(x.shape) + 1) for axis in flatten(call["dim"] or []))
    if len(x.shape) != 3 or axes != [2, 3]:
        raise RefusedError("only means over all rows and columns are supported; use dim=(2, 3)")
    y = scope.builder.global_average(call.name, x, call.out)
    return scope.builder.reshape(y, _shape_of(call.node)[1:])


@_handles("add")
def _add(scope: Scope, call: Call) -> Value:
    a, b = call["self"], call["other"]
    if "alpha" in call.node.kwargs and call["alpha"] != 1:
        raise RefusedError("a scaled addition is not supported; leave alpha at 1")
    if not scope.is_constant(a) and not scope.is_constant(b):
        return scope.builder.add(call.name, scope.value(a), scope.value(b), call.out)
    return _channelwise(scope, call, a, b)


@_handles("mul", "sub", "div")
def _scale(scope: Scope, call: Call) -> Value:
    a, b = call["self"], call["other"]
    if not scope.is_constant(a) and not scope.is_constant(b):
        raise RefusedError("two activations may only be added; replace this operator")
    return _channelwise(scope, call, a, b)


def _channelwise(scope: Scope, call: Call, a: Any, b: Any) -> Value:
    """y = x (+ - * /) constant, with one constant for each channel or one for all."""
    constant, x = (a, b) if scope.is_constant(a) else (b, a)
    if scope.is_constant(a) and "div" in str(call.node.target):
        raise RefusedError("dividing by an activation is not supported; replace this operator")
    shape = _shape_of(constant) if isinstance(constant, fx.Node) else ()
    return scope.builder.scale_by(call.name, scope.value(x), call.out, shape)


@_handles("cat")
def _cat(scope: Scope, call: Call) -> Value:
    parts = [scope.value(n) for n in call["tensors"]]
    axis = _without_batch(call["dim"], len(parts[0].shape))
    return scope.builder.concat(call.name, parts, call.out, axis)


@_handles("softmax", "_softmax", "log_softmax", "_log_softmax")
def _softmax(scope: Scope, call: Call) -> Value:
    x = scope.value(call["self"])
    axis = _without_batch(call["dim"], len(x.shape))
    log = "log" in str(call.node.target)
    return scope.builder.softmax(call.name, x, call.out, axis, log)


def _without_batch(axis: int, rank: int) -> int:
    """``axis`` of a batched tensor as an axis of one frame of ``rank`` axes."""
    axis %= rank + 1
    if axis == 0:
        raise RefusedError("this operator runs over the batch; frames must stay independent")
    return axis - 1


@_handles("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze")
def _reshape(scope: Scope, call: Call) -> Value:
    shape = _shape_of(call.node)
    if not shape or shape[0] != 1:
        raise RefusedError(
            "reshaping the batch axis is not supported; frames must stay independent"
        )
    return scope.builder.reshape(scope.value(call.node.args[0]), shape[1:])


@_handles("permute", "transpose", "t")
def _permute(scope: Scope, call: Call) -> Value:
    x = scope.value(call["self"])
    order = axes_order(call, len(x.shape) + 1)
    if order[0] != 0:
        raise RefusedError("moving the batch axis is not supported; frames must stay independent")
    return scope.builder.permute(x, [axis - 1 for axis in order[1:]])


def axes_order(call: Call, rank: int) -> list[int]:
    """The order of the axes after permute, transpose or t."""
    if "dims" in str(call.node.target._schema):  # type: ignore[union-attr]
        return [axis % rank for axis in call["dims"]]
    order = list(range(rank))
    a, b = (call["dim0"], call["dim1"]) if len(call.node.args) == 3 else (0, 1)
    order[a], order[b] = order[b], order[a]
    return order


@_handles(
    "dropout", "feature_dropout", "alpha_dropout", "contiguous", "clone", "detach", "identity"
)
def _nothing(scope: Scope, call: Call) -> Value:
    return scope.value(call.node.args[0])


def local_response_norm(scope: Scope, call: Call) -> Value:
    module = scope.module_of(call.node)
    assert isinstance(module, nn.LocalResponseNorm)
    if module.size % 2 == 0:
        # PyTorch's window lies one channel lower than ONNX's, which is the chip's
        raise RefusedError(f"a window of {module.size} channels is not centred; use an odd size")
    return scope.builder.lrn(
        call.name,
        scope.value(call["self"]),
        call.out,
        module.size,
        module.alpha,
        module.beta,
        module.k,
    )
