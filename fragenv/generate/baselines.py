"""Generators without a network: drawing blindly, and mutating what is good already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fragenv.errors import FragenvError
from fragenv.generate.architecture import INPUT, OUTPUT, Architecture, ArchitectureError
from fragenv.generate.dense import DenseSpace
from fragenv.generate.generator import Attributes, Feasible, NotFittedError, Sample


def space_of(corpus: Sequence[Architecture]) -> DenseSpace:
    """The smallest extended space that holds a corpus.

    Raises:
        FragenvError: the corpus is empty or has no operator.
    """
    operators = {op for architecture in corpus for op in architecture.ops} - {INPUT, OUTPUT}
    if not operators:
        raise FragenvError("cannot learn from an empty corpus; give architectures with operators")
    return DenseSpace(max(len(a) for a in corpus), tuple(sorted(operators)))


class RandomGenerator:
    """Uniform over the types and edges of the corpus's extended space; conditions are ignored."""

    name = "random"

    def __init__(self) -> None:
        self._space: DenseSpace | None = None
        self._feasible = Feasible({}, {})

    def fit(
        self, corpus: Sequence[Architecture], scores: Sequence[Attributes] | None, seed: int
    ) -> None:
        self._space = space_of(corpus)
        self._feasible = Feasible.of(scores or ())

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
        aimed, notice = self._feasible.nearest(condition)
        found = tuple(self._space.random(rng) for _ in range(n))
        return Sample(found, n, aimed, notice)

    def log_prob(self, architecture: Architecture) -> float | None:
        """None: what has no path is drawn again, and how often is not known in closed form."""
        return None


class MutationGenerator:
    """One random change of a known architecture: of ``reference``, or of the best of five drawn
    from the corpus, best being nearest to the condition (the tournament of Real et al.: Regularized
    Evolution for Image Classifier Architecture Search, AAAI 2019)."""

    name = "mutation"
    tournament = 5

    def __init__(self) -> None:
        self._space: DenseSpace | None = None
        self._corpus: tuple[Architecture, ...] = ()
        self._scores: tuple[Attributes, ...] = ()
        self._feasible = Feasible({}, {})

    def fit(
        self, corpus: Sequence[Architecture], scores: Sequence[Attributes] | None, seed: int
    ) -> None:
        self._space = space_of(corpus)
        self._corpus, self._scores = tuple(corpus), tuple(scores or ())
        self._feasible = Feasible.of(self._scores)

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
        aimed, notice = self._feasible.nearest(condition)
        found = tuple(
            mutated(reference or self._parent(aimed, rng), self._space.operators, rng)
            for _ in range(n)
        )
        return Sample(found, n, aimed, notice)

    def _parent(self, aimed: Attributes, rng: np.random.Generator) -> Architecture:
        drawn: list[int] = rng.integers(len(self._corpus), size=self.tournament).tolist()
        if not aimed:
            return self._corpus[drawn[0]]
        best = min(drawn, key=lambda i: self._feasible.distance(self._scores[i], aimed))
        return self._corpus[best]

    def log_prob(self, architecture: Architecture) -> float | None:
        """None: many parents lead to the same child."""
        return None


def mutated(
    architecture: Architecture, operators: Sequence[str], rng: np.random.Generator
) -> Architecture:
    """The architecture with one operator replaced, or one edge more or less; what has no path from
    input to output is drawn again."""
    size = len(architecture)
    origin = f"mutation of {architecture.origin.removeprefix('mutation of ')}"
    pairs = [(src, dst) for dst in range(1, size) for src in range(dst)]
    while True:
        ops, edges = list(architecture.ops), set(architecture.edges)
        if size > 2 and rng.random() < 0.5:
            node = int(rng.integers(1, size - 1))
            others = [op for op in operators if op != ops[node]] or list(operators)
            ops[node] = others[int(rng.integers(len(others)))]
        else:
            edges ^= {pairs[int(rng.integers(len(pairs)))]}
        try:
            return Architecture(tuple(ops), tuple(edges), origin)
        except ArchitectureError:
            continue
