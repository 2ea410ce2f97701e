"""Import of ``torch.nn.Module``: its exported ATen graph, one handler per ATen operator.

Exporting runs on fake tensors: nothing is computed, and a module on the ``meta`` device needs no
weights at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch
from torch import fx, nn

from fragenv.errors import ModelError
from fragenv.graph.builder import GraphBuilder, Value
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.refused import RefusedError
from fragenv.graph.windows import Window

Shape = tuple[int, ...]
Handler = Callable[["_Importer", "_Call"], Value]

_HANDLERS: dict[str, Handler] = {}


def from_torch(
    module: nn.Module, input_shape: Shape = (3, 224, 224), name: str | None = None
) -> DataflowGraph:
    """The dataflow graph of ``module`` in evaluation mode for one frame of ``input_shape``.

    Operators are called after the module paths that make them (``features.0``), tensors after the
    nodes of the exported graph. Batch normalisation is folded.

    Args:
        module: any exportable module with one input (N, *input_shape); its weights are not read.
        input_shape: (channels, rows, columns) or (features,), without the batch.
        name: the graph's name; the class name by default.

    Raises:
        ModelError: the module cannot be exported, or holds an operator the chip does not have.
    """
    name = name or type(module).__name__
    return _Importer(name, module).run(_export(name, module, input_shape), input_shape)


def _export(name: str, module: nn.Module, input_shape: Shape) -> torch.export.ExportedProgram:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    example = torch.empty(1, *input_shape, device=device)
    was_training = {m: m.training for m in module.modules()}
    module.eval()
    try:
        return torch.export.export(module, (example,), strict=False)
    except Exception as error:  # torch.export raises many types for what user code did
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            name,
            f"torch.export failed for an input of shape {tuple(example.shape)}: {reason}; "
            "give the right input shape and a module without data-dependent control flow",
        ) from error
    finally:
        for child, training in was_training.items():
            child.training = training


class _Call:
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


class _Importer:
    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self.builder = GraphBuilder()
        self._values: dict[fx.Node, Value] = {}
        self._constants: set[fx.Node] = set()

    def run(self, program: torch.export.ExportedProgram, input_shape: Shape) -> DataflowGraph:
        activations = set(program.graph_signature.user_inputs)
        owners = _sole_owners(program.graph)
        for node in program.graph.nodes:
            if node.op == "placeholder" and node.name in activations:
                self._values[node] = self._refuse(node, self.builder.input, node.name, input_shape)
            elif node.op == "call_function":
                self._call(node, owners)
            elif node.op == "output":
                outputs = [self.value(n) for n in _flatten(node.args[0])]
        return self.builder.finish(self.name, outputs)

    def _call(self, node: fx.Node, owners: dict[fx.Node, str]) -> None:
        if node.all_input_nodes and not any(self._is_activation(n) for n in node.all_input_nodes):
            return  # arithmetic on weights alone
        if self._inside_lrn(node):
            return
        target = str(node.target).removeprefix("aten.")
        kind = target.split(".")[0]
        handler = _HANDLERS.get(kind.rstrip("_"))
        if _module_type(node).endswith(".LocalResponseNorm"):
            handler, kind = _lrn, "lrn"
        if handler is None:
            raise ModelError(
                self.name,
                "this operator is not supported; replace it or cut the model before it",
                _path(node) or node.name,
                f"aten.{target}",
            )
        result = self._refuse(node, handler, self, _Call(node, owners[node]))
        if kind.endswith("_"):
            self._mutate(self.value(node.all_input_nodes[0]), result)
        self._values[node] = result

    def _mutate(self, old: Value, new: Value) -> None:
        """After an in-place operator every name of its input means its result."""
        for node, value in self._values.items():
            if value.tensor == old.tensor:
                self._values[node] = Value(new.tensor, value.shape)

    def _refuse(self, node: fx.Node, function: Callable[..., Value], *arguments: Any) -> Value:
        try:
            return function(*arguments)
        except (RefusedError, ValueError) as error:
            raise ModelError(
                self.name, str(error), _path(node) or node.name, str(node.target)
            ) from error

    def _is_activation(self, node: fx.Node) -> bool:
        return node in self._values or self._inside_lrn(node)

    @staticmethod
    def _inside_lrn(node: fx.Node) -> bool:
        """F.local_response_norm is a dozen ATen calls; its last one divides."""
        return (
            _module_type(node).endswith(".LocalResponseNorm")
            and str(node.target) != "aten.div.Tensor"
        )

    def value(self, node: Any) -> Value:
        if node not in self._values:
            raise RefusedError(
                f"operand {node} must be an activation; keep constants out of this operator"
            )
        return self._values[node]

    def is_constant(self, node: Any) -> bool:
        return not (isinstance(node, fx.Node) and self._is_activation(node))

    def module_of(self, node: fx.Node) -> nn.Module:
        return self.module.get_submodule(_path(node))


def _flatten(item: Any) -> list[Any]:
    if isinstance(item, list | tuple):
        return [leaf for part in item for leaf in _flatten(part)]
    return [item]


def _innermost(node: fx.Node) -> tuple[str, str]:
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return "", ""
    path, kind = list(stack.values())[-1]
    return path, kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"


def _path(node: fx.Node) -> str:
    return _innermost(node)[0].split("@")[0]


def _module_type(node: fx.Node) -> str:
    return _innermost(node)[1]


def _sole_owners(graph: fx.Graph) -> dict[fx.Node, str]:
    """Names for calls: the leaf module's path, or path.function for calls a parent makes itself."""
    names = {}
    for node in graph.nodes:
        if node.op == "call_function":
            path = _path(node)
            leaf = _module_type(node).startswith("torch.nn.modules")
            function = str(node.target).removeprefix("aten.").split(".")[0].rstrip("_")
            names[node] = path if leaf and path else ".".join(filter(None, (path, function)))
    return names


