"""DGMG on architectures: nodes in topological order, each with the nodes that it reads.

Input and output are node types like the operators; a graph that is no architecture (an output too
early, no path from input to output) is an invalid attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fragenv.generate.architecture import Architecture
from fragenv.generate.dgmg_model import Dgmg, DgmgConfig, Drawn, Graphs, Recorded
from fragenv.generate.dgmg_training import make_trainer
from fragenv.generate.generator import Attributes
from fragenv.generate.learned import LearnedGenerator, drawing
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.vocabulary import Vocabulary


class DgmgGenerator(LearnedGenerator[Dgmg]):
    """DGMG over a corpus of architectures; conditions accompany every decision.

    Args:
        training: steps and learning rate of ``fit``.
        hidden: numbers per node.
        batch: architectures in a step of the training.
    """

    name = "dgmg"
    TRAINING = TrainingConfig(steps=1500, learning_rate=5e-3)

    def __init__(
        self, training: TrainingConfig | None = None, hidden: int = 32, batch: int = 256
    ) -> None:
        super().__init__(training)
        self.hidden, self.batch = hidden, batch

    def _trainer(
        self,
        vocabulary: Vocabulary,
        corpus: Sequence[Architecture],
        scores: Sequence[Attributes] | None,
        seed: int,
    ) -> Trainer:
        config = DgmgConfig(
            node_types=len(vocabulary.types),
            max_nodes=vocabulary.max_nodes,
            directed=True,
            hidden=self.hidden,
            conditions=len(vocabulary.attributes),
        )
        scaled = vocabulary.scaled(scores or [{}] * len(corpus))
        counts = Counter(zip(corpus, map(tuple, scaled.tolist()), strict=True))
        graphs = vocabulary.graphs([a for a, _ in counts])
        weights = torch.tensor(list(counts.values())) / len(corpus)
        weighted = Graphs(graphs.sizes, graphs.types, graphs.edges, weights.log())
        condition = torch.tensor([list(c) for _, c in counts]) if config.conditions else None
        return make_trainer(config, weighted, self.training, seed, condition, self.batch)

    def _model_of(self, config: Mapping[str, Any]) -> Dgmg:
        return Dgmg(DgmgConfig(**config))

    def _draw(
        self,
        n: int,
        aimed: Attributes,
        reference: Architecture | None,
        rng: np.random.Generator,
    ) -> Sequence[Architecture | None]:
        generator = drawing(rng)
        wanted = self.vocabulary.conditions(n, aimed, rng)
        built = self.model.build(Drawn(generator), n, wanted)
        return self.vocabulary.architectures(built, self.name)

    @torch.no_grad()
    def log_prob(self, architecture: Architecture) -> float | None:
        """Of the numbered graph, exact; with conditions, for the middle of every range."""
        vocabulary, model = self.vocabulary, self.model
        if not vocabulary.holds(architecture):
            return -float("inf")
        graphs = vocabulary.graphs([architecture])
        wanted = torch.full((1, model.config.conditions), 0.5)
        chooser = Recorded(graphs.sizes, graphs.types, graphs.edges, model.config.node_types)
        return float(model.build(chooser, 1, wanted).log_probs[0])
