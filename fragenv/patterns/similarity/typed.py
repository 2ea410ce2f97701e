"""Typed graphs: a pattern with the loop bounds of one occurrence.

Patterns do not see channels, similarity does: a fragment's lanes are chosen for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import Operator
from fragenv.patterns.canonical import structure
from fragenv.patterns.mine import internal_edges
from fragenv.patterns.pattern import Occurrence, label


@dataclass(frozen=True)
class TypedGraph:
    """Operators (names and tensors do not matter) and their edges.

    ``edges`` are sorted (source, destination, input slot) triples of indices into ``operators``,
    as in ``Pattern``: the slots of an addition are 0. Operators may be in any order.
    """

    operators: tuple[Operator, ...]
    edges: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.operators)

    @cached_property
    def slots(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """(source, destination) -> the slots through which the one feeds the other, sorted."""
        found: dict[tuple[int, int], list[int]] = {}
        for src, dst, slot in self.edges:
            found.setdefault((src, dst), []).append(slot)
        return {pair: tuple(sorted(slots)) for pair, slots in found.items()}

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What the circuits distinguish: kinds, kernels, strides."""
        return tuple(label(op) for op in self.operators)

    @property
    def nx(self) -> nx.DiGraph:
        """Nodes with ``label``, edges with ``slots``."""
        return structure(self.labels, self.edges)

    def renumbered(self, order: Iterable[int]) -> TypedGraph:
        """The same graph with operator ``order[i]`` at place i."""
        order = tuple(order)
        place = {old: new for new, old in enumerate(order)}
        edges = sorted((place[src], place[dst], slot) for src, dst, slot in self.edges)
        return TypedGraph(tuple(self.operators[i] for i in order), tuple(edges))


def typed_graph(graph: DataflowGraph, occurrence: Occurrence) -> TypedGraph:
    """The typed graph of one occurrence."""
    operators = [graph.op(name) for name in occurrence.operators]
    return TypedGraph(tuple(operators), internal_edges(operators))
