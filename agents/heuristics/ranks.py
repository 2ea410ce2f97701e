"""List scheduling by critical path: the operator from which the way to the end is longest comes
first, on the fragment on which it ends earliest (HEFT, Topcuoglu et al., TPDS 2002)."""

from __future__ import annotations

from agents.heuristics.search import Filter, better
from agents.heuristics.sets import fitting_sets
from agents.scheduler import Budget, BudgetSpentError, Meter, Partial, Result
from fragenv.schedule.problem import Problem
from fragenv.schedule.ranks import list_step, upward_ranks


class ListScheduler:
    """List scheduling over all fragments, then within every set of fragments that fit, as far as
    the budget goes; the best of all."""

    name = "list"
    deterministic = True

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        ranks = upward_ranks(problem)
        best = list_schedule(meter, ranks, None)
        for chosen in fitting_sets(problem):
            if not meter.left:
                break
            found = list_schedule(meter, ranks, lambda c, s=chosen: c.fragment in s)  # type: ignore[misc]
            best = better(problem, best, found)
        return Result.of(self.name, best or meter.finish(Partial(problem.initial())), meter)


def list_schedule(meter: Meter, ranks: list[int], allow: Filter | None) -> Partial | None:
    """One pass; None where the budget ends before it or ``allow`` leaves an operator without a
    choice."""
    problem = meter.problem
    path = Partial(problem.initial())
    try:
        while not path.state.finished:
            step = list_step(problem, path.state, ranks, meter.apply, allow)
            if step is None:
                return None
            path = path.then(*step)
    except BudgetSpentError:
        return None
    return path
