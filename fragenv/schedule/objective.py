"""What a schedule is good for: one job soon (latency), or job after job (throughput)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from fragenv.errors import FragenvError
from fragenv.schedule.lower import lower
from fragenv.schedule.period import steady_state

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem
    from fragenv.schedule.state import State

#: jobs that may be under way at once where the objective is throughput; each has its own
#: tensors in DRAM, the host's inputs and outputs among them
JOBS_IN_FLIGHT = 2


class Objective(StrEnum):
    LATENCY = "latency"
    THROUGHPUT = "throughput"

    @property
    def jobs_in_flight(self) -> int:
        """Jobs that share the chip."""
        return JOBS_IN_FLIGHT if self is Objective.THROUGHPUT else 1


def objective_of(name: str) -> Objective:
    """An objective by its name.

    Raises:
        FragenvError: there is none of that name.
    """
    try:
        return Objective(name)
    except ValueError:
        known = ", ".join(Objective)
        raise FragenvError(f"unknown objective '{name}'; choose one of {known}") from None


def objective_cycles(problem: Problem, state: State) -> int:
    """The cycles that the objective counts: the latency so far, or, where it is throughput, those
    of the busiest unit so far and of a finished state the period. They never decrease."""
    if problem.objective is Objective.LATENCY:
        return state.latency_cycles
    return state.period_cycles if state.finished else state.busiest_cycles


def bound_cycles(problem: Problem) -> int:
    """What no schedule's ``objective_cycles`` is below."""
    if problem.objective is Objective.LATENCY:
        return problem.bound.latency_cycles
    return problem.bound.period_cycles


def period_cycles(problem: Problem, state: State) -> int:
    """Cycles from one job to the next, of a finished state: the latency, unless jobs overlap."""
    if problem.objective is Objective.LATENCY:
        return state.latency_cycles
    return steady_state(problem, lower(problem, state)).period_cycles
