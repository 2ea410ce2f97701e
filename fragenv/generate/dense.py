"""The extended space: all graphs of some operator nodes between an input and an output.

Six operator nodes make the space in which NAS-Bench-201's cells lie and which is far larger: 28
possible edges, and an operator at every inner node. A node may be absent (``NONE``, without edges),
so that every smaller architecture has a place too. One-shot systems work on these arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fragenv.generate import nb201
from fragenv.generate.architecture import INPUT, OUTPUT, Architecture, ArchitectureError

#: the type of a node that is not there
NONE = "none"

Types = npt.NDArray[np.int64]
Adjacency = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DenseSpace:
    """Architectures of ``nodes`` nodes, input and output among them, over some operators."""

    nodes: int = 8
    operators: tuple[str, ...] = nb201.OPERATORS

    @property
    def node_types(self) -> tuple[str, ...]:
        """The meaning of the numbers in ``Types``."""
        return INPUT, *self.operators, OUTPUT, NONE

    def encode(self, architecture: Architecture) -> tuple[Types, Adjacency]:
        """(nodes,) types and (nodes, nodes) edges [from, to]. Absent nodes stand before the output.

        Raises:
            ArchitectureError: too many nodes, or an operator that the space has not.
        """
        if len(architecture) > self.nodes:
            raise ArchitectureError(
                f"{len(architecture)} nodes do not fit the space of {self.nodes}; choose a larger "
                "one"
            )
        names = self.node_types
        for node, op in enumerate(architecture.ops):
            if op not in names:
                raise ArchitectureError(
                    f"node {node}: the space has no '{op}', only {', '.join(self.operators)}"
                )
        types = np.full(self.nodes, names.index(NONE))
        adjacency = np.zeros((self.nodes, self.nodes), dtype=np.bool_)
        last = len(architecture) - 1
        place = [*range(last), self.nodes - 1]
        for node, op in enumerate(architecture.ops):
            types[place[node]] = names.index(op)
        for src, dst in architecture.edges:
            adjacency[place[src], place[dst]] = True
        return types, adjacency

    def decode(self, types: Types, adjacency: Adjacency, origin: str = "") -> Architecture:
        """The architecture of the arrays; edges of absent nodes and below the diagonal are ignored.

        Raises:
            ArchitectureError: they are none: no path from input to output.
        """
        names = self.node_types
        held = [node for node in range(self.nodes) if names[int(types[node])] != NONE]
        place = {node: i for i, node in enumerate(held)}
        edges = [
            (place[src], place[dst])
            for src in held
            for dst in held
            if src < dst and adjacency[src, dst]
        ]
        return Architecture(tuple(names[int(types[node])] for node in held), tuple(edges), origin)

    def random(self, rng: np.random.Generator) -> Architecture:
        """Every inner node of a random type, every edge with probability one half; drawn again
        until there is a path from input to output."""
        inner = len(self.operators)
        while True:
            types = np.concatenate(([0], rng.integers(1, inner + 1, self.nodes - 2), [inner + 1]))
            adjacency = np.triu(rng.random((self.nodes, self.nodes)) < 0.5, 1)
            try:
                return self.decode(types, adjacency, "random")
            except ArchitectureError:
                continue
