"""MolGAN on architectures, and towards those with a high score.

Critic and generator are trained by the Wasserstein distance with a penalty on the critic's gradient
(Gulrajani et al., NeurIPS 2017), the generator in every fifth step. With an ``Objective`` a reward
network learns to predict the score of graphs, measured ones of the generator among them (0 for what
is no architecture); after a quarter of the training the generator is to please it too. Such a
training may go on from a model that was trained without an objective.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from fragenv.errors import FragenvError
from fragenv.generate.architecture import Architecture, ArchitectureError
from fragenv.generate.baselines import space_of
from fragenv.generate.corpora import pruned
from fragenv.generate.dense import DenseSpace
from fragenv.generate.generator import Attributes
from fragenv.generate.learned import LearnedGenerator
from fragenv.generate.molgan_model import DenseGraphs, MolGan, MolGanConfig
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.vocabulary import Vocabulary

_BATCH = 64
#: steps of the critic for one of the generator, and the weight of its penalty: as published
_CRITIC_STEPS, _PENALTY = 5, 10.0
#: with an objective the generator has a way to go
_CRITIC_STEPS_REWARDED = 2
#: generated graphs that are measured in a step of the generator
_MEASURED = 8


@dataclass(frozen=True, slots=True)
class Objective:
    """What is to be high.

    Args:
        attribute: its name in the scores of the corpus.
        measure: the attribute of architectures that the generator makes.
        weight: of the reward in the loss of the generator, 0 to 1; the critic has the rest.
    """

    attribute: str
    measure: Callable[[Sequence[Architecture]], Sequence[float]]
    weight: float = 0.95


class MolGanGenerator(LearnedGenerator[MolGan]):
    """MolGAN over a corpus of architectures; conditions are ignored.

    Args:
        training: steps of the critic and learning rate.
        objective: what is to be high; without one the reward network is not trained.
        start: a model of a corpus with the same operators and sizes to go on from.
    """

    name = "molgan"
    TRAINING = TrainingConfig(steps=3000, learning_rate=1e-3, clip=10.0)

    def __init__(
        self,
        training: TrainingConfig | None = None,
        objective: Objective | None = None,
        start: MolGan | None = None,
    ) -> None:
        super().__init__(training)
        self.objective, self.start = objective, start

    def _trainer(
        self,
        vocabulary: Vocabulary,
        corpus: Sequence[Architecture],
        scores: Sequence[Attributes] | None,
        seed: int,
    ) -> Trainer:
        space = space_of(corpus)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = MolGan(MolGanConfig(space.nodes, space.operators))
        if self.start is not None:
            if self.start.config != model.config:
                raise FragenvError("the model to go on from is of another space than the corpus")
            model.load_state_dict(self.start.state_dict())
        rewards = None
        if self.objective is not None:
            rewards = _Rewards(self.objective, vocabulary, scores or ())
        graphs = _encoded(space, corpus)
        return Trainer(
            model, _Loss(model, graphs, rewards, self.training.steps, seed), self.training
        )

    def _model_of(self, config: Mapping[str, Any]) -> MolGan:
        lists = {name: tuple(config[name]) for name in ("operators", "hidden", "channels")}
        return MolGan(MolGanConfig(**{**config, **lists}))

    def _draw(
        self,
        n: int,
        aimed: Attributes,
        reference: Architecture | None,
        rng: np.random.Generator,
    ) -> Sequence[Architecture | None]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            return _decoded(self.model.config.space, self.model.generate(n))


class _Rewards:
    """Scores as parts of their range in the corpus, 0 to 1.

    Raises:
        FragenvError: the scores of the corpus do not name the attribute.
    """

    def __init__(
        self, objective: Objective, vocabulary: Vocabulary, scores: Sequence[Attributes]
    ) -> None:
        name = objective.attribute
        if name not in vocabulary.attributes:
            known = ", ".join(vocabulary.attributes) or "none"
            raise FragenvError(f"fit needs scores with '{name}', which is to be high; got {known}")
        self.objective = objective
        self._low, self._high = vocabulary.feasible.low[name], vocabulary.feasible.high[name]
        self.of_corpus = self._scaled([score[name] for score in scores])
        self._known: dict[Architecture, float] = {}

    def measured(self, architectures: Sequence[Architecture | None]) -> Tensor:
        """(architectures,) rewards; nothing is measured twice."""
        new = list(dict.fromkeys(a for a in architectures if a and a not in self._known))
        if new:
            self._known.update(zip(new, self.objective.measure(new), strict=True))
        scores = [self._known[a] if a else self._low for a in architectures]
        return self._scaled(scores)

    def _scaled(self, scores: Sequence[float]) -> Tensor:
        span = max(self._high - self._low, 1e-12)
        return ((torch.tensor(scores) - self._low) / span).clamp(0, 1).float()


class _Loss:
    """The sum of the losses of the networks; each reaches its own network alone, since the others
    are held fixed in it."""

    def __init__(
        self, model: MolGan, graphs: DenseGraphs, rewards: _Rewards | None, steps: int, seed: int
    ) -> None:
        self.model, self.rewards, self.steps, self.seed = model, rewards, steps, seed
        self.types, self.edges = graphs

    def __call__(self, step: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + step)
            picked = torch.randint(len(self.types), (_BATCH,))
            real = self.types[picked], self.edges[picked]
            fake = self.model.generate(_BATCH)
            total = self._critic_loss(real, (fake[0].detach(), fake[1].detach()))
        every = _CRITIC_STEPS if self.rewards is None else _CRITIC_STEPS_REWARDED
        if step % every == 0:
            total = total + self._generator_loss(step, fake)
        if self.rewards is not None:
            error = self.model.reward(*real) - self.rewards.of_corpus[picked]
            total = total + error.square().mean()
        return total

    def _critic_loss(self, real: DenseGraphs, fake: DenseGraphs) -> Tensor:
        critic = self.model.critic
        share = torch.rand(_BATCH, 1, 1)
        between = [
            (share * a + (1 - share) * b).requires_grad_() for a, b in zip(real, fake, strict=True)
        ]
        slopes = torch.autograd.grad(critic(*between).sum(), between, create_graph=True)
        norm = torch.cat([slope.flatten(1) for slope in slopes], 1).norm(dim=1)
        distance: Tensor = critic(*fake).mean() - critic(*real).mean()
        penalty: Tensor = (norm - 1).square().mean()
        return distance + _PENALTY * penalty

    def _generator_loss(self, step: int, fake: DenseGraphs) -> Tensor:
        model, rewards = self.model, self.rewards
        loss: Tensor = -_fixed(model.critic, fake).mean()
        if rewards is None:
            return loss
        part = fake[0][:_MEASURED].detach(), fake[1][:_MEASURED].detach()
        measured = rewards.measured(_decoded(model.config.space, part))
        error: Tensor = (model.reward(*part) - measured).square().mean()
        if step < self.steps // 4:
            return loss + error
        weight = rewards.objective.weight
        return error + (1 - weight) * loss - weight * _fixed(model.reward, fake).mean()


def _fixed(network: nn.Module, graphs: DenseGraphs) -> Tensor:
    """What a network says, without a gradient for its own weights."""
    weights = {name: value.detach() for name, value in network.named_parameters()}
    result: Tensor = functional_call(network, weights, graphs)
    return result


def _encoded(space: DenseSpace, corpus: Sequence[Architecture]) -> DenseGraphs:
    arrays = [space.encode(pruned(architecture)) for architecture in corpus]
    types = torch.from_numpy(np.stack([types for types, _ in arrays]))
    edges = torch.from_numpy(np.stack([edges for _, edges in arrays]))
    return nn.functional.one_hot(types, len(space.node_types)).float(), edges.float()


def _decoded(space: DenseSpace, graphs: DenseGraphs) -> list[Architecture | None]:
    types, edges = graphs[0].argmax(2).numpy(), (graphs[1] > 0.5).numpy()
    found: list[Architecture | None] = []
    for row in range(len(types)):
        try:
            found.append(space.decode(types[row], edges[row], "molgan"))
        except ArchitectureError:
            found.append(None)
    return found
