"""CGVAE on architectures: every attempt is one, and none of its nodes is without effect.

Codes of nodes are drawn from the prior; where a condition is wanted they are moved until the
predicted attributes meet it, and near a reference they are drawn from its own distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fragenv.errors import FragenvError
from fragenv.generate.architecture import Architecture
from fragenv.generate.cgvae_model import Cgvae, CgvaeConfig
from fragenv.generate.cgvae_steps import joined, steps_of
from fragenv.generate.corpora import pruned
from fragenv.generate.dgmg_model import Graphs
from fragenv.generate.generator import Attributes
from fragenv.generate.learned import LearnedGenerator, drawing
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.vocabulary import Vocabulary

_BATCH = 32
#: weight of the divergence from the prior, as published for both corpora of molecules
_DIVERGENCE = 0.3
#: how codes are moved towards a condition
_MOVES, _MOVE_RATE = 40, 0.05


class CgvaeGenerator(LearnedGenerator[Cgvae]):
    """CGVAE over a corpus of architectures."""

    name = "cgvae"
    TRAINING = TrainingConfig(steps=1200, learning_rate=5e-3)

    def _trainer(
        self,
        vocabulary: Vocabulary,
        corpus: Sequence[Architecture],
        scores: Sequence[Attributes] | None,
        seed: int,
    ) -> Trainer:
        graphs = vocabulary.graphs([pruned(architecture) for architecture in corpus])
        config = CgvaeConfig(
            len(vocabulary.types),
            tuple(_shares(graphs.sizes, vocabulary.max_nodes)),
            tuple(_arities(graphs, len(vocabulary.types))),
            len(vocabulary.attributes),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Cgvae(config)
        wanted = vocabulary.scaled(scores) if scores else torch.zeros(len(corpus), 0)
        return Trainer(model, _Loss(model, graphs, wanted, seed), self.training)

    def _model_of(self, config: Mapping[str, Any]) -> Cgvae:
        lists = {name: tuple(config[name]) for name in ("size_shares", "arity")}
        return Cgvae(CgvaeConfig(**{**config, **lists}))

    def _draw(
        self,
        n: int,
        aimed: Attributes,
        reference: Architecture | None,
        rng: np.random.Generator,
    ) -> Sequence[Architecture | None]:
        model, generator = self.model, drawing(rng)
        config = model.config
        noise = torch.randn(n, config.max_nodes, config.code, generator=generator)
        if reference is None:
            shares = torch.tensor(config.size_shares)
            sizes = torch.multinomial(shares, n, replacement=True, generator=generator)
            codes = noise
        else:
            near = pruned(reference)
            if not self.vocabulary.holds(near):
                raise FragenvError(
                    f"the reference has other operators than {', '.join(self.vocabulary.types)}, "
                    f"or more than {config.max_nodes} nodes; give one like those learnt from"
                )
            mean, log_deviation = model.encode(self.vocabulary.graphs([near]))
            sizes = torch.full((n,), len(near))
            codes = mean + log_deviation.exp() * noise
        if aimed:
            codes = self._moved(codes, sizes, aimed)
        built = model.decode(codes, sizes, generator)
        return [_architecture(self.vocabulary, built, row, self.name) for row in range(n)]

    @torch.enable_grad()
    def _moved(self, codes: Tensor, sizes: Tensor, aimed: Attributes) -> Tensor:
        """Codes nearby whose predicted attributes are closer to the condition."""
        names = self.vocabulary.attributes
        columns = [names.index(name) for name in aimed]
        filled = {**self.vocabulary.feasible.low, **aimed}
        wanted = self.vocabulary.scaled([filled])[:, columns]
        moved = codes.clone().requires_grad_()
        optimiser = torch.optim.Adam([moved], lr=_MOVE_RATE)
        for _ in range(_MOVES):
            optimiser.zero_grad()
            distance = (self.model.attributes(moved, sizes)[:, columns] - wanted).square().sum()
            distance.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return moved.detach()


class _Loss:
    """Of a step of the training: what the decisions cost, the divergence of the codes from the
    prior, and the error of the attributes, per graph."""

    def __init__(self, model: Cgvae, graphs: Graphs, wanted: Tensor, seed: int) -> None:
        self.model, self.graphs, self.wanted, self.seed = model, graphs, wanted, seed
        self.steps = steps_of(graphs, seed)

    def __call__(self, step: int) -> Tensor:
        model, count = self.model, len(self.graphs.sizes)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        picked = torch.randint(count, (_BATCH,), generator=generator)
        sizes, types = self.graphs.sizes[picked], self.graphs.types[picked]
        part = Graphs(sizes, types, self.graphs.edges[picked], self.graphs.log_probs[picked])
        steps = joined([self.steps[row] for row in picked.tolist()])
        mean, log_deviation = model.encode(part)
        codes = mean + log_deviation.exp() * torch.randn(mean.shape, generator=generator)

        nodes = torch.arange(types.shape[1])
        there = nodes < sizes[:, None]
        inner = there & (nodes > 0) & (nodes < sizes[:, None] - 1)
        kinds = model.kind_log_probs(codes).gather(2, types[..., None])[..., 0]
        taken = model.step_log_probs(codes, types, sizes, steps)
        taken = taken.gather(1, steps.choice[:, None])
        variance = (2 * log_deviation).exp()
        divergence = (mean**2 + variance - 1 - 2 * log_deviation).sum(2)[there].sum() / 2
        error = F.mse_loss(model.attributes(codes, sizes), self.wanted[picked], reduction="sum")
        decisions = kinds[inner].sum() + taken.sum()
        return (_DIVERGENCE * divergence + error - decisions) / _BATCH


def _shares(sizes: Tensor, most: int) -> list[float]:
    """How often each size from 0 to ``most`` is there."""
    shares: list[float] = (torch.bincount(sizes, minlength=most + 1) / len(sizes)).tolist()
    return shares


def _arities(graphs: Graphs, types: int) -> list[int]:
    """The most sources that a node of each type has in the corpus, 1 at least."""
    degrees = graphs.edges.sum(2)
    there = torch.arange(graphs.types.shape[1]) < graphs.sizes[:, None]
    return [
        max(1, int((degrees * ((graphs.types == kind) & there)).max())) for kind in range(types)
    ]


def _architecture(vocabulary: Vocabulary, built: Graphs, row: int, origin: str) -> Architecture:
    """Without the nodes that nothing reaches."""
    size, edges = int(built.sizes[row]), built.edges[row]
    held = [node for node in range(size) if node in (0, size - 1) or bool(edges[:, node].any())]
    place = {node: i for i, node in enumerate(held)}
    ops = [vocabulary.types[int(built.types[row, node])] for node in held]
    pairs = [(place[src], place[dst]) for dst, src in edges.nonzero().tolist()]
    return Architecture.of(ops, pairs, origin)
