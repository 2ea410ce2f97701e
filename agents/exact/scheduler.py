"""Branch and bound as a scheduler among others, and with its certificate."""

from __future__ import annotations

from agents.exact.branch import Certificate, branch_and_bound
from agents.exact.objective import Objective, ProblemCost
from agents.scheduler import SCHEDULERS, Budget, BudgetSpentError, Meter, Partial, Result
from fragenv.schedule.bounds_state import StateBounds
from fragenv.schedule.bounds_task import MAX_SETTINGS
from fragenv.schedule.problem import Problem

#: heuristics whose best schedule is to be beaten, and their share of the calls, together
STARTERS = ("beam", "annealing")
START_SHARE = 0.5


class ExactScheduler:
    """Branch and bound from the best of beam search and annealing. Its tables of bounds are made
    without calls of ``apply``, but the seconds of a budget end them as well."""

    name = "exact"

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        certificate = certify(meter, seed, ProblemCost(problem))
        path = certificate.path or meter.finish(Partial(problem.initial()))
        return Result.of(self.name, path, meter)


def certify(
    meter: Meter, seed: int, objective: Objective, max_settings: int = MAX_SETTINGS
) -> Certificate:
    """The best schedule that the meter's calls allow, and what is proved about it. Where there is
    no time for the tables of bounds, closed forms prove what they can.

    Args:
        meter: counts and limits the calls.
        seed: of the heuristics that start.
        objective: what is minimised.
        max_settings: see ``bounds_task.MAX_SETTINGS``.
    """
    problem = meter.problem
    start: Partial | None = None
    for name in STARTERS:
        calls = int(meter.budget.apply_calls * START_SHARE / len(STARTERS))
        seconds = meter.budget.seconds
        share = None if seconds is None else seconds * START_SHARE / len(STARTERS)
        found = SCHEDULERS.get(name).solve(problem, Budget(calls, share), seed)
        meter.calls += found.apply_calls
        if start is None or objective.of(found.state) < objective.of(start.state):
            start = replayed(problem, found.actions)
        if not meter.left:
            break
    try:
        bounds = StateBounds(problem, max_settings, meter.check_time)
        return branch_and_bound(meter, bounds, objective, start)
    except BudgetSpentError:
        return branch_and_bound(meter, StateBounds(problem, 0), objective, start)


def replayed(problem: Problem, actions: tuple[int, ...]) -> Partial:
    """A schedule as a path of states."""
    path = Partial(problem.initial())
    for action in actions:
        path = path.then(action, problem.apply(path.state, action))
    return path
