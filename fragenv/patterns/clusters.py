"""Clusters: what mining moves as one piece, an operator with the activations that follow it alone.

An activation that is the only reader of its operand cannot be told apart from its producer: a
circuit applies it on the way out. Clusters are chains of which only the last tensor is read from
outside, so that a connected, convex set of clusters is a connected, convex set of operators, and
contracting them leaves the graph acyclic.
"""

from __future__ import annotations

from collections.abc import Sequence

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import ACTIVATION_KINDS, Operator, OpKind


def activation_clusters(
    graph: DataflowGraph, operators: Sequence[Operator]
) -> list[tuple[Operator, ...]]:
    """``operators`` (in a topological order) in clusters, in the order of their first operators.

    An activation after a concatenation stays alone: a concatenation moves no data and has no
    circuit that could apply it.
    """
    clusters: dict[str, list[Operator]] = {}
    for op in operators:
        producer = graph.producer.get(op.inputs[0], "") if op.inputs else ""
        home = clusters.get(producer)
        alone = bool(op.inputs) and graph.consumers[op.inputs[0]] == (op.name,)
        alone = alone and op.inputs[0] not in graph.outputs
        if op.kind in ACTIVATION_KINDS and alone and home and home[0].kind is not OpKind.CONCAT:
            home.append(op)
            clusters[op.name] = home
        else:
            clusters[op.name] = [op]
    return [tuple(ops) for name, ops in clusters.items() if ops[0].name == name]
