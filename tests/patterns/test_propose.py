"""Proposals: the nearest pairs, by whatever distance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from test_edit_distance import chain, conv, plain

from fragenv.errors import FragenvError
from fragenv.graph.operators import OpKind
from fragenv.patterns.similarity.propose import (
    Matrix,
    encoder_distances,
    propose_merges,
    wl_distances,
)
from fragenv.patterns.similarity.typed import TypedGraph

GRAPHS = [
    chain(conv(), plain(OpKind.RELU)),
    chain(plain(OpKind.MAXPOOL)),
    chain(conv(5), plain(OpKind.RELU)),
    chain(conv(), plain(OpKind.RELU), plain(OpKind.MAXPOOL)),
]


def test_propose__nearest_first() -> None:
    def distances(graphs: Sequence[TypedGraph]) -> Matrix:
        return np.array([[0, 5, 2, 1], [5, 0, 5, 4], [2, 5, 0, 3], [1, 4, 3, 0]], dtype=float)

    wanted = [(0, 3), (0, 2), (2, 3), (1, 3), (0, 1), (1, 2)]
    assert propose_merges(GRAPHS, 6, distances) == wanted
    assert propose_merges(GRAPHS, 2, distances) == wanted[:2]
    assert propose_merges(GRAPHS, 99, distances) == wanted
    assert propose_merges(GRAPHS, 0, distances) == []


def test_propose__by_the_encoder_another_kernel_comes_before_another_operator() -> None:
    assert propose_merges(GRAPHS, 1) == [(0, 2)]
    assert (0, 1) in propose_merges(GRAPHS, 6)[3:]


@pytest.mark.parametrize("how", [encoder_distances, wl_distances])
def test_distances__form_a_matrix(how: object) -> None:
    matrix = how(GRAPHS)  # type: ignore[operator]
    assert matrix.shape == (4, 4)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
    np.testing.assert_allclose(matrix.diagonal(), 0, atol=1e-5)
    assert propose_merges([], 3, how) == []  # type: ignore[arg-type]


def test_propose__refuses_a_negative_number() -> None:
    with pytest.raises(FragenvError, match="must not be negative, got -1"):
        propose_merges(GRAPHS, -1)
