"""Branch and bound over the transition function: the optimum where it ends, a certificate always.

Every legal action of every state is a branch, EVICT and SPILL too. A state is left out where no
schedule from it can be cheaper than the best one known (``StateBounds``), or where another state
has the same future and has taken no more (``fingerprint``).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from agents.exact.fingerprint import Seen
from agents.exact.objective import Objective
from agents.scheduler import BudgetSpentError, Meter, Partial
from fragenv.schedule.bounds_state import StateBounds

#: open states beyond which the deepest one is opened instead of the one with the least bound, so
#: that memory stays small
FRONTIER = 50_000
#: costs that differ by less are equal: rounding of two quotients and their sum
EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a search has proved: no schedule costs less than ``lower_bound``."""

    path: Partial | None
    cost: float
    lower_bound: float
    #: states opened, states left out by their bound, states left out for another's sake
    opened: int
    cut: int
    repeated: int

    @property
    def gap(self) -> float:
        """How much of the cost is not proved, as a share of the lower bound."""
        return self.cost / self.lower_bound - 1.0

    @property
    def optimal(self) -> bool:
        return self.cost <= self.lower_bound + EPSILON


@dataclass(order=True, slots=True)
class _Open:
    """A state to go on from; ordered by bound, deeper ones first."""

    bound: float
    rank: int
    number: int
    path: Partial = field(compare=False)
    taken: bool = field(default=False, compare=False)


class _Frontier:
    """Open states: the least bound first, or the newest while there are too many."""

    def __init__(self) -> None:
        self._heap: list[_Open] = []
        self._stack: list[_Open] = []
        self.count = self._number = 0

    def push(self, bound: float, path: Partial) -> None:
        self._number += 1
        one = _Open(bound, path.state.tasks_left, self._number, path)
        heapq.heappush(self._heap, one)
        self._stack.append(one)
        self.count += 1

    def pop(self) -> _Open:
        self.count -= 1
        deep = self.count >= FRONTIER
        while True:
            one = self._stack.pop() if deep else heapq.heappop(self._heap)
            if not one.taken:
                one.taken = True
                if len(self._stack) > 2 * self.count + 1000:
                    self._stack = [s for s in self._stack if not s.taken]
                return one

    def least(self) -> float:
        """The least bound of an open state; infinite where there is none."""
        while self._heap and self._heap[0].taken:
            heapq.heappop(self._heap)
        return self._heap[0].bound if self._heap else float("inf")


def branch_and_bound(
    meter: Meter, bounds: StateBounds, objective: Objective, start: Partial | None
) -> Certificate:
    """Search until the optimum is proved or the meter is spent.

    Args:
        meter: counts and limits the calls of ``apply``.
        bounds: of the meter's problem.
        objective: what is minimised.
        start: a finished schedule to be better than; None for none.

    Raises:
        BudgetSpentError: the time was over before the first state was bounded.
    """
    problem = meter.problem
    best = start
    cost = objective.of(start.state) if start is not None else float("inf")
    root = Partial(problem.initial())
    frontier, seen = _Frontier(), Seen()
    frontier.push(objective.least(bounds.futures(root.state)), root)
    opened = cut = repeated = 0
    lowest = float("inf")
    try:
        while frontier.count and frontier.least() < cost - EPSILON:
            node = frontier.pop()
            if node.bound >= cost - EPSILON:
                continue
            opened += 1
            lowest = node.bound  # until all that follows from it is open
            for action in problem.legal_actions(node.path.state):
                state = meter.apply(node.path.state, action)
                bound = objective.least(bounds.futures(state))
                if bound >= cost - EPSILON:
                    cut += 1
                elif state.finished:
                    best, cost = node.path.then(action, state), objective.of(state)
                elif objective.memoryless and seen.dominated(state):
                    repeated += 1
                else:
                    frontier.push(bound, node.path.then(action, state))
            lowest = float("inf")
    except BudgetSpentError:
        pass
    proved = min(cost, frontier.least(), lowest)
    return Certificate(best, cost, proved, opened, cut, repeated)
