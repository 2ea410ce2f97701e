"""Randomly wired architectures: relational graphs whose edges are given a direction.

Xie et al.: Exploring Randomly Wired Neural Networks for Image Recognition, ICCV 2019: edges lead
from lower to higher numbers, nodes without a source read the input, nodes without a reader feed the
output.
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np

from fragenv.errors import FragenvError
from fragenv.generate.architecture import INPUT, OUTPUT, Architecture
from fragenv.generate.generator import Attributes, Feasible, NotFittedError, Sample
from fragenv.generate.relational import ws_flex

#: most rewiring; above it sparse graphs are seldom connected
_REWIRING = 0.75


def wired(graph: nx.Graph, operators: Sequence[str], origin: str = "") -> Architecture:
    """The architecture of an undirected graph over nodes 0, 1, ..., one operator for each."""
    last = len(operators) + 1
    edges = [(min(pair) + 1, max(pair) + 1) for pair in graph.edges]
    targets, sources = {dst for _, dst in edges}, {src for src, _ in edges}
    edges += [(0, node) for node in range(1, last) if node not in targets]
    edges += [(node, last) for node in range(1, last) if node not in sources]
    return Architecture((INPUT, *operators, OUTPUT), tuple(edges), origin)


class WsFlexGenerator:
    """WS-flex graphs of the sizes of the corpus, with its operators as often as it has them;
    conditions are ignored."""

    name = "ws_flex"

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._operators: list[str] = []
        self._feasible = Feasible({}, {})

    def fit(
        self, corpus: Sequence[Architecture], scores: Sequence[Attributes] | None, seed: int
    ) -> None:
        self._operators = [op for a in corpus for op in a.ops if op not in (INPUT, OUTPUT)]
        if not self._operators:
            raise FragenvError("cannot learn from an empty corpus; give architectures")
        self._sizes = [max(1, len(a) - 2) for a in corpus]
        self._feasible = Feasible.of(scores or ())

    def sample(
        self,
        n: int,
        condition: Attributes | None = None,
        reference: Architecture | None = None,
        *,
        rng: np.random.Generator,
    ) -> Sample:
        if not self._sizes:
            raise NotFittedError(self.name)
        aimed, notice = self._feasible.nearest(condition)
        return Sample(tuple(self._draw(rng) for _ in range(n)), n, aimed, notice)

    def _draw(self, rng: np.random.Generator) -> Architecture:
        size = int(rng.choice(self._sizes))
        operators = [str(op) for op in rng.choice(self._operators, size)]
        graph = nx.empty_graph(size)
        if size > 1:
            degree = float(rng.uniform(min(2, size - 1), size - 1))
            rewiring = float(rng.uniform(0, _REWIRING))
            graph = ws_flex(size, degree, rewiring, int(rng.integers(2**32)))
        return wired(graph, operators, f"{self.name}, {size} nodes")

    def log_prob(self, architecture: Architecture) -> float | None:
        """None: many graphs and rewirings lead to the same architecture."""
        return None
