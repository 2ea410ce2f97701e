"""Import of ONNX files, float or quantised (QDQ and QOperator forms)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from fragenv.graph.builder import GraphBuilder
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.onnx_file import OnnxFile, node_name
from fragenv.graph.onnx_float import HANDLERS as FLOAT_HANDLERS
from fragenv.graph.onnx_padding import HANDLERS as PADDING_HANDLERS
from fragenv.graph.onnx_quantised import HANDLERS as QUANTISED_HANDLERS
from fragenv.graph.onnx_scope import DATA_INPUTS, Call, Handler, Scope
from fragenv.graph.onnx_virtual import HANDLERS as VIRTUAL_HANDLERS
from fragenv.graph.refused import RefusedError, unsupported
from fragenv.graph.virtual import VirtualBuilder

#: (domain, operator type) -> what imports it
HANDLERS = {**FLOAT_HANDLERS, **PADDING_HANDLERS, **QUANTISED_HANDLERS}


@dataclass(frozen=True, slots=True)
class OnnxImport:
    """A graph with what ``load_parameters`` needs to find its numbers in the file."""

    graph: DataflowGraph
    scope: Scope


def from_onnx(
    path: str | Path,
    batch: int = 1,
    dims: Mapping[str, int] | None = None,
    virtual: bool = False,
) -> DataflowGraph:
    """The dataflow graph of one frame of an ONNX file.

    The first axis of every input is the batch and is stripped: tensors are per frame. Operators
    are called after the file's nodes, tensors after its values. Nothing of the file is executed,
    and external data is only looked at if it lies in the model's folder.

    Args:
        path: the ``.onnx`` file.
        batch: size of a dynamic batch axis while shapes are inferred. It matters only for files
            whose reshapes have a certain batch built in.
        dims: sizes for other dynamic axes, by their names in the file.
        virtual: also take what no chip runs (attention, layer normalisation, transpositions): the
            graph can be mined, not scheduled. Needs a batch of 1.

    Raises:
        ModelError: the file is damaged or holds something the chip cannot run; the message names
            file, node, operator and the way out.
    """
    return import_onnx(path, batch, dims, virtual).graph


def import_onnx(
    path: str | Path,
    batch: int = 1,
    dims: Mapping[str, int] | None = None,
    virtual: bool = False,
) -> OnnxImport:
    """``from_onnx`` with the names of scales, weights and biases; see there."""
    file = OnnxFile(path, batch, dims or {})
    scope = Scope(file, VirtualBuilder() if virtual else GraphBuilder())
    for name, shape in file.inputs.items():
        scope.begin(name, shape)
    if virtual and scope.batch > 1:
        raise file.error(f"only a batch of 1 can be mined, the file has {scope.batch}")
    needed = _needed(file, frozenset({"Split"} if virtual else ()))
    nodes = [node for node in file.nodes if not needed.isdisjoint(node.output)]
    known = VIRTUAL_HANDLERS if virtual else HANDLERS
    handlers = [_handler(file, node, known) for node in nodes]
    for node, handler in zip(nodes, handlers, strict=True):
        _import_node(scope, node, handler)
    try:
        outputs = [scope.value(name) for name in file.outputs]
        graph = scope.builder.finish(Path(path).stem, outputs)
    except RefusedError as error:
        raise file.error(str(error)) from error
    return OnnxImport(graph, scope)


def _handler(
    file: OnnxFile, node: onnx.NodeProto, known: Mapping[tuple[str, str], Handler]
) -> Handler:
    domain = "" if node.domain == "ai.onnx" else node.domain
    handler = known.get((domain, node.op_type))
    if handler is None:
        where = f" (in domain '{domain}')" if domain else ""
        raise file.error(unsupported(node.op_type) + where, node)
    return handler


def _import_node(scope: Scope, node: onnx.NodeProto, handler: Handler) -> None:
    try:
        value = handler(scope, Call(scope.file, node))
    except (RefusedError, ValueError, LookupError, TypeError) as error:
        raise scope.file.error(_reason(error), node) from error
    scope.bind(node.output[0], value)


def _reason(error: Exception) -> str:
    if isinstance(error, RefusedError):
        return str(error)
    return f"the node is malformed ({error}); check the file with onnx.checker"


def _needed(file: OnnxFile, several: frozenset[str]) -> set[str]:
    """Values that the outputs depend on through data, not through shapes. Only operators of the
    types ``several`` may have more than one output."""
    needed: set[str] = set()
    queue = list(file.outputs)
    while queue:
        name = queue.pop()
        if name in needed or file.is_constant(name):
            continue
        needed.add(name)
        node = file.producer.get(name)
        if node is not None:
            queue += [n for n in node.input[: DATA_INPUTS.get(node.op_type)] if n]
    for node in file.nodes:
        extra = [name for name in node.output[1:] if name in needed]
        if extra and node_name(node) and node.op_type not in several:
            raise file.error(f"its output '{extra[0]}' is not supported; use the first only", node)
    return needed
