"""What no schedule of a problem is below, by the bounds from its first state on and the bound on
the bytes of all tasks at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fragenv.schedule.bounds_bytes import least_bytes
from fragenv.schedule.bounds_state import StateBounds
from fragenv.schedule.objective import Objective

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem


class LeastPossible(NamedTuple):
    """Each on its own: no schedule has fewer cycles, none fewer bytes, and none a lower default
    cost."""

    latency_cycles: int
    traffic_bytes: int
    cost: float


def least_possible(problem: Problem) -> LeastPossible:
    """The bounds of a problem. Tasks count in closed form, which takes seconds for a network
    (``StateBounds`` with ``max_settings=0``).

    Raises:
        FragenvError: the solver of the linear program on bytes failed.
    """
    moved = least_bytes(problem)
    throughput = problem.objective is Objective.THROUGHPUT
    latencies, traffics, costs = [], [], []
    for parts in StateBounds(problem, max_settings=0).futures(problem.initial()):
        latency, traffic = parts.least
        traffic = max(traffic, moved)
        latencies.append(latency)
        traffics.append(traffic)
        costs.append(problem.cost_of(parts.period_cycles if throughput else latency, traffic))
    return LeastPossible(min(latencies), min(traffics), min(costs))
