"""Generating with the G-VAE alone: codes drawn near the corpus's, chosen by the predictor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fragenv.generate.accuracy import codes_of
from fragenv.generate.architecture import Architecture
from fragenv.generate.generator import Attributes, NotFittedError, Sample
from fragenv.generate.gvae_model import Gvae
from fragenv.generate.gvae_training import TRAINING, make_trainer
from fragenv.generate.latent import LatentSpace, corpus_task, torch_generator
from fragenv.generate.training import Trainer, TrainingConfig

#: how far round a reference codes are drawn, in deviations of the corpus's codes
_NEAR = 0.3


class GvaeGenerator:
    """Draws codes from a Gaussian round those of the corpus or round a reference; of several, the
    one is taken whose graph has, as the predictor says, the attributes that are nearest.

    Args:
        training: steps and learning rate of ``fit``.
        candidates: codes drawn for each attempt that has a condition.
    """

    name = "gvae"

    def __init__(self, training: TrainingConfig = TRAINING, candidates: int = 32) -> None:
        self.training, self.candidates = training, candidates
        self._space: LatentSpace | None = None
        self._centre = self._spread = torch.zeros(0)

    def fit(
        self, corpus: Sequence[Architecture], scores: Sequence[Attributes] | None, seed: int
    ) -> None:
        trainer = self.trainer(corpus, scores, seed)
        trainer.run()
        assert isinstance(trainer.model, Gvae)
        self._space = LatentSpace(trainer.model.eval())
        codes = codes_of(trainer.model, corpus_task(corpus, scores)[1])
        self._centre, self._spread = codes.mean(0), codes.std(0, correction=0)

    def trainer(
        self, corpus: Sequence[Architecture], scores: Sequence[Attributes] | None, seed: int
    ) -> Trainer:
        """What ``fit`` runs, for those who want to see it running.

        Raises:
            FragenvError: the corpus is empty.
        """
        config, known, labelled = corpus_task(corpus, scores)
        return make_trainer(config, known, labelled, self.training, seed)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        condition: Attributes | None = None,
        reference: Architecture | None = None,
        *,
        rng: np.random.Generator,
    ) -> Sample:
        if self._space is None:
            raise NotFittedError(self.name)
        config = self._space.model.config
        aimed, notice = config.feasible.nearest(condition)
        candidates = self.candidates if aimed else 1
        noise = torch.randn(n * candidates, config.codes, generator=torch_generator(rng))
        centre: Tensor = self._centre
        if reference is not None:
            centre, noise = self._space.code(reference), _NEAR * noise
        asked = self._space.asked(aimed, torch.zeros(n, len(config.names)))
        codes = centre + self._spread * noise
        made = self._space.architectures(codes, asked, candidates, self.name)
        return Sample(made, n, aimed, notice)

    def log_prob(self, architecture: Architecture) -> float | None:
        """None: it is an integral over all codes that are decoded into the architecture."""
        return None
