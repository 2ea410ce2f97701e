"""Which tensors of a float ONNX model must share one scale, and the range that they share.

A concatenation moves no data: its parts are written where the result lies, so parts and result
count in the same units. Maxima, activations and reshapes leave int8 values as they are, and so
tie their inputs to their outputs, too.
"""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx
import onnx

#: least and largest real value
Range = tuple[float, float]

_ACTIVATIONS = frozenset({"Relu", "Clip"})
#: operators whose result has the scale of their first input; of a concatenation, of all inputs
_SAME_SCALE = _ACTIVATIONS | {
    *("Concat", "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
    *("Identity", "Dropout"),
}


def common_ranges(
    model: onnx.ModelProto, ranges: Mapping[str, Range], tied_means: bool
) -> dict[str, Range]:
    """The range of every tensor that shares its scale with others.

    A group's range spans those of its tensors. What only an activation reads does not count: the
    activation cuts it off.

    Args:
        model: a float model.
        ranges: of its activations, from calibration.
        tied_means: whether the result of an AveragePool has its input's scale.
    """
    same_scale = _SAME_SCALE | {"AveragePool"} if tied_means else _SAME_SCALE
    ties = nx.Graph()
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
        if node.op_type in same_scale:
            inputs = node.input if node.op_type == "Concat" else node.input[:1]
            ties.add_edges_from((name, node.output[0]) for name in inputs)
    outputs = {value.name for value in model.graph.output}

    def counts(name: str) -> bool:
        kinds = [node.op_type for node in readers.get(name, [])]
        return name in outputs or len(kinds) != 1 or kinds[0] not in _ACTIVATIONS

    result: dict[str, Range] = {}
    for group in nx.connected_components(ties):
        known = [name for name in group if name in ranges]
        spans = [ranges[name] for name in known if counts(name)]
        if spans:
            span = (min(low for low, _ in spans), max(high for _, high in spans))
            result.update(dict.fromkeys(known, span))
    return result
