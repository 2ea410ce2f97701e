"""One score between 0 and 1 from the two that need no training.

Their scales have nothing to do with each other, so each is replaced by the share of the cells of
NAS-Bench-201 that it exceeds, and the two shares are averaged: 1 is better than all of them by
both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fragenv.generate.architecture import OPERATORS, Architecture
from fragenv.generate.dense import DenseSpace
from fragenv.generate.table import COLUMNS, cell_scores
from fragenv.generate.zero_cost import ProxyConfig, ZeroCost

#: initialisations that are averaged, as in the table of all cells
SEEDS = 3
#: of the largest cells that can be scored
MOST_NODES = 8

Values = npt.NDArray[np.float64]


class Ranking:
    """Scores architectures of up to ``MOST_NODES`` nodes against all cells of NAS-Bench-201."""

    def __init__(self) -> None:
        rows = [[scores[name] for name in COLUMNS] for scores in cell_scores().values()]
        self._sorted: Values = np.sort(np.array(rows), axis=0)
        space = DenseSpace(MOST_NODES, OPERATORS)
        config = ProxyConfig()
        self._scorers = [
            ZeroCost(space, replace(config, seed=config.seed + seed)) for seed in range(SEEDS)
        ]

    def __call__(self, architectures: Sequence[Architecture]) -> list[float]:
        """The score of each.

        Raises:
            ArchitectureError: one has too many nodes.
        """
        total = np.zeros((len(architectures), len(COLUMNS)))
        for scorer in self._scorers:
            rows = [(s.naswot, s.log_synflow) for s in scorer.scores(architectures)]
            total += np.array(rows).reshape(total.shape)
        scores: list[float] = self.of_values(total / SEEDS).tolist()
        return scores

    def of_values(self, values: Values) -> Values:
        """(n,) scores of (n, 2) values of ``table.COLUMNS``."""
        shares = [
            np.searchsorted(self._sorted[:, column], values[:, column]) / len(self._sorted)
            for column in range(values.shape[1])
        ]
        mean: Values = np.mean(shares, axis=0)
        return mean
