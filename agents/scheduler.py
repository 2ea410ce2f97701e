"""What every scheduler is given and gives back, and the meter that keeps them comparable."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from fragenv.registry import Registry
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.state import State


@dataclass(frozen=True, slots=True)
class Budget:
    """What a scheduler may use: calls of ``Problem.apply``, and optionally seconds."""

    apply_calls: int = 20_000
    seconds: float | None = None


class BudgetSpentError(Exception):
    """Raised by the meter; schedulers catch it and return the best schedule so far."""


class Meter:
    """Counts calls of ``apply`` and ends the search when the budget is spent.

    ``apply`` raises ``BudgetSpentError``; ``finish`` completes one schedule whatever it takes, so
    that every scheduler has an answer. Both count.
    """

    def __init__(self, problem: Problem, budget: Budget) -> None:
        self.problem, self.budget = problem, budget
        self.calls = 0
        #: whether the seconds were over before the search was
        self.timed_out = False
        self._start = time.perf_counter()

    @property
    def wall_s(self) -> float:
        return time.perf_counter() - self._start

    @property
    def left(self) -> int:
        """Calls left; 0 when the time is over."""
        if self.budget.seconds is not None and self.wall_s > self.budget.seconds:
            self.timed_out = True
            return 0
        return max(0, self.budget.apply_calls - self.calls)

    def check_time(self) -> None:
        """For long work without ``apply``.

        Raises:
            BudgetSpentError: the time is over.
        """
        if self.budget.seconds is not None and self.wall_s > self.budget.seconds:
            self.timed_out = True
            raise BudgetSpentError

    def apply(self, state: State, action: int) -> State:
        """``Problem.apply``, counted.

        Raises:
            BudgetSpentError: no call is left.
        """
        if not self.left:
            raise BudgetSpentError
        self.calls += 1
        return self.problem.apply(state, action)

    def count(self, calls: int) -> None:
        """Count decisions that were evaluated without ``apply``, at most ``left``."""
        self.calls += calls

    def finish(self, path: Partial) -> Partial:
        """Complete a schedule with the first legal RUN each time, beyond the budget if need be."""
        stride = self.problem.num_choices + 1
        while not path.state.finished:
            action = next(
                a
                for a in self.problem.legal_actions(path.state)
                if a >= MAX_SLOTS and (a - MAX_SLOTS) % stride < self.problem.num_choices
            )
            self.calls += 1
            path = path.then(action, self.problem.apply(path.state, action))
        return path


@dataclass(frozen=True, slots=True)
class Partial:
    """A state with the actions that lead there, newest last, shared with its siblings."""

    state: State
    action: int = -1
    before: Partial | None = None

    def then(self, action: int, state: State) -> Partial:
        return Partial(state, action, self)

    @property
    def actions(self) -> tuple[int, ...]:
        found: list[int] = []
        node: Partial | None = self
        while node is not None and node.before is not None:
            found.append(node.action)
            node = node.before
        return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class Result:
    """A complete schedule and what it took to find it. ``cost`` is ``Problem.cost``;
    ``timed_out``: the budget's seconds ended the search."""

    scheduler: str
    actions: tuple[int, ...]
    state: State
    cost: float
    apply_calls: int
    wall_s: float
    timed_out: bool = False

    @staticmethod
    def of(scheduler: str, path: Partial, meter: Meter) -> Result:
        cost = meter.problem.cost(path.state)
        return Result(
            scheduler, path.actions, path.state, cost, meter.calls, meter.wall_s, meter.timed_out
        )


class Scheduler(Protocol):
    """Anything that decides."""

    @property
    def name(self) -> str: ...

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        """A complete schedule. The same arguments give the same schedule, unless the budget
        limits seconds. A class attribute ``deterministic = True`` says that the seed is not
        used."""
        ...


def is_deterministic(scheduler: Scheduler) -> bool:
    """Whether every seed gives the same schedule, as far as the scheduler says so."""
    return bool(getattr(scheduler, "deterministic", False))


SCHEDULERS: Registry[Scheduler] = Registry("scheduler")
