"""An ONNX file as it is needed here: nodes, constants and inferred shapes; nothing is executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt
import onnx
from onnx import external_data_helper, inliner, numpy_helper, shape_inference

from fragenv.errors import ModelError
from fragenv.graph.onnx_lrn import fuse_lrn

Shape = tuple[int, ...]
Array = npt.NDArray[Any]

#: constants with more elements are left out while shapes are inferred: no shape depends on them
_SMALL = 1024
#: operators that are looked through when all their inputs are constant
_CONSTANT_OPERATORS = frozenset(
    {"Identity", "Cast", "Transpose", "Reshape", "QuantizeLinear", "DequantizeLinear", "Constant"}
)


class OnnxFile:
    """A parsed ONNX model.

    Attributes:
        nodes: all nodes in topological order (the file's own order where it is one).
        producer: value name -> node.
        inputs: activation input -> shape with the batch, dynamic sizes filled in.
        input_types: activation input -> type of its elements.
        outputs: names of the graph's outputs.
        opset: version of the default operator set.

    Raises:
        ModelError: not an ONNX file, truncated, cyclic, values that nothing provides, external
            data that is missing or outside the model's folder, dynamic sizes that are not given.
    """

    def __init__(self, path: str | Path, batch: int, dims: Mapping[str, int]) -> None:
        self.path = Path(path)
        self.source = str(path)
        model = _parse(self.path)
        graph = model.graph
        fuse_lrn(graph)
        self.opset = max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1
        )
        self._initialisers = {tensor.name: tensor for tensor in graph.initializer}
        for tensor in graph.initializer:
            self._check_external(tensor)
        for node in graph.node:
            if any(external_data_helper.uses_external_data(a.t) for a in node.attribute):
                raise self.error("constants outside the file are not supported; store it", node)
        self.outputs = tuple(value.name for value in graph.output)
        self.inputs = {
            value.name: self._input_shape(value, batch, dims)
            for value in graph.input
            if value.name not in self._initialisers
        }
        self.input_types: dict[str, np.dtype[Any]] = {
            value.name: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))
            for value in graph.input
            if value.name in self.inputs and (kind := value.type.tensor_type.elem_type)
        }
        self.producer: dict[str, onnx.NodeProto] = {}
        for node in graph.node:
            for name in filter(None, node.output):
                if name in self.producer or name in self.inputs or name in self._initialisers:
                    raise self.error(f"value '{name}' has two producers; the file is damaged", node)
                self.producer[name] = node
        self._check_provided(graph)
        self.nodes = self._sorted(list(graph.node))
        self._arrays: dict[str, Array] = {}
        self._model = model

    def error(self, message: str, node: onnx.NodeProto | None = None) -> ModelError:
        """``message`` with file, node and operator."""
        if node is None:
            return ModelError(self.source, message)
        return ModelError(self.source, message, node_name(node), node.op_type)

    # -- constants -------------------------------------------------------------------------------

    def is_constant(self, name: str) -> bool:
        """Whether ``name`` is stored in the file or made of stored values by moving data."""
        if name in self._initialisers:
            return True
        node = self.producer.get(name)
        if node is None or node.op_type not in _CONSTANT_OPERATORS:
            return False
        return all(self.is_constant(source) for source in node.input if source)

    def constant_shape(self, name: str) -> Shape:
        """The shape of a constant, without reading large data."""
        if name in self._initialisers:
            return tuple(self._initialisers[name].dims)
        node = self.producer[name]
        if node.op_type in ("Constant", "Transpose", "Reshape"):
            return tuple(self.array(name).shape)
        return self.constant_shape(node.input[0])

    def array(self, name: str) -> Array:
        """The values of a constant.

        Raises:
            ModelError: its data cannot be read.
        """
        if name not in self._arrays:
            self._arrays[name] = self._evaluate(name)
        return self._arrays[name]

    def _evaluate(self, name: str) -> Array:
        if name in self._initialisers:
            tensor = self._initialisers[name]
            try:
                return np.asarray(numpy_helper.to_array(tensor, str(self.path.parent)))
            except (ValueError, TypeError, OSError, onnx.checker.ValidationError) as error:
                raise self.error(
                    f"the data of weight '{name}' is damaged: {_one_line(error)}"
                ) from error
        node = self.producer[name]
        given = attributes(node)
        if node.op_type == "Constant":
            return _constant_value(self, node, given)
        first = self.array(node.input[0])
        match node.op_type:
            case "Transpose":
                return np.transpose(first, given.get("perm"))
            case "Reshape":
                return first.reshape([int(n) for n in self.array(node.input[1])])
            case "Cast":
                return first.astype(onnx.helper.tensor_dtype_to_np_dtype(given["to"]))
            case "DequantizeLinear":
                return self._dequantise(node, first)
            case "QuantizeLinear":
                raise self.error(
                    "weights must be stored as integers; quantise the file again", node
                )
        return first

    def _dequantise(self, node: onnx.NodeProto, integers: Array) -> Array:
        scale, zero = self.scale_and_zero(node, integers.shape)
        return (integers.astype(np.float64) - zero) * scale

    def scale_and_zero(self, node: onnx.NodeProto, shape: Shape) -> tuple[Array, Array]:
        """Scale and zero point of a constant's DequantizeLinear node, broadcast to ``shape``."""
        axis = int(attributes(node).get("axis", 1))
        zero = node.input[2] if len(node.input) > 2 else ""
        return self.along(node.input[1], shape, axis), self.along(zero, shape, axis)

    def along(self, name: str, shape: Shape, axis: int) -> Array:
        """One number, or one for each index of ``axis``, broadcast to ``shape``; 0 for no name.

        Raises:
            ModelError: the constant has another number of elements.
        """
        values = self.array(name) if name else np.zeros((), np.int64)
        form = [1] * len(shape)
        if values.size != 1:
            form[axis] = shape[axis]
        if values.size != np.prod(form):
            raise self.error(
                f"'{name}' of shape {values.shape} does not give one number for each of "
                f"{shape[axis]} channels; quantise per channel or per tensor"
            )
        return np.broadcast_to(values.reshape(form), shape)

    # -- reading ---------------------------------------------------------------------------------

    def _check_external(self, tensor: onnx.TensorProto) -> None:
        if not external_data_helper.uses_external_data(tensor):
            return
        info = external_data_helper.ExternalDataInfo(tensor)
        folder = self.path.parent.resolve()
        file = (folder / info.location).resolve()
        if not info.location or not file.is_relative_to(folder):
            raise self.error(
                f"weight '{tensor.name}' is stored at '{info.location}', outside its "
                "folder; save the model with its data beside it"
            )
        if not file.is_file():
            raise self.error(
                f"the external data file '{info.location}' is missing; copy it beside the model"
            )
        end = (info.offset or 0) + (info.length or 0)
        if file.stat().st_size < end:
            raise self.error(
                f"the external data file '{info.location}' is truncated: {file.stat().st_size} of "
                f"{end} bytes; copy it again"
            )

    def _input_shape(
        self, value: onnx.ValueInfoProto, batch: int, dims: Mapping[str, int]
    ) -> Shape:
        shape = []
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            size = dim.dim_value if dim.dim_value > 0 else dims.get(dim.dim_param, 0)
            if not size and axis == 0:
                size = batch
            if not size:
                what = f"'{dim.dim_param}'" if dim.dim_param else "without a name"
                raise self.error(
                    f"input '{value.name}' has a dynamic size {what} on axis {axis}; give it as "
                    f"dims={{{dim.dim_param or 'name'!r}: size}} or export with fixed sizes"
                )
            shape.append(size)
        if len(shape) < 2:
            raise self.error(f"input '{value.name}' of shape {shape} needs a batch and a data axis")
        return tuple(shape)

    def _check_provided(self, graph: onnx.GraphProto) -> None:
        known = self.producer.keys() | self.inputs.keys() | self._initialisers.keys()
        for node in graph.node:
            for name in node.input:
                if name and name not in known:
                    raise self.error(
                        f"nothing provides '{name}': a weight is missing; export with weights", node
                    )
        for name in self.outputs:
            if name not in known:
                raise self.error(f"nothing provides output '{name}'; the file is damaged")

    def _sorted(self, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        position = {name: i for i, node in enumerate(nodes) for name in node.output if name}
        order = nx.DiGraph()
        order.add_nodes_from(range(len(nodes)))
        order.add_edges_from(
            (position[name], i)
            for i, node in enumerate(nodes)
            for name in node.input
            if name in position
        )
        try:
            return [nodes[i] for i in nx.lexicographical_topological_sort(order)]
        except nx.NetworkXUnfeasible:
            cycle = [node_name(nodes[edge[0]]) for edge in nx.find_cycle(order)]
            raise self.error(
                f"the graph has a cycle: {' -> '.join(cycle)}; unroll recurrent layers"
            ) from None

    @cached_property
    def inferred(self) -> Mapping[str, Shape]:
        """Shapes that ONNX infers, batch included; values it cannot infer are absent."""
        model, graph = self._model, self._model.graph
        stored = list(graph.initializer)
        inputs = [
            onnx.helper.make_tensor_value_info(
                name, value.type.tensor_type.elem_type, self.inputs[name]
            )
            for value in graph.input
            if (name := value.name) in self.inputs
        ]
        model.ir_version = max(model.ir_version, 4)  # initialisers need not be inputs
        del graph.initializer[:], graph.input[:], graph.value_info[:]
        for tensor in stored:
            if int(np.prod(tensor.dims)) <= _SMALL and not external_data_helper.uses_external_data(
                tensor
            ):
                graph.initializer.append(tensor)
            else:
                inputs.append(
                    onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
                )
        graph.input.extend(inputs)
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
        try:
            done = shape_inference.infer_shapes(model, data_prop=True)
        except shape_inference.InferenceError as error:
            raise self.error(f"shape inference fails: {_one_line(error)}") from error
        shapes = {}
        for value in (*done.graph.value_info, *done.graph.output):
            sizes = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            if value.type.tensor_type.HasField("shape") and all(sizes):
                shapes[value.name] = sizes
        return shapes


def node_name(node: onnx.NodeProto) -> str:
    """The node's name, or that of its first output where it has none."""
    return str(node.name or next(iter(node.output), ""))


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes as Python values."""
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode(errors="replace") if isinstance(v, bytes) else v for k, v in values.items()}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _parse(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise ModelError(str(path), "there is no such file")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises different types for damaged bytes
        raise ModelError(
            str(path), f"not an ONNX file, or truncated ({_one_line(error)}); export it again"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ModelError(str(path), "the file holds no ONNX graph; export it again")
    if not all(isinstance(name, str) for name in _names(model.graph)):
        raise ModelError(str(path), "names are not text: the file is damaged; export it again")
    return inliner.inline_local_functions(model) if model.functions else model


def _names(graph: onnx.GraphProto) -> Iterator[object]:
    """All names in the graph; protobuf gives bytes where they are not UTF-8."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _constant_value(file: OnnxFile, node: onnx.NodeProto, given: Mapping[str, Any]) -> Array:
    if "value" in given:
        return np.asarray(numpy_helper.to_array(given["value"]))
    for name, kind in (("int", np.int64), ("float", np.float32)):
        for form in (f"value_{name}", f"value_{name}s"):
            if form in given:
                return np.asarray(given[form], dtype=kind)
    raise file.error(f"constants of the form {sorted(given)} are not supported", node)
