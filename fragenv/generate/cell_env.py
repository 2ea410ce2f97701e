"""Building a cell as a Gymnasium environment: one decision a step, its worth at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from fragenv.generate.decisions import Chosen, Decisions

#: what is wanted of the cell: numbers from 0 to 1
Goal = tuple[float, ...]
#: what a finished cell is worth under a goal
Worth = Callable[[Chosen, Goal], float]
Observation = npt.NDArray[np.float32]
#: reward of an option that is not allowed; nothing else happens
ILLEGAL = -1.0


class CellEnv(gymnasium.Env[Observation, np.int64]):
    """An episode makes one cell.

    The observation is what the controller of Zoph and Le (ICLR 2017) is given, its own last choice,
    with the number of the decision, the options that are allowed now (the first ``options``
    numbers, as ``action_masks`` gives them) and the goal. What was chosen before that is for the
    agent to remember. The reward is 0 until the last decision, then ``worth``; ``info`` then has
    the decisions as ``chosen``.

    Args:
        decisions: the space of cells.
        worth: of a finished cell.
        goal_size: numbers of a goal. ``reset`` draws them, or takes ``options["goal"]``.
    """

    def __init__(self, decisions: Decisions, worth: Worth, goal_size: int = 0) -> None:
        self.decisions, self.worth, self.goal_size = decisions, worth, goal_size
        size = 2 * decisions.options + decisions.length + goal_size
        self.observation_space = spaces.Box(0.0, 1.0, (size,), np.float32)
        self.action_space = spaces.Discrete(decisions.options)
        self._chosen: Chosen = ()
        self._goal: Goal = ()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        drawn = self.np_random.random(self.goal_size).tolist()
        self._chosen, self._goal = (), tuple((options or {}).get("goal", drawn))
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if not self.decisions.allowed(self._chosen)[int(action)]:
            return self._observation(), ILLEGAL, False, False, {"illegal": True}
        self._chosen = (*self._chosen, int(action))
        if len(self._chosen) < self.decisions.length:
            return self._observation(), 0.0, False, False, {}
        worth = self.worth(self._chosen, self._goal)
        return self._observation(), worth, True, False, {"chosen": self._chosen}

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """The options that are allowed now."""
        return np.array(self.decisions.allowed(self._chosen))

    def _observation(self) -> Observation:
        return observe(self.decisions, self._chosen, self._goal)


def observe(decisions: Decisions, chosen: Chosen, goal: Goal) -> Observation:
    """What an agent sees after ``chosen``; nothing is allowed any more at the end."""
    options, count = decisions.options, len(chosen)
    seen = np.zeros(2 * options + decisions.length + len(goal), dtype=np.float32)
    if count < decisions.length:
        seen[:options] = decisions.allowed(chosen)
        seen[options + count] = 1.0
    if chosen:
        seen[options + decisions.length + chosen[-1]] = 1.0
    seen[2 * options + decisions.length :] = goal
    return seen
