"""What there is to learn from, and how it becomes tensors and back."""

from __future__ import annotations

import numpy as np
import pytest
from small_corpus import convolutions, corpus

from fragenv.generate import corpora
from fragenv.generate.architecture import Architecture
from fragenv.generate.canonical import Distinct, same
from fragenv.generate.vocabulary import Vocabulary


def test_pruned__is_the_same_function_without_dead_nodes() -> None:
    dead = Architecture(
        ("input", "skip", "conv3x3", "conv1x1", "output"), ((0, 1), (0, 2), (2, 4), (1, 3))
    )
    alive = corpora.pruned(dead)
    assert alive == Architecture(("input", "conv3x3", "output"), ((0, 1), (1, 2)))
    for cell in corpus(20, 6):
        assert same(corpora.pruned(cell), cell)
        assert len(corpora.pruned(cell).live) == len(corpora.pruned(cell))


def test_wired__are_different_functions_and_the_same_every_time() -> None:
    found = corpora.wired(60, 3)
    assert len(found) == 60 and {len(a) for a in found} == {7, 8, 9}
    distinct = Distinct()
    assert all(distinct.add(a) for a in found)
    assert all(len(a.live) == len(a) for a in found)
    corpora.wired.cache_clear()
    assert corpora.wired(60, 3) == found
    assert not set(found) & set(corpora.wired(60, 4))


def test_vocabulary__round_trips() -> None:
    cells = corpus(20, 4)
    scores = [convolutions(a) for a in cells]
    vocabulary = Vocabulary.of(cells, scores)
    assert vocabulary.architectures(vocabulary.graphs(cells), "") == cells
    assert Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary
    assert vocabulary.holds(cells[0]) and not vocabulary.holds(corpora.wired(60, 3)[0])
    rng = np.random.default_rng(0)
    wanted = vocabulary.conditions(4, {"convolutions": 2.0}, rng)
    most = max(score["convolutions"] for score in scores)
    assert wanted[:, 0].tolist() == pytest.approx([2 / most] * 4)
    assert vocabulary.conditions(4, {}, rng).unique().numel() == 4
    broken = vocabulary.graphs(cells[:2])
    broken.edges[0] = False
    assert vocabulary.architectures(broken, "")[0] is None
