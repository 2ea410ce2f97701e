"""What exact search minimises: the cost of a finished schedule, and what bounds say of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from fragenv.schedule.bounds_state import Parts
from fragenv.schedule.objective import Objective as Counted
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import State


class Objective(Protocol):
    """A cost that never falls when cycles or traffic rise."""

    @property
    def memoryless(self) -> bool:
        """Whether the past counts by its latency and traffic alone. A period does not: it depends
        on how everything was placed."""

    def of(self, state: State) -> float:
        """The cost of a finished schedule."""

    def least(self, futures: Iterable[Parts]) -> float:
        """The least cost of schedules that take at least one of ``futures``."""


class ProblemCost:
    """``Problem.cost``: the objective's cycles and traffic, each over its bound, added."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.memoryless = problem.objective is Counted.LATENCY

    def of(self, state: State) -> float:
        return self.problem.cost(state)

    def least(self, futures: Iterable[Parts]) -> float:
        return min(
            self.cycles(f) / self.problem.bound_cycles
            + f.traffic_bytes / self.problem.bound.traffic_bytes
            for f in futures
        )

    def cycles(self, future: Parts) -> int:
        """The objective's cycles that a future takes at least."""
        latency = self.problem.objective is Counted.LATENCY
        return future.least.latency_cycles if latency else future.period_cycles


class Latency:
    """Cycles alone."""

    memoryless = True

    def of(self, state: State) -> float:
        return float(state.latency_cycles)

    def least(self, futures: Iterable[Parts]) -> float:
        return float(min(f.least.latency_cycles for f in futures))
