"""What every generative system promises, and the conditions under which it generates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fragenv.errors import FragenvError
from fragenv.generate.architecture import Architecture
from fragenv.registry import Registry

#: what is known or wanted of an architecture, by name: ``latency_cycles``, ``macs``, ``naswot`` ...
Attributes = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """What ``Generator.sample`` gives.

    ``architectures`` are the valid ones of ``attempts``; ``condition`` is what was aimed at, which
    is the nearest feasible condition where the wanted one was not, and ``notice`` says so.
    """

    architectures: tuple[Architecture, ...]
    attempts: int
    condition: Attributes = field(default_factory=dict)
    notice: str = ""


class Generator(Protocol):
    """A system that generates architectures."""

    @property
    def name(self) -> str: ...

    def fit(
        self, corpus: Sequence[Architecture], scores: Sequence[Attributes] | None, seed: int
    ) -> None:
        """Learn from ``corpus``; ``scores`` are the attributes of each of its architectures, all
        with the same names. The same arguments give the same generator.

        Raises:
            FragenvError: the corpus is empty or holds what the system cannot express.
        """
        ...

    def sample(
        self,
        n: int,
        condition: Attributes | None = None,
        reference: Architecture | None = None,
        *,
        rng: np.random.Generator,
    ) -> Sample:
        """``n`` attempts at an architecture with the attributes of ``condition``, near
        ``reference`` where the system knows what near is.

        Raises:
            FragenvError: ``fit`` has not been called, or a name of ``condition`` is unknown.
        """
        ...

    def log_prob(self, architecture: Architecture) -> float | None:
        """The logarithm of the probability of the numbered graph; None where the system has none.
        Minus infinity for what it never makes."""
        ...


class NotFittedError(FragenvError):
    """A generator is used before ``fit``."""

    def __init__(self, name: str) -> None:
        super().__init__(f"generator '{name}' has learnt nothing yet; call fit first")


@dataclass(frozen=True, slots=True)
class Feasible:
    """The conditions that a corpus shows to be feasible: the range of each attribute in it."""

    low: Mapping[str, float]
    high: Mapping[str, float]

    @staticmethod
    def of(scores: Sequence[Attributes]) -> Feasible:
        """The ranges of ``scores``.

        Raises:
            FragenvError: two of them name different attributes.
        """
        names = tuple(scores[0]) if scores else ()
        if any(tuple(score) != names for score in scores):
            raise FragenvError(f"all scores must name the same attributes: {', '.join(names)}")
        return Feasible(
            {name: min(score[name] for score in scores) for name in names},
            {name: max(score[name] for score in scores) for name in names},
        )

    def nearest(self, condition: Attributes | None) -> tuple[dict[str, float], str]:
        """The feasible condition nearest to ``condition``, and a sentence where it is another.

        Raises:
            FragenvError: an attribute that the corpus has not.
        """
        found: dict[str, float] = {}
        notices = []
        for name, wanted in (condition or {}).items():
            if name not in self.low:
                known = ", ".join(self.low) or "none; give scores to fit"
                raise FragenvError(f"unknown attribute '{name}'; known are {known}")
            found[name] = min(max(wanted, self.low[name]), self.high[name])
            if found[name] != wanted:
                notices.append(
                    f"{name} {wanted:g} is out of reach ({self.low[name]:g} to "
                    f"{self.high[name]:g}); {found[name]:g} is the nearest"
                )
        return found, "; ".join(notices)

    def distance(self, attributes: Attributes, condition: Attributes) -> float:
        """Mean distance in units of the ranges, over the attributes of ``condition``."""
        if not condition:
            return 0.0
        parts = [
            abs(attributes[name] - wanted) / max(self.high[name] - self.low[name], 1e-12)
            for name, wanted in condition.items()
        ]
        return sum(parts) / len(parts)


GENERATORS: Registry[type[Generator]] = Registry("generator")