def _handles(*targets: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        _HANDLERS.update(dict.fromkeys(targets, handler))
        return handler

    return register


def _shape_of(node: Any) -> Shape:
    return tuple(int(n) for n in node.meta["val"].shape)


@_handles("conv2d")
def _conv2d(importer: _Importer, call: _Call) -> Value:
    k, _, r, s = _shape_of(call["weight"])
    x = importer.value(call["input"])
    if isinstance(call["padding"], str):
        raise RefusedError("string paddings are not supported; give the padding as numbers")
    window = call.window((r, s), call.pair("stride"))
    return importer.builder.conv(call.name, x, call.out, k, window, call["groups"])


@_handles("linear")
def _linear(importer: _Importer, call: _Call) -> Value:
    x = importer.value(call["input"])
    return importer.builder.gemm(call.name, x, call.out, _shape_of(call["weight"])[0])


@_handles("matmul", "mm")
def _matmul(importer: _Importer, call: _Call) -> Value:
    other = call.node.args[1]
    if not importer.is_constant(other) or len(_shape_of(other)) != 2:
        raise RefusedError("the right operand must be a constant matrix; only weights multiply")
    x = importer.value(call.node.args[0])
    return importer.builder.gemm(call.name, x, call.out, _shape_of(other)[1])


@_handles("addmm")
def _addmm(importer: _Importer, call: _Call) -> Value:
    if not (importer.is_constant(call["self"]) and importer.is_constant(call["mat2"])):
        raise RefusedError("bias and right operand must be constant; only weights multiply")
    x = importer.value(call["mat1"])
    return importer.builder.gemm(call.name, x, call.out, _shape_of(call["mat2"])[1])


@_handles("batch_norm")
def _batch_norm(importer: _Importer, call: _Call) -> Value:
    return importer.builder.scale(call.name, importer.value(call["input"]), call.out)


@_handles("relu")
def _relu(importer: _Importer, call: _Call) -> Value:
    return importer.builder.relu(call.name, importer.value(call["self"]), call.out)


@_handles("relu6")
def _relu6(importer: _Importer, call: _Call) -> Value:
    return importer.builder.clip(call.name, importer.value(call["self"]), call.out, 0.0, 6.0)


@_handles("hardtanh")
def _hardtanh(importer: _Importer, call: _Call) -> Value:
    low, high = float(call["min_val"]), float(call["max_val"])
    return importer.builder.clip(call.name, importer.value(call["self"]), call.out, low, high)


@_handles("clamp")
def _clamp(importer: _Importer, call: _Call) -> Value:
    low = -inf if call["min"] is None else float(call["min"])
    high = inf if call["max"] is None else float(call["max"])
    return importer.builder.clip(call.name, importer.value(call["self"]), call.out, low, high)


@_handles("max_pool2d")
def _max_pool(importer: _Importer, call: _Call) -> Value:
    kernel = call.pair("kernel_size")
    window = call.window(kernel, call.pair("stride", kernel))
    x = importer.value(call["self"])
    return importer.builder.max_pool(call.name, x, call.out, window, call["ceil_mode"])


@_handles("avg_pool2d")
def _avg_pool(importer: _Importer, call: _Call) -> Value:
    if call["divisor_override"] is not None:
        raise RefusedError("divisor_override is not supported; leave it out")
    kernel = call.pair("kernel_size")
    window = call.window(kernel, call.pair("stride", kernel))
    return importer.builder.average_pool(
        call.name,
        importer.value(call["self"]),
        call.out,
        window,
        call["ceil_mode"],
        call["count_include_pad"],
    )


@_handles("adaptive_avg_pool2d")
def _adaptive(importer: _Importer, call: _Call) -> Value:
    x = importer.value(call["self"])
    return importer.builder.adaptive_average(call.name, x, call.out, call.pair("output_size"))


@_handles("mean")
def _mean(importer: _Importer, call: _Call) -> Value:
    x = importer.value(call["self"])
    axes = sorted(axis % (len(x.shape) + 1) for axis in _flatten(call["dim"] or []))
    if len(x.shape) != 3 or axes != [2, 3]:
        raise RefusedError("only means over all rows and columns are supported; use dim=(2, 3)")
    y = importer.builder.global_average(call.name, x, call.out)
    return importer.builder.reshape(y, _shape_of(call.node)[1:])


@_handles("add")
def _add(importer: _Importer, call: _Call) -> Value:
    a, b = call["self"], call["other"]
    if "alpha" in call.node.kwargs and call["alpha"] != 1:
        raise RefusedError("a scaled addition is not supported; leave alpha at 1")
    if not importer.is_constant(a) and not importer.is_constant(b):
        return importer.builder.add(call.name, importer.value(a), importer.value(b), call.out)
    return _channelwise(importer, call, a, b)


@_handles("mul", "sub", "div")
def _scale(importer: _Importer, call: _Call) -> Value:
    a, b = call["self"], call["other"]
    if not importer.is_constant(a) and not importer.is_constant(b):
        raise RefusedError("two activations may only be added; replace this operator")
    return _channelwise(importer, call, a, b)


def _channelwise(importer: _Importer, call: _Call, a: Any, b: Any) -> Value:
    """y = x (+ - * /) constant, with one constant for each channel or one for all."""
    constant, x = (a, b) if importer.is_constant(a) else (b, a)
    if importer.is_constant(a) and "div" in str(call.node.target):
        raise RefusedError("dividing by an activation is not supported; replace this operator")
    shape = _shape_of(constant) if isinstance(constant, fx.Node) else ()
    return importer.builder.scale_by(call.name, importer.value(x), call.out, shape)


@_handles("cat")
def _cat(importer: _Importer, call: _Call) -> Value:
    parts = [importer.value(n) for n in call["tensors"]]
    axis = _without_batch(call["dim"], len(parts[0].shape))
    return importer.builder.concat(call.name, parts, call.out, axis)


@_handles("softmax", "_softmax", "log_softmax", "_log_softmax")
def _softmax(importer: _Importer, call: _Call) -> Value:
    x = importer.value(call["self"])
    axis = _without_batch(call["dim"], len(x.shape))
    log = "log" in str(call.node.target)
    return importer.builder.softmax(call.name, x, call.out, axis, log)


def _without_batch(axis: int, rank: int) -> int:
    """``axis`` of a batched tensor as an axis of one frame of ``rank`` axes."""
    axis %= rank + 1
    if axis == 0:
        raise RefusedError("this operator runs over the batch; frames must stay independent")
    return axis - 1


@_handles("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze")
def _reshape(importer: _Importer, call: _Call) -> Value:
    shape = _shape_of(call.node)
    if not shape or shape[0] != 1:
        raise RefusedError(
            "reshaping the batch axis is not supported; frames must stay independent"
        )
    return importer.builder.reshape(importer.value(call.node.args[0]), shape[1:])


@_handles("permute", "transpose", "t")
def _permute(importer: _Importer, call: _Call) -> Value:
    x = importer.value(call["self"])
    order = list(range(len(x.shape) + 1))
    if "dims" in str(call.node.target._schema):  # type: ignore[union-attr]
        order = [axis % len(order) for axis in call["dims"]]
    else:
        a, b = (call["dim0"], call["dim1"]) if len(call.node.args) == 3 else (0, 1)
        order[a], order[b] = order[b], order[a]
    if order[0] != 0:
        raise RefusedError("moving the batch axis is not supported; frames must stay independent")
    return importer.builder.permute(x, [axis - 1 for axis in order[1:]])


@_handles(
    "dropout", "feature_dropout", "alpha_dropout", "contiguous", "clone", "detach", "identity"
)
def _nothing(importer: _Importer, call: _Call) -> Value:
    return importer.value(call.node.args[0])


def _lrn(importer: _Importer, call: _Call) -> Value:
    module = importer.module_of(call.node)
    assert isinstance(module, nn.LocalResponseNorm)
    return importer.builder.lrn(
        call.name,
        importer.value(call["self"]),
        call.out,
        module.size,
        module.alpha,
        module.beta,
        module.k,
    )
