"""Local response normalisation that an exporter wrote as a dozen nodes becomes one LRN node.

PyTorch's exporter writes ``x / (k + alpha * mean(x*x over channels)) ** beta`` as

    Mul(x, x) -> Reshape (an axis for the channels) -> Pad -> AveragePool (3-D) -> Squeeze
      -> Mul(alpha) -> Add(k) -> Pow(beta) -> Div(x, .)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import external_data_helper, numpy_helper

Array = npt.NDArray[Any]


def fuse_lrn(graph: onnx.GraphProto) -> None:
    """Replace the last node of every such chain, in place; the other nodes stay, unused.

    A chain whose window is not centred as ONNX's (PyTorch with an even size) stays as it is.
    """
    chains = _Chains(graph)
    for node in graph.node:
        if node.op_type != "Div" or len(node.input) != 2:
            continue
        found = chains.normalisation(node)
        if found is not None:
            name, output = node.name or node.output[0], node.output[0]
            node.CopyFrom(onnx.helper.make_node("LRN", [found.x], [output], name, **found.numbers))


@dataclass(frozen=True, slots=True)
class _Normalisation:
    x: str
    numbers: Mapping[str, float]


class _Chains:
    """Follows values of a graph back to what made them."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._producer = {name: node for node in graph.node for name in node.output}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}

    def normalisation(self, div: onnx.NodeProto) -> _Normalisation | None:
        """What the chain that ends in ``div`` computes; None where it is no such chain."""
        x, power = div.input
        base, beta = self._by_constant(power, "Pow")
        scaled, bias = self._by_constant(base, "Add")
        mean, alpha = self._by_constant(scaled, "Mul")
        size, squares = self._mean(mean)
        square = self._producer.get(squares)
        if square is None or square.op_type != "Mul" or list(square.input) != [x, x]:
            return None
        if beta is None or bias is None or alpha is None:
            return None
        return _Normalisation(x, {"alpha": alpha, "beta": beta, "bias": bias, "size": size})

    def _by_constant(self, name: str, operator: str) -> tuple[str, float | None]:
        """The operand and the number of a binary operator; no number where it is another one."""
        node = self._producer.get(name)
        if node is None or node.op_type != operator:
            return "", None
        for operand, other in (list(node.input), list(node.input)[::-1]):
            number = self._array(other)
            if number is not None and number.size == 1:
                return operand, float(number.item())
            if operator == "Pow":
                break
        return "", None

    def _mean(self, name: str) -> tuple[int, str]:
        """Window size over the channels, and the value whose mean it is; '' for another mean."""
        path = self._path(name, (("Squeeze", "Reshape"), ("AveragePool",), ("Pad",)))
        before = self._path(path[-1].input[0], (("Reshape", "Unsqueeze"),)) if path else []
        if not before or not self._adds_axis(before[0]):
            return 0, ""
        pool = {a.name: onnx.helper.get_attribute_value(a) for a in path[1].attribute}
        pads = self._array(path[2].input[1])
        kernel = list(pool.get("kernel_shape", []))
        size = kernel[0] if kernel else 0
        plain = kernel == [size, 1, 1] and not any(pool.get("pads", []))
        plain = plain and set(pool.get("strides", [1])) == {1} and not pool.get("ceil_mode", 0)
        # (batch, 1, channels, rows, columns): ONNX's window reaches (size - 1) // 2 channels down
        centred = [0, 0, (size - 1) // 2, 0, 0, 0, 0, size // 2, 0, 0]
        if not plain or pads is None or pads.tolist() != centred:
            return 0, ""
        return size, before[0].input[0]

    def _adds_axis(self, node: onnx.NodeProto) -> bool:
        """Whether a Reshape or Unsqueeze gives an image an axis of size 1 before the channels."""
        setting = self._array(node.input[1]) if len(node.input) > 1 else None
        if setting is None:
            return False
        if node.op_type == "Unsqueeze":
            return bool(np.array_equal(setting, [1]))
        return setting.size == 5 and int(setting[1]) == 1

    def _path(self, name: str, operators: Sequence[tuple[str, ...]]) -> list[onnx.NodeProto]:
        """The nodes of these types that lead to ``name``, the last first; [] if they do not."""
        path = []
        for types in operators:
            node = self._producer.get(name)
            if node is None or node.op_type not in types:
                return []
            path.append(node)
            name = node.input[0]
        return path

    def _array(self, name: str) -> Array | None:
        """The values of a constant that lies in the graph; None for another value."""
        tensor, node = self._constants.get(name), self._producer.get(name)
        if node is not None and node.op_type == "Constant":
            tensor = next((a.t for a in node.attribute if a.name == "value"), None)
        if tensor is None or external_data_helper.uses_external_data(tensor):
            return None
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError):  # damaged: whoever needs it will say so
            return None
