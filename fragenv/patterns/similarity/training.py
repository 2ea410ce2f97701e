"""Training: points whose distances are edit distances, codes that can be decoded, and triplets.

The triplet loss brings patterns of like area and time together (Schroff et al.: FaceNet, CVPR
2015).

Everything random is drawn from the seed and the number of the step, so that a training that was
interrupted goes on as if it had not been.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import cos, pi

import torch
from torch import Tensor
from torch.nn import functional as F

from fragenv.patterns.similarity.edit_distance import distance_matrix
from fragenv.patterns.similarity.encoder import (
    KINDS,
    EncoderConfig,
    GraphBatch,
    PatternEncoder,
    batch_of,
    point_distances,
)
from fragenv.patterns.similarity.typed import TypedGraph
from fragenv.training_state import restore_training, training_state

#: (n, 2): the base-2 logarithms of area and time of n graphs
Costs = Callable[[Sequence[TypedGraph]], Tensor]

#: a triplet needs costs that differ by this much: half an octave
_CLEARLY = 0.5


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train; the weights of the losses are against 1 for the distances."""

    steps: int = 6000
    blocks_per_step: int = 4
    learning_rate: float = 2e-3
    reconstruction: float = 0.1
    triplet: float = 0.05
    margin: float = 0.5
    seed: int = 0
    encoder: EncoderConfig = field(default_factory=EncoderConfig)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Blocks of graphs with the exact distances within each, (blocks, n, n), and costs,
    (blocks, n, 2)."""

    blocks: list[list[TypedGraph]]
    distances: Tensor
    costs: Tensor


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of the loss of one step, unweighted."""

    distance: float
    reconstruction: float
    triplet: float


def exact_distances(
    blocks: list[list[TypedGraph]], progress: Callable[[], None] = lambda: None
) -> Tensor:
    """(blocks, n, n) edit distances; ``progress`` is called after each block."""
    found = []
    for block in blocks:
        found.append(torch.from_numpy(distance_matrix(block)).float())
        progress()
    return torch.stack(found)


def training_data(blocks: list[list[TypedGraph]], distances: Tensor, costs: Costs) -> TrainingData:
    return TrainingData(blocks, distances, torch.stack([costs(block) for block in blocks]))


class Trainer:
    """A model, its optimiser and the number of steps done."""

    def __init__(self, config: TrainingConfig, data: TrainingData) -> None:
        self.config, self.data = config, data
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = PatternEncoder(config.encoder)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)
        self.step_number = 0

    @property
    def finished(self) -> bool:
        return self.step_number >= self.config.steps

    def step(self) -> Losses:
        """One step on a few blocks, all pairs of each at once."""
        config, data = self.config, self.data
        chance = random.Random(config.seed * 1_000_003 + self.step_number)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * self._schedule()
        picked = chance.sample(range(len(data.blocks)), config.blocks_per_step)
        batch = batch_of([graph for i in picked for graph in data.blocks[i]])
        codes = self.model.codes(batch)
        points = self.model.points(codes, batch).reshape(len(picked), -1, codes.shape[1])
        estimated = point_distances(points[:, :, None], points[:, None, :])
        distance = distance_loss(estimated, data.distances[picked])
        rebuilt = reconstruction_loss(self.model, codes, batch)
        triplet = triplet_loss(estimated, data.costs[picked], config.margin, chance)
        loss = distance + config.reconstruction * rebuilt + config.triplet * triplet
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step_number += 1
        return Losses(distance.item(), rebuilt.item(), triplet.item())

    def _schedule(self) -> float:
        """A twentieth of the steps to warm up, then half a cosine."""
        done = self.step_number / self.config.steps
        return min(1.0, 20 * done + 0.01) * 0.5 * (1 + cos(pi * done))

    def state(self) -> dict[str, Tensor]:
        """All that ``restore`` needs."""
        return training_state(self.model, self.optimiser, self.step_number)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where ``state`` was taken.

        Raises:
            KeyError, RuntimeError: the state is of another model.
        """
        self.step_number = restore_training(self.model, self.optimiser, state)


def distance_loss(estimated: Tensor, exact: Tensor) -> Tensor:
    """Squared errors relative to the distance, so that near pairs count as much as far ones."""
    return ((estimated - exact) ** 2 / (exact + 1)).mean()


def reconstruction_loss(model: PatternEncoder, codes: Tensor, batch: GraphBatch) -> Tensor:
    """How badly kinds, measures and edges can be read from the codes."""
    decoded = model.decode_operator(codes)
    kinds = len(KINDS)
    kind = F.cross_entropy(decoded[:, :kinds], batch.features[:, :kinds].argmax(dim=1))
    measures = F.mse_loss(decoded[:, kinds:], batch.features[:, kinds:])
    return kind + measures + _edge_loss(model, codes, batch)


def _edge_loss(model: PatternEncoder, codes: Tensor, batch: GraphBatch) -> Tensor:
    """Binary cross entropy over all pairs of operators of the same graph."""
    scores = model.decode_source(codes) @ model.decode_target(codes).t()
    scores = scores / codes.shape[1] ** 0.5
    wanted = torch.zeros_like(scores)
    wanted[batch.edges[0], batch.edges[1]] = 1.0
    within = batch.home[:, None] == batch.home[None, :]
    return F.binary_cross_entropy_with_logits(scores[within], wanted[within])


def triplet_loss(estimated: Tensor, costs: Tensor, margin: float, chance: random.Random) -> Tensor:
    """For every graph and two others of its block: the one that is clearly nearer in area and time
    should be nearer by ``margin``. ``estimated`` is (blocks, n, n), ``costs`` (blocks, n, 2)."""
    size = costs.shape[1]
    order = [chance.sample(range(size), 2) for _ in range(size)]
    anchors = torch.arange(size)
    first, second = torch.tensor(order).unbind(1)
    apart = point_distances(costs[:, :, None], costs[:, None, :])
    difference = apart[:, anchors, first] - apart[:, anchors, second]
    gap = estimated[:, anchors, first] - estimated[:, anchors, second]
    clear = (difference.abs() > _CLEARLY) & (first != anchors) & (second != anchors)
    losses = F.relu(margin - gap * difference.sign())
    return (losses * clear).sum() / clear.sum().clamp(min=1)
