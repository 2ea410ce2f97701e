"""An environment whose instance changes from episode to episode."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from agents.generalist.instances import MAX_CHOICES, MAX_EDGES, MAX_OPERATORS
from fragenv.env.actions import ActionMap
from fragenv.env.observation import Encoder, Layout, Observation
from fragenv.schedule.problem import Problem

#: of every instance's observations, so that one policy sees them all
LAYOUT = Layout(MAX_OPERATORS, MAX_EDGES, MAX_CHOICES)


def progress(share: float) -> float:
    """log2(1 + ``share``), for a cost over a reference: 0 to 1 up to the reference. The logarithm
    keeps one swap on an FPGA, which may cost ten whole schedules, from drowning all else."""
    return log2(1 + share)


class PoolInstance:
    """A problem, padded, and the cost that rewards are measured in."""

    def __init__(self, problem: Problem, reference: float) -> None:
        self.problem, self.reference = problem, reference
        self.encoder = Encoder(problem, LAYOUT)
        self.actions = ActionMap(problem, LAYOUT.nodes, LAYOUT.choices)


class PoolEnv(gymnasium.Env[dict[str, Any], np.int64]):
    """Each episode schedules an instance of ``pool``, drawn by the environment's generator.

    Rewards add up to minus ``progress`` of the whole schedule: one as good as the reference returns
    -1 on every network and chip. An illegal action changes nothing and costs 1; agents mask them.
    """

    def __init__(self, pool: Sequence[PoolInstance]) -> None:
        self.pool = pool
        self.observation_space = LAYOUT.space()
        self.action_space = spaces.Discrete(LAYOUT.num_actions)
        self._begin(pool[0])

    def _begin(self, instance: PoolInstance) -> None:
        self._instance = instance
        self._state = instance.problem.initial()
        self._mask = instance.actions.mask(self._state)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """(num_actions,): True where an action is legal now."""
        return self._mask.copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw the next instance; a seed fixes the order of all further ones."""
        super().reset(seed=seed, options=options)
        self._begin(self.pool[int(self.np_random.integers(len(self.pool)))])
        return self._instance.encoder.encode(self._state, self._mask), {}

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one decision."""
        instance, before = self._instance, self._state
        problem = instance.problem
        if not self._mask[action]:
            return instance.encoder.encode(before, self._mask), -1.0, before.finished, False, {}
        self._state = problem.apply(before, instance.actions.to_problem(int(action)))
        self._mask = instance.actions.mask(self._state)
        costs = (problem.cost(state) / instance.reference for state in (before, self._state))
        paid_before, paid = map(progress, costs)
        observation = instance.encoder.encode(self._state, self._mask)
        reward = paid_before - paid
        return observation, reward, self._state.finished, False, {}
