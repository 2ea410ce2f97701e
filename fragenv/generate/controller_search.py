"""MnasNet's search over NAS-Bench-201, where an exhaustive table says how good its best cell is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from fragenv.generate import nb201
from fragenv.generate.cell_env import Goal
from fragenv.generate.controller import MnasReward
from fragenv.generate.controller_policy import TRAINING, Controller, ControllerConfig
from fragenv.generate.counts import counts
from fragenv.generate.decisions import CellDecisions, Chosen
from fragenv.generate.generator import Attributes
from fragenv.generate.skeleton import Skeleton
from fragenv.generate.training import TrainingConfig

#: cells drawn from a trained controller to see what it has learnt to make
SAMPLES = 500
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Field:
    """All cells with what they are worth.

    ``score`` is the mean of the ranks, from 0 to 1, by the training-free scores; ``cost`` is what
    the reward lowers.
    """

    cells: tuple[Chosen, ...]
    score: Values
    cost: Values
    reward: Values

    @property
    def optimum_cost(self) -> float:
        """Cost of the cell of highest reward."""
        return float(self.cost[self.reward.argmax()])

    def percentile(self, reward: float) -> float:
        """The share of the cells, in percent, whose reward is at most ``reward``."""
        return float((self.reward <= reward).mean()) * 100


@dataclass(frozen=True, slots=True)
class Found:
    """A search of some evaluations.

    ``best`` is the percentile of the best cell among them, ``evaluations`` how many it took to
    reach the 99.9th, None where it was not reached. ``distinct`` counts cells seen, each once.
    """

    best: float
    evaluations: int | None
    distinct: int


@dataclass(frozen=True, slots=True)
class Learnt:
    """A search by a controller, and the mean cost of cells drawn from it afterwards."""

    found: Found
    mean_cost: float


def make_field(
    scores: Mapping[nb201.Choices, Attributes], names: Sequence[str], cost: str, weight: float
) -> Field:
    """Score and reward of every cell; the reward's target is the median cost.

    Args:
        scores: attributes of all cells, as ``table.cell_scores`` gives them.
        names: attributes whose ranks are averaged.
        cost: the attribute to lower; ``macs`` need not be among the scores.
        weight: MnasNet's w.
    """
    choices = list(scores)
    ranks = [rankdata([scores[c][name] for c in choices]) / len(choices) for name in names]
    score = np.mean(ranks, axis=0)
    costs = _macs(tuple(choices)) if cost == "macs" else [scores[c][cost] for c in choices]
    reward = MnasReward("score", "cost", float(np.median(costs)), weight)
    rewards = [reward({"score": s, "cost": c}) for s, c in zip(score, costs, strict=True)]
    cells = tuple(map(CellDecisions().chosen, choices))
    return Field(cells, score, np.array(costs, dtype=np.float64), np.array(rewards))


@cache
def _macs(choices: tuple[nb201.Choices, ...]) -> list[float]:
    return [float(counts(nb201.from_choices(c), Skeleton()).macs) for c in choices]


def random_search(field: Field, budget: int, seed: int) -> Found:
    """``budget`` cells, none twice."""
    drawn = np.random.default_rng(seed).permutation(len(field.cells))[:budget]
    return _judged(field, drawn.tolist())


def controller_search(
    field: Field,
    budget: int,
    seed: int,
    learning_rate: float = TRAINING.learning_rate,
    config: ControllerConfig = ControllerConfig(),  # noqa: B008
) -> Learnt:
    """A controller that makes ``budget`` cells; one that it makes again counts again."""
    row = {cell: number for number, cell in enumerate(field.cells)}
    made: list[int] = []

    def worth(chosen: Chosen, _: Goal) -> float:
        made.append(row[chosen])
        return float(field.reward[made[-1]])

    training = TrainingConfig(budget, learning_rate, TRAINING.clip)
    controller = Controller(CellDecisions(), worth, seed, training, config)
    controller.train()
    drawn = [row[cell] for cell in controller.draw([()] * SAMPLES, seed)]
    return Learnt(_judged(field, made[:budget]), float(field.cost[drawn].mean()))


def _judged(field: Field, made: Sequence[int]) -> Found:
    rewards = field.reward[list(made)]
    good = np.flatnonzero(rewards >= np.quantile(field.reward, 0.999))
    return Found(
        best=field.percentile(float(rewards.max())),
        evaluations=int(good[0]) + 1 if len(good) else None,
        distinct=len(set(made)),
    )
