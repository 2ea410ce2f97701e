"""How different two sets of graphs are: maximum mean discrepancy of a statistic of their nodes.

You et al.: GraphRNN, ICML 2018, section 4: a graph becomes the distribution p of a statistic over
its nodes (degrees; clustering coefficients), and two distributions are compared by

    k(p, q) = exp(-W(p, q)^2 / (2 sigma^2))

where W is the earth mover's distance. On the line it is the area between the two distribution
functions. The discrepancy of two sets is mean k(x, x') + mean k(y, y') - 2 mean k(x, y) over all
pairs, pairs of a graph with itself among them, as in the published code. So are sigma and the
bins: degrees one by one with sigma 1; clustering in 100 bins from 0 to 1 with sigma 0.1. (The paper
prints the exponent without a sign and without the square.)
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

_BINS = 100
_DEGREE_SIGMA, _CLUSTERING_SIGMA = 1.0, 0.1

_Numbers = npt.NDArray[np.float64]


def degree_mmd(a: Sequence[nx.Graph], b: Sequence[nx.Graph]) -> float:
    """The squared discrepancy of the degrees; 0 for equal sets, 2 at most."""
    most = max((degree for graph in (*a, *b) for _, degree in graph.degree()), default=0)
    edges = np.arange(most + 2) - 0.5

    def shares(graphs: Sequence[nx.Graph]) -> _Numbers:
        return _shares([[d for _, d in graph.degree()] for graph in graphs], edges)

    return mmd(shares(a), shares(b), 1.0, _DEGREE_SIGMA)


def clustering_mmd(a: Sequence[nx.Graph], b: Sequence[nx.Graph]) -> float:
    """The squared discrepancy of the clustering coefficients."""
    edges = np.linspace(0, 1, _BINS + 1)

    def shares(graphs: Sequence[nx.Graph]) -> _Numbers:
        return _shares([list(nx.clustering(graph).values()) for graph in graphs], edges)

    return mmd(shares(a), shares(b), 1 / _BINS, _CLUSTERING_SIGMA)


def mmd(a: _Numbers, b: _Numbers, width: float, sigma: float) -> float:
    """The squared discrepancy of two sets of distributions.

    Args:
        a, b: (graphs, bins) shares that add up to 1.
        width: distance of two bins.
        sigma: of the kernel.
    """

    def mean_kernel(x: _Numbers, y: _Numbers) -> float:
        moved = cdist(x.cumsum(1), y.cumsum(1), "cityblock") * width
        return float(np.exp(-(moved**2) / (2 * sigma**2)).mean())

    return mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b)


def _shares(values: Sequence[Sequence[float]], edges: _Numbers) -> _Numbers:
    counts = np.array([np.histogram(row, edges)[0] for row in values], dtype=np.float64)
    shares: _Numbers = counts / counts.sum(1, keepdims=True)
    return shares
