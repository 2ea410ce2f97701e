"""Annealing started again and again, each time from another set of fragments."""

from __future__ import annotations

from agents.heuristics.annealing import anneal
from agents.heuristics.search import better
from agents.heuristics.sets import first_schedules
from agents.scheduler import Budget, Meter, Partial, Result
from fragenv.schedule.problem import Problem

#: set by hand, with LeNet, AlexNet and SqueezeNet in sight; ``scripts/tune.py restarts``
#: ranks other values
RESTARTS = 6
#: share of the calls for the schedules that annealing starts from
START_SHARE = 0.25


class RestartScheduler:
    """The best of several annealings, from the best schedules of different sets of fragments."""

    name = "restarts"

    def __init__(self, restarts: int = RESTARTS) -> None:
        self.restarts = restarts

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        starts = first_schedules(meter, int(budget.apply_calls * START_SHARE))[: self.restarts]
        best = starts[0] if starts else None
        for number in range(self.restarts if starts else 0):
            share = meter.left // (self.restarts - number)
            start = starts[number % len(starts)]
            best = better(problem, best, anneal(meter, start, share, seed + number))
        return Result.of(self.name, best or meter.finish(Partial(problem.initial())), meter)
