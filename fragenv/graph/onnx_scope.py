"""What the handlers of ONNX operators work with: values, constants, and notes on quantisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

from fragenv.graph.builder import GraphBuilder, Shape, Value
from fragenv.graph.onnx_file import Array, OnnxFile, attributes, node_name
from fragenv.graph.refused import RefusedError
from fragenv.graph.windows import Window, same_padding, widened

#: operators whose further inputs are settings, not data
DATA_INPUTS = dict.fromkeys(
    (
        *("Reshape", "Squeeze", "Unsqueeze", "Clip", "ReduceMean", "Dropout", "Pad"),
        *("QuantizeLinear", "DequantizeLinear", "Gather", "Slice", "Split"),
    ),
    1,
)


@dataclass(frozen=True, slots=True)
class ScaleNames:
    """Where the file keeps a tensor's scale and zero point ('' where it has none).

    Without a scale the integers stand for themselves: only the zero point is known.
    """

    scale: str
    zero_point: str
    node: onnx.NodeProto


@dataclass(frozen=True, slots=True)
class WeightNames:
    """Where the file keeps the numbers of a convolution or matrix product.

    ``weight`` is the value that the node reads. ``scale`` and ``zero_point`` are '' where a
    DequantizeLinear node holds them. ``transposed``: stored (inputs, outputs). ``integers``: the
    operator's result is the integer sum itself (ConvInteger, MatMulInteger). The real weight and
    bias are those of the file times ``factor`` and ``bias_factor``.
    """

    node: onnx.NodeProto
    weight: str
    bias: str = ""
    scale: str = ""
    zero_point: str = ""
    transposed: bool = False
    factor: float = 1.0
    bias_factor: float = 1.0
    integers: bool = False


@dataclass(frozen=True, slots=True)
class Scaling:
    """A per-channel operator y = a*x + b of the file: the tensor it reads, and its node."""

    source: str
    node: onnx.NodeProto


class Call:
    """A node with its attributes."""

    def __init__(self, file: OnnxFile, node: onnx.NodeProto) -> None:
        self.node, self.file = node, file
        self.name, self.out, self.inputs = node_name(node), node.output[0], list(node.input)
        self.attributes = attributes(node)

    def get(self, name: str, default: Any) -> Any:
        return self.attributes.get(name, default)

    def optional(self, index: int) -> str:
        """The name of input ``index``, '' where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def setting(self, name: str, index: int) -> Array | None:
        """A setting that is an attribute in old files and a constant input in new ones."""
        if name in self.attributes:
            return self.attributes[name]  # type: ignore[no-any-return]
        source = self.optional(index)
        if not source:
            return None
        if not self.file.is_constant(source):
            raise RefusedError(f"'{name}' is computed from the input; make it constant")
        return self.file.array(source)

    def window(self, kernel: Shape, x: Value) -> Window:
        """The node's window over the rows and columns of ``x``, whose frame becomes padding."""
        size = x.shape[1:]
        if x.frame is None or len(size) != 2:
            return self._window(kernel, size)
        top, left, bottom, right = x.frame.padding
        window = self._window(kernel, (size[0] + top + bottom, size[1] + left + right))
        return widened(window, x.frame.padding)

    def _window(self, kernel: Shape, size: Shape) -> Window:
        if len(kernel) != 2 or len(size) != 2:
            raise RefusedError(
                f"only 2-D windows are supported, got kernel {kernel}; use 2-D layers"
            )
        strides, dilations = self.get("strides", [1, 1]), self.get("dilations", [1, 1])
        top, left, bottom, right = self.get("pads", [0, 0, 0, 0])
        window = Window(
            (kernel[0], kernel[1]),
            (strides[0], strides[1]),
            (top, left, bottom, right),
            (dilations[0], dilations[1]),
        )
        mode = self.get("auto_pad", "NOTSET")
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            return same_padding((size[0], size[1]), window, mode == "SAME_UPPER")
        return window


class Scope:
    """Values seen so far, and notes of where the file keeps the numbers of the graph.

    Attributes:
        batch: the first axis of every value in the file.
        scales: tensor -> every place where the file gives its scale.
        weights: output tensor of a MAC operator as imported -> its numbers.
        scalings: output tensor of a per-channel operator as imported -> where its numbers are.
    """

    def __init__(self, file: OnnxFile, builder: GraphBuilder) -> None:
        self.file, self.builder = file, builder
        self.batch = 0
        self.scales: dict[str, list[ScaleNames]] = {}
        self.weights: dict[str, WeightNames] = {}
        self.scalings: dict[str, Scaling] = {}
        self._values: dict[str, Value] = {}

    def begin(self, name: str, shape: Shape) -> None:
        """Add a graph input; ``shape`` with the batch."""
        if self.batch not in (0, shape[0]):
            raise self.file.error(f"inputs have batches of {self.batch} and {shape[0]}")
        self.batch = shape[0]
        try:
            self.bind(name, self.builder.input(name, shape[1:]))
        except RefusedError as error:
            raise self.file.error(f"input '{name}': {error}") from error

    def bind(self, name: str, value: Value) -> None:
        self._values[name] = value

    def is_activation(self, name: str) -> bool:
        return name in self._values

    def framed(self, name: str) -> Value:
        """The activation called ``name`` in the file, perhaps with a frame around it."""
        if name not in self._values:
            raise RefusedError(f"operand '{name}' must be computed from the input, not constant")
        return self._values[name]

    def value(self, name: str) -> Value:
        """The activation called ``name`` in the file.

        Raises:
            RefusedError: a Pad operator made it.
        """
        x = self.framed(name)
        if x.frame is not None:
            raise RefusedError(
                f"operand '{name}' is padded, which only a convolution or pool right after the "
                "padding can take in; give this operator the unpadded value"
            )
        return x

    def weight_shape(self, name: str) -> Shape:
        """The shape of the constant ``name``."""
        if not self.file.is_constant(name):
            raise RefusedError(
                f"weight '{name}' is not a constant; only constant weights multiply "
                "(fold constants before exporting)"
            )
        return self.file.constant_shape(name)

    def note_scale(self, value: Value, scale: str, zero_point: str, node: onnx.NodeProto) -> None:
        self.scales.setdefault(value.tensor, []).append(ScaleNames(scale, zero_point, node))


Handler = Callable[[Scope, Call], Value]


class Registry(dict[tuple[str, str], Handler]):
    """(domain, operator type) -> handler."""

    def handles(self, *operators: str, domain: str = "") -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self.update({(domain, operator): handler for operator in operators})
            return handler

        return register
