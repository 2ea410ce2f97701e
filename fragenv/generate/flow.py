"""Generating with a conditional flow on the codes of a G-VAE: noise, code, architecture.

Xiang et al.: Generating Neural Network Architectures with Conditional Graph Normalizing Flows,
AutoML 2023. Near a reference means near its noise: the flow is run backwards from the reference's
code, and what is found is mixed with new noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fragenv.generate.architecture import Architecture
from fragenv.generate.flow_model import ConditionalFlow
from fragenv.generate.flow_training import SYSTEM, TRAINING, load_flow, make_flow_trainer
from fragenv.generate.generator import Attributes, NotFittedError, Sample
from fragenv.generate.gvae import GvaeGenerator
from fragenv.generate.gvae_model import Gvae
from fragenv.generate.gvae_training import SYSTEM as GVAE
from fragenv.generate.gvae_training import load_gvae
from fragenv.generate.latent import LatentSpace, corpus_task, torch_generator
from fragenv.generate.training import TrainingConfig
from fragenv.generate.weights import shipped

#: deviation of the new noise near a reference, where 1 forgets the reference
_NEAR = 0.5
#: codes near a reference for each architecture that is proposed; many are of the same function
_NEAR_CODES = 64
#: a condition that leaves attributes open takes them from one of so many examples that are nearest
_NEAREST = 50


class FlowGenerator:
    """The flow, with the G-VAE that it runs on.

    Args:
        training: steps and learning rate of the flow.
        gvae_training: of the G-VAE; None is the same.
        candidates: codes drawn for each attempt. The one is taken whose graph has a path from input
            to output and, as the predictor says, what was asked for most nearly. Near a reference
            more are drawn, and attempts share them, so that no function is proposed twice.
    """

    name = "flow"

    def __init__(
        self,
        training: TrainingConfig = TRAINING,
        gvae_training: TrainingConfig | None = None,
        candidates: int = 8,
    ) -> None:
        self.training, self.gvae_training = training, gvae_training or training
        self.candidates = candidates
        self._space: LatentSpace | None = None
        self._flow: ConditionalFlow | None = None

    @classmethod
    def trained(cls, gvae: Path | None = None, flow: Path | None = None) -> FlowGenerator:
        """One that is fitted already: from two files, by default those of the package, which know
        the cells of NAS-Bench-201.

        Raises:
            WeightsError: a file is missing or damaged, or they do not belong together.
        """
        made = cls()
        made._use(*_loaded(gvae or shipped(GVAE), flow or shipped(SYSTEM)))
        return made

    def fit(
        self, corpus: Sequence[Architecture], scores: Sequence[Attributes] | None, seed: int
    ) -> None:
        first = GvaeGenerator(self.gvae_training).trainer(corpus, scores, seed)
        first.run()
        assert isinstance(first.model, Gvae)
        gvae = first.model.eval()
        second = make_flow_trainer(gvae, corpus_task(corpus, scores)[1], self.training, seed)
        second.run()
        assert isinstance(second.model, ConditionalFlow)
        self._use(gvae, second.model.eval())

    @torch.no_grad()
    def sample(
        self,
        n: int,
        condition: Attributes | None = None,
        reference: Architecture | None = None,
        *,
        rng: np.random.Generator,
    ) -> Sample:
        if self._space is None or self._flow is None:
            raise NotFittedError(self.name)
        config, flow = self._space.model.config, self._flow
        aimed, notice = config.feasible.nearest(condition)
        generator = torch_generator(rng)
        code = None if reference is None else self._space.code(reference)
        asked = self._space.asked(aimed, self._examples(flow, aimed, code, n, generator))
        candidates = self.candidates if code is None else _NEAR_CODES
        every = asked.repeated(candidates)
        noise = torch.randn(len(every.values), config.codes, generator=generator)
        if code is not None:
            start = flow.inverse(code, self._space.model.predict(code))
            noise = (1 - _NEAR**2) ** 0.5 * start + _NEAR * noise
        codes = flow(noise, every.values)
        if reference is None:
            made = self._space.architectures(codes, asked, candidates, self.name)
        else:
            made = self._space.proposals(codes, every, n, reference, self.name)
        return Sample(made, n, aimed, notice)

    def log_prob(self, architecture: Architecture) -> float | None:
        """None: the flow has the density of a code (``ConditionalFlow.log_density``), and many
        codes are decoded into one architecture."""
        return None

    def _use(self, gvae: Gvae, flow: ConditionalFlow) -> None:
        self._space, self._flow = LatentSpace(gvae), flow

    def _examples(
        self,
        flow: ConditionalFlow,
        aimed: Attributes,
        reference: Tensor | None,
        n: int,
        generator: torch.Generator,
    ) -> Tensor:
        """(n, attributes) of graphs that the flow has learnt from, near what is aimed at and, of
        these, most like the reference; those of the reference itself where nothing is aimed at."""
        assert self._space is not None
        examples = flow.examples
        if aimed:
            distance = self._space.asked(aimed, examples).distance(examples)
            examples = examples[distance.topk(min(_NEAREST, len(examples)), largest=False).indices]
        if reference is not None:
            known = self._space.model.predict(reference)
            nearest = examples[(examples - known).abs().sum(1).argmin()]
            return (nearest if aimed else known[0]).expand(n, -1)
        return examples[torch.randint(len(examples), (n,), generator=generator)]


def _loaded(gvae: Path, flow: Path) -> tuple[Gvae, ConditionalFlow]:
    model = load_gvae(gvae)
    return model, load_flow(flow, model)
