"""DGMG on architectures: nodes in topological order, each with the nodes that it reads.

Input and output are node types like the operators; a graph that is no architecture (an output too
early, no path from input to output) is an invalid attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fragenv.errors import FragenvError
from fragenv.generate.architecture import INPUT, OUTPUT, Architecture, ArchitectureError
from fragenv.generate.dgmg_model import Dgmg, DgmgConfig, Drawn, Graphs, Recorded
from fragenv.generate.dgmg_training import make_trainer
from fragenv.generate.generator import Attributes, Feasible, NotFittedError, Sample
from fragenv.generate.training import Trainer, TrainingConfig


class DgmgGenerator:
    """DGMG over a corpus of architectures; conditions accompany every decision.

    Args:
        training: steps and learning rate of ``fit``.
        hidden: numbers per node.
    """

    name = "dgmg"

    def __init__(
        self,
        training: TrainingConfig = TrainingConfig(steps=1500, learning_rate=5e-3),  # noqa: B008
        hidden: int = 32,
    ) -> None:
        self.training, self.hidden = training, hidden
        self._types: tuple[str, ...] = ()
        self._names: tuple[str, ...] = ()
        self._feasible = Feasible({}, {})
        self._model: Dgmg | None = None

    def fit(
        self, corpus: Sequence[Architecture], scores: Sequence[Attributes] | None, seed: int
    ) -> None:
        self.trainer(corpus, scores, seed).run()

    def trainer(
        self, corpus: Sequence[Architecture], scores: Sequence[Attributes] | None, seed: int
    ) -> Trainer:
        """What ``fit`` runs, for those who want to see it running.

        Raises:
            FragenvError: the corpus is empty.
        """
        if not corpus:
            raise FragenvError("cannot learn from an empty corpus; give architectures")
        operators = {op for architecture in corpus for op in architecture.ops} - {INPUT, OUTPUT}
        self._types = (INPUT, *sorted(operators), OUTPUT)
        self._feasible = Feasible.of(scores or ())
        self._names = tuple(self._feasible.low)
        config = DgmgConfig(
            node_types=len(self._types),
            max_nodes=max(len(architecture) for architecture in corpus),
            directed=True,
            hidden=self.hidden,
            conditions=len(self._names),
        )
        counts = Counter(zip(corpus, map(self._scaled, scores or [{}] * len(corpus)), strict=True))
        graphs = self._graphs([a for a, _ in counts], config.max_nodes)
        weights = torch.tensor(list(counts.values())) / len(corpus)
        weighted = Graphs(graphs.sizes, graphs.types, graphs.edges, weights.log())
        condition = torch.tensor([list(c) for _, c in counts]) if self._names else None
        trainer = make_trainer(config, weighted, self.training, seed, condition)
        assert isinstance(trainer.model, Dgmg)
        self._model = trainer.model
        return trainer

    @torch.no_grad()
    def sample(
        self,
        n: int,
        condition: Attributes | None = None,
        reference: Architecture | None = None,
        *,
        rng: np.random.Generator,
    ) -> Sample:
        model = self._fitted()
        aimed, notice = self._feasible.nearest(condition)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        wanted = self._drawn_conditions(n, aimed, rng) if self._names else None
        built = model.build(Drawn(generator), n, wanted)
        attempts = (self._architecture(built, row) for row in range(n))
        return Sample(tuple(a for a in attempts if a is not None), n, aimed, notice)

    @torch.no_grad()
    def log_prob(self, architecture: Architecture) -> float | None:
        """Of the numbered graph, exact; with conditions, for the middle of every range."""
        model = self._fitted()
        most = model.config.max_nodes
        if len(architecture) > most or not set(architecture.ops) <= set(self._types):
            return -float("inf")
        graphs = self._graphs([architecture], most)
        wanted = torch.full((1, len(self._names)), 0.5) if self._names else None
        chooser = Recorded(graphs.sizes, graphs.types, graphs.edges, len(self._types))
        return float(model.build(chooser, 1, wanted).log_probs[0])

    def _fitted(self) -> Dgmg:
        if self._model is None:
            raise NotFittedError(self.name)
        return self._model

    def _scaled(self, score: Attributes) -> tuple[float, ...]:
        """The attributes as parts of their ranges, 0 to 1."""
        low, high = self._feasible.low, self._feasible.high
        return tuple((score[n] - low[n]) / max(high[n] - low[n], 1e-12) for n in self._names)

    def _drawn_conditions(self, n: int, aimed: Attributes, rng: np.random.Generator) -> Tensor:
        """(n, names) what is aimed at; the rest anywhere in its range."""
        drawn = rng.random((n, len(self._names)))
        middle = {**self._feasible.low, **aimed}
        for column, (name, value) in enumerate(zip(self._names, self._scaled(middle), strict=True)):
            if name in aimed:
                drawn[:, column] = value
        return torch.from_numpy(drawn).float()

    def _graphs(self, architectures: Sequence[Architecture], most: int) -> Graphs:
        count = len(architectures)
        types = torch.zeros(count, most, dtype=torch.long)
        edges = torch.zeros(count, most, most, dtype=torch.bool)
        for row, architecture in enumerate(architectures):
            numbers = [self._types.index(op) for op in architecture.ops]
            types[row, : len(numbers)] = torch.tensor(numbers)
            for src, dst in architecture.edges:
                edges[row, dst, src] = True
        sizes = torch.tensor([len(architecture) for architecture in architectures])
        return Graphs(sizes, types, edges, torch.zeros(count))

    def _architecture(self, built: Graphs, row: int) -> Architecture | None:
        size = int(built.sizes[row])
        ops = tuple(self._types[t] for t in built.types[row, :size].tolist())
        edges = tuple((src, dst) for dst, src in built.edges[row].nonzero().tolist())
        try:
            return Architecture(ops, edges, self.name)
        except ArchitectureError:
            return None
