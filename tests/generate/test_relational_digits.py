"""Relational graphs on digits: what is learnt, what is counted, what the page says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from fragenv.generate.relational import Measures, matched_width
from fragenv.generate.relational_digits import (
    LAYERS,
    Blocks,
    Learnt,
    RelationalPerceptron,
    Wiring,
    blocks,
    learnt,
    trained_accuracy,
)
from fragenv.models.digits import load_split

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
import bench_relational  # noqa: E402

sys.path.remove(str(SCRIPTS))

RING = Wiring(8, 2.0, 0.0)


def test_digits__come_in_their_own_size() -> None:
    small, large = load_split(3, (8, 8)), load_split(3)
    assert small.test_images.shape == (359, 1, 8, 8) and large.test_images.shape[2:] == (32, 32)
    assert (small.test_labels == large.test_labels).all()
    # sixteenths, as scikit-learn has them
    assert ((16 * small.test_images) % 1 == 0).all()


def test_training__learns_and_follows_from_its_seed() -> None:
    state = torch.random.get_rng_state()
    found = trained_accuracy(RING.graph(0), 32, seed=1, epochs=4)
    assert found > 0.85
    assert trained_accuracy(RING.graph(0), 32, seed=1, epochs=4) == found
    assert torch.equal(torch.random.get_rng_state(), state)


def test_learnt__compares_at_equal_width_and_at_equal_weights() -> None:
    ring = learnt(RING, 24, (0, 1), epochs=1)
    assert ring.measures == Measures(0.0, pytest.approx(16 / 7), pytest.approx(8 / 28))
    assert ring.widths == (matched_width(RING.graph(0), 24),) * 2 and ring.widths[0] > 24
    assert len(ring.same_width) == len(ring.same_weights) == 2
    complete = learnt(Wiring(8, 7.0, 0.0), 24, (0,), epochs=1)
    assert complete.widths == (24,) and complete.same_width == complete.same_weights


def test_perceptron__has_the_weights_of_the_edges() -> None:
    model = RelationalPerceptron(RING.graph(0), 32)
    used = [int(layer.mask.sum()) for layer in list(model.layers)[1:]]
    assert used == [8 * 3 * 4 * 4] * LAYERS


def test_blocks__are_all_found() -> None:
    found = blocks(RING.graph(0), 64, "xc7z020")
    assert found.there == found.found == LAYERS * 8 * 3 and found.latency_cycles > 0


def test_page__says_what_is_missed() -> None:
    def result(accuracy: float) -> Learnt:
        same = (accuracy, accuracy)
        return Learnt(Measures(0.5, 2.0, 0.2), same, (48, 48), same)

    good = [result(0.97), result(0.96), result(0.97)]
    networks = [Blocks(10, 10, 100), Blocks(20, 20, 150), Blocks(30, 30, 200)]
    assert bench_relational.missed(good, networks) == []
    bad = [result(0.90), result(0.91), result(0.97)]
    slow = [Blocks(10, 10, 100), Blocks(19, 20, 100), Blocks(30, 30, 200)]
    assert bench_relational.missed(bad, slow) == [
        "the best sparse graph has 91.00%, the complete one 97.00%",
        "the pattern miner does not find all blocks",
        "10 blocks take no less time than 20",
    ]
    text = bench_relational.row(Wiring(16, 4.0, 0.2), good[0], networks[0])
    assert text.startswith("| 4, 0.2 | 0.50 | 2.00 | 25.0% | 97.00 ± 0.00% | 48 |")
