"""The controller as a generator: it learns by making cells what is worth how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fragenv.errors import FragenvError
from fragenv.generate import canonical
from fragenv.generate.architecture import Architecture
from fragenv.generate.baselines import space_of
from fragenv.generate.cell_env import Goal
from fragenv.generate.controller_policy import Controller, ControllerConfig
from fragenv.generate.decisions import Chosen, Decisions, DenseDecisions
from fragenv.generate.generator import Attributes, Feasible, NotFittedError, Sample
from fragenv.generate.training import TrainingConfig

#: attributes of an architecture, measured when they are asked for
Oracle = Callable[[Architecture], Attributes]
#: what the attributes are worth
Reward = Callable[[Attributes], float]


@dataclass(frozen=True, slots=True)
class MnasReward:
    """``score * (latency / target) ** weight`` (Tan et al.: MnasNet, CVPR 2019).

    Args:
        score: name of the attribute to raise.
        latency: name of the attribute to lower.
        target: the latency that costs nothing; the unit is the attribute's.
        weight: at -0.07 a network of twice the latency may pass that scores 5% more.
    """

    score: str
    latency: str
    target: float
    weight: float = -0.07

    def __call__(self, attributes: Attributes) -> float:
        factor: float = (attributes[self.latency] / self.target) ** self.weight
        return attributes[self.score] * factor


class ControllerGenerator:
    """NASNet's controller over the extended space of the corpus, or over another space.

    The reward of a cell is how near it comes to a condition, which is drawn anew for every cell and
    shown to the controller; with ``reward`` it is that, and conditions are ignored. Attributes are
    looked up in the scores of the corpus; a cell that these lack is measured by ``oracle``, or is
    worth nothing. Without scores a cell is worth 1 if the corpus has it.

    Args:
        training: its steps are the cells that ``fit`` makes.
        config: of PPO.
        decisions: the space, where it is not the corpus's extended one.
        oracle: measures what the corpus has not.
        reward: what attributes are worth.
    """

    name = "controller"

    def __init__(
        self,
        training: TrainingConfig = TrainingConfig(steps=3000, learning_rate=5e-3),  # noqa: B008
        config: ControllerConfig = ControllerConfig(),  # noqa: B008
        decisions: Decisions | None = None,
        oracle: Oracle | None = None,
        reward: Reward | None = None,
    ) -> None:
        self.training, self.config, self.decisions = training, config, decisions
        self.oracle, self.reward = oracle, reward
        self._names: tuple[str, ...] = ()
        self._feasible = Feasible({}, {})
        self._controller: Controller | None = None

    def fit(
        self, corpus: Sequence[Architecture], scores: Sequence[Attributes] | None, seed: int
    ) -> None:
        if not corpus:
            raise FragenvError("cannot learn from an empty corpus; give architectures")
        decisions = self.decisions or DenseDecisions(space_of(corpus))
        self._feasible = Feasible.of(scores or ())
        self._names = () if self.reward else tuple(self._feasible.low)
        known = dict(zip(map(canonical.key, corpus), scores or [{}] * len(corpus), strict=True))
        values: dict[Chosen, Attributes | None] = {}

        def worth(chosen: Chosen, goal: Goal) -> float:
            if chosen not in values:
                values[chosen] = self._attributes(decisions.build(chosen), known)
            attributes = values[chosen]
            if attributes is None:
                return 0.0
            if self.reward:
                return self.reward(attributes)
            return 1 - self._feasible.distance(attributes, self._condition(goal))

        controller = Controller(
            decisions, worth, seed, self.training, self.config, len(self._names)
        )
        controller.train()
        self._controller = controller

    def sample(
        self,
        n: int,
        condition: Attributes | None = None,
        reference: Architecture | None = None,
        *,
        rng: np.random.Generator,
    ) -> Sample:
        controller = self._fitted()
        aimed, notice = self._feasible.nearest(condition)
        goals = [self._goal(aimed, rng) for _ in range(n)]
        drawn = controller.draw(goals, int(rng.integers(2**32)))
        return Sample(tuple(map(controller.decisions.build, drawn)), n, aimed, notice)

    def log_prob(self, architecture: Architecture) -> float | None:
        """Of the numbered graph, exact; with conditions, for the middle of every range."""
        controller = self._fitted()
        middle = (0.5,) * len(self._names)
        ways = controller.decisions.sequences(architecture)
        found = [controller.log_prob(chosen, middle) for chosen in ways]
        return float(np.logaddexp.reduce(found)) if found else -float("inf")

    def _fitted(self) -> Controller:
        if self._controller is None:
            raise NotFittedError(self.name)
        return self._controller

    def _attributes(
        self, architecture: Architecture, known: dict[str, Attributes]
    ) -> Attributes | None:
        found = known.get(canonical.key(architecture))
        return self.oracle(architecture) if found is None and self.oracle else found

    def _condition(self, goal: Goal) -> Attributes:
        """The condition of a goal, whose numbers are parts of the ranges."""
        low, high = self._feasible.low, self._feasible.high
        return {
            name: low[name] + part * (high[name] - low[name])
            for name, part in zip(self._names, goal, strict=True)
        }

    def _goal(self, aimed: Attributes, rng: np.random.Generator) -> Goal:
        """What is aimed at as parts of the ranges; the rest anywhere in its range."""
        low, high = self._feasible.low, self._feasible.high
        drawn = dict(zip(self._names, rng.random(len(self._names)).tolist(), strict=True))
        for name in set(aimed) & set(self._names):
            drawn[name] = (aimed[name] - low[name]) / max(high[name] - low[name], 1e-12)
        return tuple(drawn.values())
