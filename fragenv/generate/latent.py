"""The codes of a trained G-VAE as a space to generate in: what its generators share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fragenv.generate import canonical
from fragenv.generate.architecture import Architecture
from fragenv.generate.baselines import space_of
from fragenv.generate.dense_batch import DenseBatch, to_architectures, to_batch
from fragenv.generate.generator import Attributes, Feasible
from fragenv.generate.gvae_model import Gvae, GvaeConfig
from fragenv.generate.gvae_training import Labelled, labels_of


@dataclass(frozen=True, slots=True)
class Asked:
    """Of every attempt: (n, attributes) values as parts of the ranges and whether each was asked
    for; the others are free."""

    values: Tensor
    fixed: Tensor

    def repeated(self, times: int) -> Asked:
        """Every attempt several times, one after the other."""
        return Asked(self.values.repeat_interleave(times, 0), self.fixed)

    def distance(self, obtained: Tensor) -> Tensor:
        """(n,) mean distances over what was asked for."""
        return (obtained - self.values).abs()[:, self.fixed].mean(1)


@dataclass(frozen=True, slots=True)
class LatentSpace:
    """A trained model and what lies between codes and architectures."""

    model: Gvae

    @torch.no_grad()
    def code(self, architecture: Architecture) -> Tensor:
        """(1, codes).

        Raises:
            ArchitectureError: it has no place in the space.
        """
        return self.model.encode(to_batch(self.model.config.space, [architecture]))[0]

    @torch.no_grad()
    def asked(self, aimed: Attributes, like: Tensor) -> Asked:
        """The wanted attributes of (n, attributes) attempts that are otherwise as in ``like``."""
        config = self.model.config
        values = like.clone()
        fixed = torch.tensor([name in aimed for name in config.names], dtype=torch.bool)
        if aimed:
            values[:, fixed] = torch.tensor(config.scaled({**config.low, **aimed}))[fixed]
        return Asked(values, fixed)

    @torch.no_grad()
    def architectures(
        self, codes: Tensor, asked: Asked, candidates: int, origin: str
    ) -> tuple[Architecture, ...]:
        """The valid ones of the attempts.

        Of each attempt ``codes`` holds ``candidates`` one after the other. The predictor chooses:
        what cannot be valid is last, and the nearest to what was asked for is first.
        """
        graphs = self.model.graphs(codes)
        if candidates > 1:
            distance = self._distances(graphs, asked.repeated(candidates))
            best = distance.view(-1, candidates).argmin(1)
            graphs = graphs[torch.arange(len(best)) * candidates + best]
        made = to_architectures(self.model.config.space, graphs, origin)
        return tuple(a for a in made if a is not None)

    @torch.no_grad()
    def proposals(
        self, codes: Tensor, asked: Asked, n: int, known: Architecture, origin: str
    ) -> tuple[Architecture, ...]:
        """Up to ``n`` architectures to measure: of distinct functions, none of them ``known``'s,
        those first that the predictor says are nearest to what was asked for.

        Args:
            asked: as many attempts as codes.
        """
        graphs = self.model.graphs(codes)
        order = self._distances(graphs, asked).argsort(stable=True)
        found: dict[str, Architecture] = {}
        for architecture in to_architectures(self.model.config.space, graphs[order], origin):
            if architecture is not None:
                found.setdefault(canonical.key(architecture), architecture)
        found.pop(canonical.key(known), None)
        return tuple(found.values())[:n]

    def _distances(self, graphs: DenseBatch, asked: Asked) -> Tensor:
        """(B,) predicted distances of graphs from what was asked for; infinite where they are no
        architectures. A code between two graphs has other attributes than what it is decoded into,
        so that the graphs are encoded again."""
        obtained = self.model.predict(self.model.encode(graphs)[0])
        distance = asked.distance(obtained) if asked.fixed.any() else torch.zeros(len(graphs))
        return distance.masked_fill(~graphs.live()[:, 0], torch.inf)


def corpus_task(
    corpus: Sequence[Architecture], scores: Sequence[Attributes] | None
) -> tuple[GvaeConfig, DenseBatch, Labelled]:
    """A corpus of which every architecture has a label, as what ``gvae_training`` learns from.

    Raises:
        FragenvError: the corpus is empty, or the scores name different attributes.
    """
    space, feasible = space_of(corpus), Feasible.of(scores or ())
    config = GvaeConfig(space.nodes, space.operators, dict(feasible.low), dict(feasible.high))
    labelled = labels_of(config, corpus, scores or ())
    return config, labelled.graphs, labelled


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """A generator of torch that follows from one of NumPy."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))
