"""What a corpus of architectures is made of, and its architectures as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fragenv.errors import FragenvError
from fragenv.generate.architecture import INPUT, OUTPUT, Architecture, ArchitectureError
from fragenv.generate.dgmg_model import Graphs
from fragenv.generate.generator import Attributes, Feasible


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Node types (input first, output last), the most nodes, and the ranges of the attributes."""

    types: tuple[str, ...]
    max_nodes: int
    feasible: Feasible

    @staticmethod
    def of(corpus: Sequence[Architecture], scores: Sequence[Attributes] | None) -> Vocabulary:
        """The vocabulary of a corpus.

        Raises:
            FragenvError: the corpus is empty.
        """
        if not corpus:
            raise FragenvError("cannot learn from an empty corpus; give architectures")
        operators = {op for architecture in corpus for op in architecture.ops} - {INPUT, OUTPUT}
        return Vocabulary(
            (INPUT, *sorted(operators), OUTPUT),
            max(len(architecture) for architecture in corpus),
            Feasible.of(scores or ()),
        )

    def to_dict(self) -> dict[str, Any]:
        """What ``from_dict`` reads."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary of a JSON object.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return Vocabulary(
            tuple(data["types"]), int(data["max_nodes"]), Feasible(**data["feasible"])
        )

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the attributes."""
        return tuple(self.feasible.low)

    def holds(self, architecture: Architecture) -> bool:
        """Whether an architecture is made of these types and not too large."""
        return len(architecture) <= self.max_nodes and set(architecture.ops) <= set(self.types)

    def graphs(self, architectures: Sequence[Architecture]) -> Graphs:
        """Architectures as tensors, with probability 1 each."""
        count = len(architectures)
        types = torch.zeros(count, self.max_nodes, dtype=torch.long)
        edges = torch.zeros(count, self.max_nodes, self.max_nodes, dtype=torch.bool)
        for row, architecture in enumerate(architectures):
            numbers = [self.types.index(op) for op in architecture.ops]
            types[row, : len(numbers)] = torch.tensor(numbers)
            for src, dst in architecture.edges:
                edges[row, dst, src] = True
        sizes = torch.tensor([len(architecture) for architecture in architectures])
        return Graphs(sizes, types, edges, torch.zeros(count))

    def architectures(self, graphs: Graphs, origin: str) -> list[Architecture | None]:
        """The architectures of tensors, whose nodes are in a topological order; None for what is no
        architecture."""
        found: list[Architecture | None] = []
        for row, size in enumerate(graphs.sizes.tolist()):
            ops = tuple(self.types[t] for t in graphs.types[row, :size].tolist())
            edges = tuple((src, dst) for dst, src in graphs.edges[row].nonzero().tolist())
            try:
                found.append(Architecture(ops, edges, origin))
            except ArchitectureError:
                found.append(None)
        return found

    def scaled(self, scores: Sequence[Attributes]) -> Tensor:
        """(scores, attributes) as parts of their ranges, 0 to 1."""
        low, high = self.feasible.low, self.feasible.high
        rows = [
            [(score[n] - low[n]) / max(high[n] - low[n], 1e-12) for n in self.attributes]
            for score in scores
        ]
        return torch.tensor(rows).reshape(len(scores), len(self.attributes))

    def conditions(self, n: int, aimed: Attributes, rng: np.random.Generator) -> Tensor:
        """(n, attributes) what is aimed at, scaled; the rest anywhere in its range."""
        drawn = torch.from_numpy(rng.random((n, len(self.attributes)))).float()
        wanted = self.scaled([{**self.feasible.low, **aimed}])[0]
        for column, name in enumerate(self.attributes):
            if name in aimed:
                drawn[:, column] = wanted[column]
        return drawn
