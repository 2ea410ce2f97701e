"""Actions: EVICT per slot first, then per node its choices (RUN) and SPILL.

The action space may be padded to more nodes and choices than the problem has. EVICT comes first, so
that more nodes move no index; more choices per node do, hence the two numberings: the environment's
(padded) and the problem's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from fragenv.schedule.problem import MAX_SLOTS

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem
    from fragenv.schedule.state import State


class Evict(NamedTuple):
    """Give the area of the fragment in ``slot`` back."""

    slot: int


class Run(NamedTuple):
    """Run ``problem.choices[node][choice]``."""

    node: int
    choice: int


class Spill(NamedTuple):
    """Send the kept output of ``node`` to DRAM."""

    node: int


Action = Evict | Run | Spill


class ActionMap:
    """The actions of a problem in a space padded to ``nodes`` x (``choices`` + 1) + MAX_SLOTS."""

    def __init__(self, problem: Problem, nodes: int, choices: int) -> None:
        self.problem, self.nodes, self.choices = problem, nodes, choices
        self.num_actions = MAX_SLOTS + nodes * (choices + 1)
        own = [self.encode(self.decode_own(a)) for a in range(problem.num_actions)]
        self._padded = np.array(own)
        self._own = [-1] * self.num_actions
        for index, padded in enumerate(own):
            self._own[padded] = index

    def decode_own(self, action: int) -> Action:
        """The meaning of one of the problem's actions."""
        return _decode(action, self.problem.num_choices)

    def decode(self, action: int) -> Action:
        """The meaning of one of the environment's actions, which must be in range."""
        return _decode(action, self.choices)

    def encode(self, action: Action) -> int:
        """The environment's number of an action."""
        match action:
            case Evict(slot):
                return slot
            case Run(node, choice):
                return MAX_SLOTS + node * (self.choices + 1) + choice
            case Spill(node):
                return MAX_SLOTS + node * (self.choices + 1) + self.choices

    def to_problem(self, action: int) -> int:
        """The problem's number of one of the environment's actions; -1 for padding and for
        numbers outside the space."""
        return self._own[action] if 0 <= action < self.num_actions else -1

    def from_problem(self, action: int) -> int:
        """The environment's number of one of the problem's actions."""
        return int(self._padded[action])

    def mask(self, state: State) -> npt.NDArray[np.bool_]:
        """(num_actions,): True where the action is legal."""
        mask = np.zeros(self.num_actions, np.bool_)
        mask[self._padded[self.problem.legal_actions(state)]] = True
        return mask


def _decode(action: int, choices: int) -> Action:
    if action < MAX_SLOTS:
        return Evict(action)
    node, index = divmod(action - MAX_SLOTS, choices + 1)
    return Spill(node) if index == choices else Run(node, index)
