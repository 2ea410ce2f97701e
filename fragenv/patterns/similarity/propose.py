"""Proposals: of all pairs of patterns, those most alike, which are worth trying to merge first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from fragenv.errors import FragenvError
from fragenv.patterns.similarity import wl
from fragenv.patterns.similarity.encoder import point_distances
from fragenv.patterns.similarity.typed import TypedGraph
from fragenv.patterns.similarity.weights import load_encoder

Matrix = npt.NDArray[np.float64]
Pair = tuple[int, int]


def encoder_distances(graphs: Sequence[TypedGraph]) -> Matrix:
    """Distances of all pairs by the encoder that ships with the package."""
    points = load_encoder().embed(graphs)
    rows = [point_distances(point, points).double().numpy() for point in points]
    return np.stack(rows) if rows else np.zeros((0, 0))


def wl_distances(graphs: Sequence[TypedGraph]) -> Matrix:
    """Distances of all pairs by the WL kernel's normalised form."""
    histograms = [wl.histogram(graph) for graph in graphs]
    return np.array([[wl.cosine_distance(a, b) for b in histograms] for a in histograms])


def propose_merges(
    graphs: Sequence[TypedGraph],
    k: int,
    distances: Callable[[Sequence[TypedGraph]], Matrix] = encoder_distances,
) -> list[Pair]:
    """The ``k`` pairs of ``graphs`` that are most alike (all where there are fewer), nearest
    first, as indices; equally near ones in the order of the indices.

    Raises:
        FragenvError: ``k`` is negative.
    """
    if k < 0:
        raise FragenvError(f"the number of pairs must not be negative, got {k}")
    matrix = distances(graphs)
    pairs = list(combinations(range(len(graphs)), 2))
    return sorted(pairs, key=lambda pair: float(matrix[pair]))[:k]
