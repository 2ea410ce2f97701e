"""GraphRNN on architectures: in topological order, a row says what a node reads.

Input and output are node types like the operators; a graph that is no architecture is an invalid
attempt, as with DGMG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fragenv.generate.architecture import Architecture
from fragenv.generate.dgmg_model import Graphs
from fragenv.generate.families import family, sequences
from fragenv.generate.generator import Attributes
from fragenv.generate.graphrnn_model import GraphRnn, GraphRnnConfig, reach_of
from fragenv.generate.learned import LearnedGenerator, drawing
from fragenv.generate.model_file import read_model, write_model
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.vocabulary import Vocabulary

SYSTEM = "graphrnn"
TRAINING = TrainingConfig(steps=1000, learning_rate=5e-3)
_BATCH = 64
#: about as many sequences of a family of undirected graphs are learnt
_SEQUENCES = 600


def make_trainer(
    model_config: GraphRnnConfig,
    graphs: Graphs,
    config: TrainingConfig,
    seed: int,
    condition: Tensor | None = None,
) -> Trainer:
    """A trainer whose loss is the mean of -log p over graphs drawn from ``graphs``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GraphRnn(model_config)
    count = len(graphs.sizes)

    def loss(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        picked = torch.randint(count, (_BATCH,), generator=generator)
        part = Graphs(
            graphs.sizes[picked],
            graphs.types[picked],
            graphs.edges[picked],
            graphs.log_probs[picked],
        )
        return -model.log_probs(part, None if condition is None else condition[picked]).mean()

    return Trainer(model, loss, config)


def family_trainer(name: str, config: TrainingConfig, seed: int) -> Trainer:
    """A trainer on the graphs of a family, each in several breadth-first orders.

    Raises:
        FragenvError: an unknown family.
    """
    members = family(name, seed)
    graphs = sequences(members, -(-_SEQUENCES // len(members)), seed)
    model_config = GraphRnnConfig(1, graphs.types.shape[1], reach_of(graphs))
    return make_trainer(model_config, graphs, config, seed)


def save_graphrnn(path: Path, model: GraphRnn, command: str) -> None:
    """Write a model with the command that made it."""
    write_model(path, SYSTEM, model, command)


def load_graphrnn(path: Path) -> GraphRnn:
    """Read a model.

    Raises:
        WeightsError: the file is missing, damaged or of another system.
    """
    return read_model(path, SYSTEM, lambda config: GraphRnn(GraphRnnConfig(**config)))[0]


class GraphRnnGenerator(LearnedGenerator[GraphRnn]):
    """GraphRNN over a corpus of architectures; conditions accompany every node."""

    name = SYSTEM
    TRAINING = TRAINING

    def _trainer(
        self,
        vocabulary: Vocabulary,
        corpus: Sequence[Architecture],
        scores: Sequence[Attributes] | None,
        seed: int,
    ) -> Trainer:
        graphs = vocabulary.graphs(corpus)
        config = GraphRnnConfig(
            node_types=len(vocabulary.types),
            max_nodes=vocabulary.max_nodes,
            reach=reach_of(graphs),
            conditions=len(vocabulary.attributes),
        )
        condition = vocabulary.scaled(scores) if scores else None
        return make_trainer(config, graphs, self.training, seed, condition)

    def _model_of(self, config: Mapping[str, Any]) -> GraphRnn:
        return GraphRnn(GraphRnnConfig(**config))

    def _draw(
        self,
        n: int,
        aimed: Attributes,
        reference: Architecture | None,
        rng: np.random.Generator,
    ) -> Sequence[Architecture | None]:
        generator = drawing(rng)
        wanted = self.vocabulary.conditions(n, aimed, rng)
        return self.vocabulary.architectures(self.model.sample(n, generator, wanted), self.name)

    @torch.no_grad()
    def log_prob(self, architecture: Architecture) -> float | None:
        """Of the numbered graph, exact; with conditions, for the middle of every range."""
        vocabulary, model = self.vocabulary, self.model
        if not vocabulary.holds(architecture):
            return -float("inf")
        wanted = torch.full((1, model.config.conditions), 0.5)
        return float(model.log_probs(vocabulary.graphs([architecture]), wanted)[0])
