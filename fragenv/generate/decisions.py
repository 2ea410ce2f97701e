"""Spaces of cells as sequences of decisions, for systems that build a cell one decision at a time.

Every decision has the same number of options; which of them are allowed after what has been
chosen says the space, so that every sequence of allowed options ends in an architecture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Protocol

import numpy as np

from fragenv.generate import nb201
from fragenv.generate.architecture import Architecture, ArchitectureError
from fragenv.generate.dense import NONE, DenseSpace

#: the options chosen so far, or all of them
Chosen = tuple[int, ...]


class Decisions(Protocol):
    """A space of cells. ``length`` decisions make one, each of ``options`` options."""

    @property
    def length(self) -> int: ...

    @property
    def options(self) -> int: ...

    def allowed(self, chosen: Chosen) -> tuple[bool, ...]:
        """For each option, whether it may come after ``chosen``; at least one may."""
        ...

    def build(self, chosen: Chosen) -> Architecture:
        """The architecture of all ``length`` decisions, each allowed."""
        ...

    def sequences(self, architecture: Architecture) -> Sequence[Chosen]:
        """All decisions that make this numbered graph; none where the space does not hold it."""
        ...


class CellDecisions:
    """NAS-Bench-201: what stands on each of the six edges. ``none`` is forbidden where it would
    leave no path from input to output."""

    length = len(nb201.EDGES)
    options = len(nb201.NAMES)
    _names = tuple(nb201.NAMES)

    def allowed(self, chosen: Chosen) -> tuple[bool, ...]:
        prefixes = _runnable_prefixes()
        return tuple((*chosen, option) in prefixes for option in range(self.options))

    def build(self, chosen: Chosen) -> Architecture:
        return nb201.from_choices(self.choices(chosen))

    def sequences(self, architecture: Architecture) -> Sequence[Chosen]:
        return _cells_by_graph().get(architecture, ())

    def choices(self, chosen: Chosen) -> nb201.Choices:
        """The cell in published names."""
        return tuple(self._names[option] for option in chosen)  # type: ignore[return-value]

    def chosen(self, choices: nb201.Choices) -> Chosen:
        """The inverse of ``choices``."""
        return tuple(self._names.index(name) for name in choices)


@cache
def _runnable_prefixes() -> frozenset[Chosen]:
    """The beginnings of all runnable cells."""
    cells = map(CellDecisions().chosen, nb201.runnable_choices())
    return frozenset(cell[:end] for cell in cells for end in range(1, len(cell) + 1))


@cache
def _cells_by_graph() -> dict[Architecture, tuple[Chosen, ...]]:
    """Cells that differ only in nodes without effect may be one numbered graph."""
    found: defaultdict[Architecture, list[Chosen]] = defaultdict(list)
    for choices in nb201.runnable_choices():
        found[nb201.from_choices(choices)].append(CellDecisions().chosen(choices))
    return {graph: tuple(cells) for graph, cells in found.items()}


class DenseDecisions:
    """An extended space: for each node its type, then for each earlier node whether it is read.

    Absent nodes come after all others and have no edge, so that an architecture is one sequence.
    """

    def __init__(self, space: DenseSpace) -> None:
        self.space = space
        last = space.nodes - 1
        #: (node, None) is the decision on a node's type, (node, source) that on an edge
        self._order = [
            (node, source)
            for node in range(1, space.nodes)
            for source in ((None, *range(node)) if node < last else range(node))
        ]
        #: inner types start at 1, after the input; the option of an absent node is the last
        self._absent = len(space.operators)
        self.length = len(self._order)
        self.options = max(len(space.operators) + 1, 2)

    def allowed(self, chosen: Chosen) -> tuple[bool, ...]:
        node, source = self._order[len(chosen)]
        types, adjacency = self._arrays(chosen)
        if source is None:
            gone = node > 1 and self._is_absent(types, node - 1)
            return tuple(
                option <= self._absent and (not gone or option == self._absent)
                for option in range(self.options)
            )
        edge = not (self._is_absent(types, node) or self._is_absent(types, source))
        no_edge = node < self.space.nodes - 1 or self._may_refuse(adjacency, source)
        return (no_edge, edge, *(False,) * (self.options - 2))

    def build(self, chosen: Chosen) -> Architecture:
        return self.space.decode(*self._arrays(chosen), "decisions")

    def sequences(self, architecture: Architecture) -> Sequence[Chosen]:
        try:
            types, adjacency = self.space.encode(architecture)
        except ArchitectureError:
            return ()
        absent = self.space.node_types.index(NONE)
        return (
            tuple(
                (self._absent if types[node] == absent else int(types[node]) - 1)
                if source is None
                else int(adjacency[source, node])
                for node, source in self._order
            ),
        )

    def _arrays(self, chosen: Chosen) -> tuple[np.ndarray, np.ndarray]:
        """What has been decided; nodes whose turn has not come are absent, without edges."""
        names = self.space.node_types
        absent = names.index(NONE)
        types = np.full(self.space.nodes, absent)
        types[0], types[-1] = 0, absent - 1
        adjacency = np.zeros((self.space.nodes, self.space.nodes), dtype=np.bool_)
        for (node, source), option in zip(self._order, chosen, strict=False):
            if source is None:
                types[node] = absent if option == self._absent else option + 1
            else:
                adjacency[source, node] = bool(option)
        return types, adjacency

    def _is_absent(self, types: np.ndarray, node: int) -> bool:
        return self.space.node_types[int(types[node])] == NONE

    def _may_refuse(self, adjacency: np.ndarray, source: int) -> bool:
        """Whether the output may do without ``source``: it reads what the input reaches already, or
        may still."""
        reached = {0}
        last = self.space.nodes - 1
        for node in range(1, last):
            if any(adjacency[before, node] for before in reached):
                reached.add(node)
        return any(node > source or adjacency[node, last] for node in reached)
