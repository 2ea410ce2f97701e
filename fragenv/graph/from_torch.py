"""Import of ``torch.nn.Module``: its exported ATen graph, one handler per ATen operator.

Exporting runs on fake tensors: nothing is computed, and a module on the ``meta`` device needs no
weights at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import fx, nn

from fragenv.errors import ModelError
from fragenv.graph import aten_virtual
from fragenv.graph.aten import HANDLERS, Call, flatten, local_response_norm
from fragenv.graph.builder import GraphBuilder, Shape, Value
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.quiet import quiet_logging
from fragenv.graph.refused import RefusedError, unsupported
from fragenv.graph.virtual import VirtualBuilder


def from_torch(
    module: nn.Module,
    input_shape: Shape = (3, 224, 224),
    name: str | None = None,
    virtual: bool = False,
) -> DataflowGraph:
    """The dataflow graph of ``module`` in evaluation mode for one frame of ``input_shape``.

    Operators are called after the module paths that make them (``features.0``), tensors after the
    nodes of the exported graph. Batch normalisation is folded.

    Args:
        module: any exportable module with one input (N, *input_shape); its weights are not read.
        input_shape: (channels, rows, columns) or (features,), without the batch.
        name: the graph's name; the class name by default.
        virtual: also take what no chip runs (attention, layer normalisation, transpositions): the
            graph can be mined, not scheduled.

    Raises:
        ModelError: the module cannot be exported, or holds an operator the chip does not have.
    """
    name = name or type(module).__name__
    program = _export(name, module, input_shape)
    return _Importer(name, module, virtual).run(program, input_shape)


def _export(name: str, module: nn.Module, input_shape: Shape) -> torch.export.ExportedProgram:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    example = torch.empty(1, *input_shape, device=device)
    was_training = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with quiet_logging():
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


T = TypeVar("T")


class _Importer:
    def __init__(self, name: str, module: nn.Module, virtual: bool) -> None:
        self.name, self.module = name, module
        self.builder = VirtualBuilder() if virtual else GraphBuilder()
        self.handlers = aten_virtual.HANDLERS if virtual else HANDLERS
        self._values: dict[fx.Node, Value] = {}

    def run(self, program: torch.export.ExportedProgram, input_shape: Shape) -> DataflowGraph:
        activations = set(program.graph_signature.user_inputs)
        owners = _sole_owners(program.graph)
        for node in program.graph.nodes:
            if node.op == "placeholder" and node.name in activations:
                self._values[node] = self._refuse(node, self.builder.input, node.name, input_shape)
            elif node.op == "call_function":
                self._call(node, owners)
            elif node.op == "output":
                return self._refuse(node, self._finish, flatten(node.args[0]))
        raise ModelError(self.name, "the exported graph has no output; return a tensor")

    def _finish(self, outputs: list[fx.Node]) -> DataflowGraph:
        return self.builder.finish(self.name, [self.value(node) for node in outputs])

    def _call(self, node: fx.Node, owners: dict[fx.Node, str]) -> None:
        if not any(self._is_activation(n) for n in node.all_input_nodes):
            return  # arithmetic on weights alone
        if self._inside_lrn(node):
            return
        target = str(node.target).removeprefix("aten.")
        kind = target.split(".")[0]
        if self.builder.virtual and aten_virtual.is_part(node):
            part = self._refuse(node, aten_virtual.take_part, self, node, owners[node])
            self._values[node] = part
            return
        handler = self.handlers.get(kind.rstrip("_"))
        if _module_type(node).endswith(".LocalResponseNorm"):
            handler, kind = local_response_norm, "lrn"
        if handler is None:
            raise ModelError(
                self.name,
                unsupported(kind),
                _path(node) or node.name,
                f"aten.{target}",
            )
        result = self._refuse(node, handler, self, Call(node, owners[node]))
        if kind.endswith("_"):
            self._mutate(self.value(node.all_input_nodes[0]), result)
        self._values[node] = result

    def _mutate(self, old: Value, new: Value) -> None:
        """After an in-place operator every name of its input means its result."""
        for node, value in self._values.items():
            if value.tensor == old.tensor:
                self._values[node] = Value(new.tensor, value.shape)

    def _refuse(self, node: fx.Node, function: Callable[..., T], *arguments: Any) -> T:
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
