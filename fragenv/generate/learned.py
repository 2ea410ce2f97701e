"""What all generators share that train a network on a corpus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from torch import nn

from fragenv.generate.architecture import Architecture
from fragenv.generate.generator import Attributes, NotFittedError, Sample
from fragenv.generate.model_file import read_model, write_model
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.vocabulary import Vocabulary
from fragenv.generate.weights import WeightsError

#: a module with a dataclass ``config`` of which it is made
Model = TypeVar("Model", bound=nn.Module)


class LearnedGenerator(ABC, Generic[Model]):
    """A generator whose network is trained by a ``Trainer``.

    A system says how its network is trained (``_trainer``), made again from a file (``_model_of``)
    and drawn from (``_draw``).

    Args:
        training: steps and learning rate of ``fit``; ``TRAINING`` where none is given.
    """

    name: ClassVar[str]
    TRAINING: ClassVar[TrainingConfig]

    def __init__(self, training: TrainingConfig | None = None) -> None:
        self.training = training or self.TRAINING
        self._learnt: tuple[Vocabulary, Model] | None = None

    @abstractmethod
    def _trainer(
        self,
        vocabulary: Vocabulary,
        corpus: Sequence[Architecture],
        scores: Sequence[Attributes] | None,
        seed: int,
    ) -> Trainer:
        """The training of a new model."""

    @abstractmethod
    def _model_of(self, config: Mapping[str, Any]) -> Model:
        """An untrained model of the fields of its configuration."""

    @abstractmethod
    def _draw(
        self,
        n: int,
        aimed: Attributes,
        reference: Architecture | None,
        rng: np.random.Generator,
    ) -> Sequence[Architecture | None]:
        """``n`` attempts, None for what is no architecture; ``aimed`` is feasible."""

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
        vocabulary = Vocabulary.of(corpus, scores)
        trainer = self._trainer(vocabulary, corpus, scores, seed)
        self.adopt(vocabulary, trainer.model)
        return trainer

    def adopt(self, vocabulary: Vocabulary, model: nn.Module) -> Self:
        """Use a model that was trained on a corpus of this vocabulary."""
        self._learnt = vocabulary, model  # type: ignore[assignment]
        return self

    @torch.no_grad()
    def sample(
        self,
        n: int,
        condition: Attributes | None = None,
        reference: Architecture | None = None,
        *,
        rng: np.random.Generator,
    ) -> Sample:
        aimed, notice = self.vocabulary.feasible.nearest(condition)
        found = self._draw(n, aimed, reference, rng)
        return Sample(tuple(a for a in found if a is not None), n, aimed, notice)

    def log_prob(self, architecture: Architecture) -> float | None:
        """None, where a system does not say otherwise."""
        return None

    @property
    def vocabulary(self) -> Vocabulary:
        """What the corpus was made of.

        Raises:
            NotFittedError: nothing has been learnt yet.
        """
        return self._fitted()[0]

    @property
    def model(self) -> Model:
        """The trained network.

        Raises:
            NotFittedError: nothing has been learnt yet.
        """
        return self._fitted()[1]

    def _fitted(self) -> tuple[Vocabulary, Model]:
        if self._learnt is None:
            raise NotFittedError(self.name)
        return self._learnt

    def save(self, path: Path, command: str) -> None:
        """Write all that ``load`` needs, with the command that made it.

        Raises:
            FileError: the file cannot be written.
        """
        extra = {"vocabulary": self.vocabulary.to_dict()}
        write_model(path, self.name, self.model, command, extra)

    @classmethod
    def load(cls, path: Path) -> Self:
        """A generator as it was saved.

        Raises:
            WeightsError: the file is missing, damaged or of another system.
        """
        generator = cls()
        model, header = read_model(path, cls.name, generator._model_of)
        try:
            return generator.adopt(Vocabulary.from_dict(header["vocabulary"]), model)
        except (KeyError, TypeError, ValueError):
            raise WeightsError(f"'{path}' is of no generator of architectures") from None


def drawing(rng: np.random.Generator) -> torch.Generator:
    """PyTorch's source of randomness, seeded by the next number of ``rng``."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))
