"""The cover that is best where costs add up, played out where they do not."""

from __future__ import annotations

from agents.exact.ideals import Cover, alone, best_cover
from agents.heuristics.search import better
from agents.heuristics.sets import fitting_sets
from agents.scheduler import Budget, BudgetSpentError, Meter, Partial, Result
from fragenv.schedule.problem import MAX_SLOTS, Problem


class IdealScheduler:
    """The best additive cover within each promising set of fragments, its outputs kept on the chip
    wherever that is offered, and nowhere: the better of the two is what it answers."""

    name = "ideals"
    deterministic = True

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        best: Partial | None = None
        price = alone(problem)
        for chosen in fitting_sets(problem):
            if not meter.left:
                break
            cover = best_cover(problem, price, chosen)
            if cover is None:
                continue
            for keep in (True, False):
                best = better(problem, best, _played(meter, cover, keep))
        return Result.of(self.name, best or meter.finish(Partial(problem.initial())), meter)


def _played(meter: Meter, cover: Cover, keep: bool) -> Partial | None:
    """A cover as a schedule; None where the budget ends before it."""
    problem = meter.problem
    path = Partial(problem.initial())
    try:
        for task in cover.tasks:
            options = problem.choices[task.node]
            alike = [
                i
                for i, c in enumerate(options)
                if (c.operators, c.fragment) == (task.operators, task.fragment)
            ]
            index = next((i for i in alike if options[i].keep == keep), alike[0])
            action = MAX_SLOTS + task.node * (problem.num_choices + 1) + index
            path = path.then(action, meter.apply(path.state, action))
    except BudgetSpentError:
        return None
    return path
