"""What exact search minimises: the cost of a finished schedule, and what bounds say of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from fragenv.schedule.bounds_state import Least
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import State


class Objective(Protocol):
    """A cost that never falls when latency or traffic rise."""

    def of(self, state: State) -> float:
        """The cost of a finished schedule."""

    def least(self, futures: Iterable[Least]) -> float:
        """The least cost of schedules that take at least one of ``futures``."""


class ProblemCost:
    """``Problem.cost``: latency and traffic, each over its bound, added."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def of(self, state: State) -> float:
        return self.problem.cost(state)

    def least(self, futures: Iterable[Least]) -> float:
        unit = self.problem.bound
        return min(
            f.latency_cycles / unit.latency_cycles + f.traffic_bytes / unit.traffic_bytes
            for f in futures
        )


class Latency:
    """Cycles alone."""

    def of(self, state: State) -> float:
        return float(state.latency_cycles)

    def least(self, futures: Iterable[Least]) -> float:
        return float(min(f.latency_cycles for f in futures))
