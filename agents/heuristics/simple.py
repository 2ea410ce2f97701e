"""Random, greedy, best uniform fragment, best static set of fragments."""

from __future__ import annotations

import random

from agents.heuristics.annealing import anneal
from agents.heuristics.covers import fuses
from agents.heuristics.search import beam_search, better, widest_beam
from agents.heuristics.sets import (
    among_covers,
    side_by_side,
    single_layers,
    try_covers,
    try_sets,
    within,
)
from agents.scheduler import Budget, BudgetSpentError, Meter, Partial, Result
from fragenv.hardware.fragment import Stage
from fragenv.schedule.problem import MAX_SLOTS, Problem

#: how often the random scheduler takes an EVICT or SPILL where one is legal
RANDOM_EVICTS = 0.05
#: sets that the static-set scheduler searches thoroughly after trying all of them once
FINALISTS = 4


class RandomScheduler:
    """The best of random schedules, as many as the budget allows."""

    name = "random"

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter, rng = Meter(problem, budget), random.Random(seed)
        best = None
        while meter.left or best is None:
            path = Partial(problem.initial())
            try:
                while not path.state.finished:
                    action = self._action(problem, path, rng)
                    path = path.then(action, meter.apply(path.state, action))
            except BudgetSpentError:
                if best is None:
                    best = meter.finish(path)
                break
            best = better(problem, best, path)
        assert best is not None
        return Result.of(self.name, best, meter)

    @staticmethod
    def _action(problem: Problem, path: Partial, rng: random.Random) -> int:
        legal = problem.legal_actions(path.state)
        runs: list[int] = []
        others: list[int] = []
        for action in legal:
            index = (action - MAX_SLOTS) % (problem.num_choices + 1)
            is_run = action >= MAX_SLOTS and index < problem.num_choices
            (runs if is_run else others).append(action)
        if others and rng.random() < RANDOM_EVICTS:
            return rng.choice(others)
        return rng.choice(runs)


class GreedyScheduler:
    """Myopic: each time the RUN that raises the cost least, beyond its part of the bounds."""

    name = "greedy"
    deterministic = True

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        best = beam_search(meter, 1)
        return Result.of(self.name, best or meter.finish(Partial(problem.initial())), meter)


class UniformScheduler:
    """The best single fragment for the whole network. Every array fragment of the library is
    tried; fusing, keeping and the order are searched with a beam, the budget shared equally."""

    name = "uniform"
    deterministic = True

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        arrays = [i for i, f in enumerate(problem.library) if Stage.MAC in f.stages]
        best = None
        for number, index in enumerate(arrays or range(len(problem.library))):
            share = meter.left // max(1, len(arrays) - number)
            found = widest_beam(meter, share, lambda c, f=index: c.fragment == f)  # type: ignore[misc]
            best = better(problem, best, found)
        return Result.of(self.name, best or meter.finish(Partial(problem.initial())), meter)


class StaticSetScheduler:
    """The best set of fragments that fit the chip together and stay bound. Every such set is tried
    with the operators divided evenly between its fragments and with a free choice; the best few are
    annealed within the set."""

    name = "static_set"

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        tried = try_sets(meter, budget.apply_calls // 2)
        for number, (chosen, path) in enumerate(tried[:FINALISTS]):
            share = meter.left // (min(FINALISTS, len(tried)) - number)
            tried[number] = (chosen, anneal(meter, path, share, seed, fragments=chosen))
        best = min((p for _, p in tried), key=lambda p: problem.cost(p.state), default=None)
        return Result.of(self.name, best or meter.finish(Partial(problem.initial())), meter)


class BeamScheduler:
    """Beam search: the schedules of covers, sets of fragments that stay bound, a wide beam within
    the best of these, one among what the covers consist of, and one within a set of fragments that
    work side by side. Where the budget is enough for it, half of it goes into a wide beam over all
    choices, swapping where it pays.

    Where layers may be fused, even a narrow beam over all choices of a set takes a good part of a
    small budget: sets are left to the covers then, one beam takes the fragments of the best cover,
    and the one within a set side by side fuses nothing."""

    name = "beam"
    deterministic = True

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        best: Partial | None = None
        covered = try_covers(meter, budget.apply_calls // 6)
        if covered:
            best = covered[0][1]
        # the narrowest beam tries about every choice once
        everything = sum(map(len, problem.choices))
        sparing = bool(covered) and fuses(problem) and everything > budget.apply_calls // 4
        if not sparing:
            sets = try_sets(meter, budget.apply_calls // 12)
            if sets:
                chosen, path = sets[0]
                found = widest_beam(meter, budget.apply_calls // 12, within(chosen))
                best = better(problem, best, better(problem, path, found))
        free = everything < meter.left // 2
        if covered:
            share = meter.left // 2 if free else meter.left
            filters = [among_covers(problem, covered)]
            if sparing:
                used = {problem.choices[n][i].fragment for n, i in covered[0][0].tasks}
                filters.append(within(frozenset(used)))
            for chosen in side_by_side(problem)[:1]:
                beside = within(chosen)
                filters.append(single_layers(beside) if sparing else beside)
            for allow in filters:
                found = widest_beam(meter, share // len(filters), allow)
                best = better(problem, best, found)
        if free or not covered:
            best = better(problem, best, widest_beam(meter, meter.left))
        return Result.of(self.name, best or meter.finish(Partial(problem.initial())), meter)
