"""Training: the loss falls within seconds, an interrupted training ends as one that was not."""

from __future__ import annotations

import random
from math import log

import pytest
import torch
from test_edit_distance import chain, conv
from torch import Tensor

from fragenv.models import zoo
from fragenv.patterns.similarity.corpus import network_graphs, training_blocks
from fragenv.patterns.similarity.edit_distance import edit_distance
from fragenv.patterns.similarity.encoder import (
    KINDS,
    EncoderConfig,
    PatternEncoder,
    batch_of,
)
from fragenv.patterns.similarity.training import (
    Trainer,
    TrainingConfig,
    TrainingData,
    distance_loss,
    exact_distances,
    reconstruction_loss,
    training_data,
    triplet_loss,
)
from fragenv.patterns.similarity.typed import TypedGraph

SMALL = EncoderConfig(hidden=16, layers=2, codes=8)


def sizes(graphs: list[TypedGraph]) -> Tensor:
    """Costs that need no hardware: operators and edges."""
    return torch.tensor([(float(len(g)), float(len(g.edges))) for g in graphs])


@pytest.fixture(scope="module")
def data() -> TrainingData:
    blocks = training_blocks(network_graphs(zoo.graph("lenet"), most=4), 6, seed=0, most=4)
    return training_data(blocks, exact_distances(blocks), sizes)


def test_distances__are_exact(data: TrainingData) -> None:
    block = data.blocks[2]
    assert data.distances[2, 0, 5].item() == pytest.approx(edit_distance(block[0], block[5]))


def test_training__lowers_every_loss(data: TrainingData) -> None:
    trainer = Trainer(TrainingConfig(steps=150, triplet=0.1, encoder=SMALL), data)
    losses = []
    while not trainer.finished:
        losses.append(trainer.step())
    first, last = losses[:10], losses[-10:]
    assert sum(x.distance for x in last) < 0.3 * sum(x.distance for x in first)
    assert sum(x.reconstruction for x in last) < 0.7 * sum(x.reconstruction for x in first)


def test_training__goes_on_where_it_was(data: TrainingData) -> None:
    config = TrainingConfig(steps=8, encoder=SMALL)
    through, first, second = (Trainer(config, data) for _ in range(3))
    for _ in range(8):
        through.step()
    for _ in range(4):
        first.step()
    second.restore(first.state())
    assert second.step_number == 4
    while not second.finished:
        second.step()
    for name, value in through.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value)


def test_distance_loss__is_relative() -> None:
    assert distance_loss(torch.tensor([2.0, 5.0]), torch.tensor([1.0, 3.0])).item() == 0.75


def test_triplet_loss__wants_like_costs_near() -> None:
    costs = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]]])
    ordered = torch.tensor([[[0.0, 1.0, 8.0], [1.0, 0.0, 7.0], [8.0, 7.0, 0.0]]])
    swapped = ordered[:, [0, 2, 1]][:, :, [0, 2, 1]]
    good = sum(triplet_loss(ordered, costs, 0.5, random.Random(s)).item() for s in range(20))
    bad = sum(triplet_loss(swapped, costs, 0.5, random.Random(s)).item() for s in range(20))
    assert good == 0 < bad


def test_triplet_loss__without_a_clear_triplet_is_zero() -> None:
    estimated = torch.rand(1, 3, 3, requires_grad=True)
    loss = triplet_loss(estimated, torch.zeros(1, 3, 2), 0.5, random.Random(0))
    loss.backward()
    assert loss.item() == 0 and not estimated.grad.any()  # type: ignore[union-attr]


def test_reconstruction_loss__of_a_perfect_decoder() -> None:
    """Kinds and measures cost nothing; a decoder without an opinion on edges costs log 2."""
    model = PatternEncoder(SMALL)
    batch = batch_of([chain(conv())])
    final = model.decode_operator[-1]
    perfect = batch.features[0].clone()
    perfect[: len(KINDS)] *= 50
    with torch.no_grad():
        for parameter in (*model.decode_source.parameters(), final.weight):
            parameter.zero_()
        final.bias.copy_(perfect)
    loss = reconstruction_loss(model, model.codes(batch), batch)
    assert loss.item() == pytest.approx(log(2), abs=1e-5)
