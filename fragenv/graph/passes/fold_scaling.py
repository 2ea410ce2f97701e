"""Fold per-channel scalings (batch normalisation, added biases) into the layer before them."""

from __future__ import annotations

from dataclasses import replace

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import Operator


def fold_scaling(graph: DataflowGraph, scalings: frozenset[str]) -> DataflowGraph:
    """Remove each operator named in ``scalings`` whose producer can absorb it.

    A scaling is a 1x1 depthwise convolution y = a*x + b. A convolution or matrix product whose
    result nothing else reads computes y itself: its weights times a, its bias times a plus b.
    Every other scaling stays the convolution that it is.
    """
    kept: dict[str, Operator] = {}
    maker: dict[str, str] = {}  # tensor -> name of the operator that now produces it
    dropped: set[str] = set()
    for op in graph.operators:
        source = op.inputs[0]
        before = kept.get(maker.get(source, ""))
        if (
            op.name in scalings
            and before is not None
            and before.is_mac
            and len(graph.consumers[source]) == 1
            and source not in graph.outputs
            and before.nest.k == op.nest.k
        ):
            kept[before.name] = replace(before, output=op.output)
            maker[op.output] = before.name
            dropped.add(source)
        else:
            kept[op.name] = op
            maker[op.output] = op.name
    if not dropped:
        return graph
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in dropped}
    return DataflowGraph(graph.name, kept.values(), tensors, graph.inputs, graph.outputs)
