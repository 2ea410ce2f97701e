"""Large-neighbourhood search: a part of the schedule is given up and found again by beam search.

Destroy and repair after Shaw (CP 1998). What stays keeps its choice; what is given up may take any,
and the order of all is free.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from agents.heuristics.search import Filter, beam_search
from agents.heuristics.sets import first_schedules
from agents.scheduler import Budget, Meter, Partial, Result
from fragenv.schedule.choices import Choice
from fragenv.schedule.problem import MAX_SLOTS, Problem

#: set by hand, with LeNet, AlexNet and SqueezeNet in sight; ``scripts/tune.py neighbourhood``
#: ranks other values
WINDOW, WIDTH = 4, 2
#: share of the calls for the first schedule
START_SHARE = 0.3
#: repairs in a row without a gain after which the window grows by one
PATIENCE = 12


@dataclass(frozen=True, slots=True)
class NeighbourhoodSettings:
    """What may be tuned: tasks given up at first, width of the beam that finds them again, share of
    the calls for the first schedule."""

    window: int = WINDOW
    width: int = WIDTH
    start_share: float = START_SHARE


class NeighbourhoodScheduler:
    """Large-neighbourhood search from the best of covers and sets of fragments."""

    name = "neighbourhood"

    def __init__(self, settings: NeighbourhoodSettings | None = None) -> None:
        self.settings = settings or NeighbourhoodSettings()

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        starts = first_schedules(meter, int(budget.apply_calls * self.settings.start_share))
        if not starts:
            return Result.of(self.name, meter.finish(Partial(problem.initial())), meter)
        return Result.of(self.name, improved(meter, starts[0], self.settings, seed), meter)


def improved(meter: Meter, start: Partial, settings: NeighbourhoodSettings, seed: int) -> Partial:
    """The best schedule found from ``start`` until the meter is spent."""
    problem, rng = meter.problem, random.Random(seed)
    best, cost = start, problem.cost(start.state)
    window, idle = settings.window, 0
    while meter.left:
        tasks = tasks_of(problem, best)
        free = _given_up(tasks, window, rng)
        found = beam_search(meter, settings.width, _around(tasks, free))
        new = problem.cost(found.state) if found is not None else float("inf")
        if found is not None and new <= cost:
            idle = 0 if new < cost else idle + 1
            best, cost = found, new
        else:
            idle += 1
        if idle >= PATIENCE:
            window, idle = min(len(tasks), window + 1), 0
    return best


def tasks_of(problem: Problem, path: Partial) -> list[Choice]:
    """The choices of a schedule, in its order."""
    stride = problem.num_choices + 1
    return [
        problem.choices[(a - MAX_SLOTS) // stride][(a - MAX_SLOTS) % stride] for a in path.actions
    ]


def _given_up(tasks: list[Choice], window: int, rng: random.Random) -> list[Choice]:
    """Tasks next to each other, tasks of one fragment, or any."""
    kind = rng.random()
    if kind < 0.5:
        first = rng.randrange(max(1, len(tasks) - window + 1))
        return tasks[first : first + window]
    pool = tasks
    if kind < 0.75:
        fragment = rng.choice(tasks).fragment
        pool = [t for t in tasks if t.fragment == fragment]
    return rng.sample(pool, min(window, len(pool)))


def _around(tasks: list[Choice], free: list[Choice]) -> Filter:
    """Lets the tasks that stay keep their choice, and what covers nothing but operators that were
    given up take any."""
    given_up = {node for task in free for node in task.operators}
    stays = {id(task) for task in tasks} - {id(task) for task in free}
    return lambda choice: id(choice) in stays or given_up.issuperset(choice.operators)
