"""Simulated annealing over whole schedules."""

from __future__ import annotations

import math
import random

from agents.heuristics.sets import first_schedules
from agents.scheduler import Budget, BudgetSpentError, Meter, Partial, Result
from fragenv.schedule.choices import Choice
from fragenv.schedule.problem import MAX_SLOTS, Problem

#: first and last temperature, as shares of the cost of the starting schedule
HOT, COLD = 0.02, 0.0005
#: share of the budget that goes into the starting schedules
START_SHARE = 0.25
#: changes in a row that changed no decision, after which the search ends
PATIENCE = 2000


class Plan:
    """What annealing changes: a preferred choice per operator, and a priority that orders the
    operators that are ready."""

    def __init__(self, choices: list[int], priorities: list[float]) -> None:
        self.choices, self.priorities = choices, priorities

    def copy(self) -> Plan:
        return Plan(self.choices.copy(), self.priorities.copy())


class AnnealingScheduler:
    """Anneals from the best of covers and of narrow beams within sets of fragments that fit."""

    name = "annealing"

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        starts = first_schedules(meter, int(budget.apply_calls * START_SHARE))
        if not starts:
            return Result.of(self.name, meter.finish(Partial(problem.initial())), meter)
        return Result.of(self.name, anneal(meter, starts[0], meter.left, seed), meter)


def anneal(
    meter: Meter, start: Partial, calls: int, seed: int, fragments: frozenset[int] | None = None
) -> Partial:
    """The best schedule found from ``start`` with at most ``calls`` calls.

    A change is decoded from the first decision that it touches on: the states before are shared.
    ``fragments``: change to these alone.
    """
    problem, rng = meter.problem, random.Random(seed)
    moves = Moves(problem, fragments)
    plan, trail = plan_of(problem, start), _trail(start)
    best, cost = start, problem.cost(start.state)
    best_cost = cost
    first_call, span = meter.calls, max(1, calls)
    idle = 0
    try:
        while meter.calls - first_call < calls and idle < PATIENCE:
            progress = (meter.calls - first_call) / span
            heat = best_cost * HOT * (COLD / HOT) ** progress
            changed = moves.change(plan, rng)
            before = meter.calls
            path = _decode(meter, changed, trail)
            idle = idle + 1 if meter.calls == before else 0
            new = problem.cost(path.state)
            if new <= cost or rng.random() < math.exp((cost - new) / heat):
                plan, cost, trail = changed, new, _trail(path)
                if cost < best_cost:
                    best, best_cost = path, cost
    except BudgetSpentError:
        pass
    return best


def _trail(path: Partial) -> list[Partial]:
    found = []
    node: Partial | None = path
    while node is not None:
        found.append(node)
        node = node.before
    return found[::-1]


def plan_of(problem: Problem, path: Partial) -> Plan:
    """The plan that decodes to ``path``. Operators inside its tasks prefer their largest task
    without fused layers on the same fragment, right after where they run now."""
    choices = [0] * len(problem.operators)
    priorities = [float(i) for i in range(len(problem.operators))]
    for position, action in enumerate(path.actions):
        node, index = divmod(action - MAX_SLOTS, problem.num_choices + 1)
        chosen = problem.choices[node][index]
        for place, other in enumerate(chosen.operators):
            priorities[other] = position + place / len(problem.operators)
            choices[other] = next(
                (
                    i
                    for i, c in enumerate(problem.choices[other])
                    if c.fragment == chosen.fragment and not c.layers and not c.keep
                ),
                0,
            )
        choices[node] = index
    return Plan(choices, priorities)


class Moves:
    """Random changes of a plan."""

    def __init__(self, problem: Problem, fragments: frozenset[int] | None) -> None:
        self.problem = problem
        everything = frozenset(range(len(problem.library)))
        self.fragments = sorted(fragments or everything)
        allowed = set(self.fragments)
        #: per node: indices of the allowed choices
        self.offered = [
            [i for i, c in enumerate(options) if c.fragment in allowed]
            for options in problem.choices
        ]
        self.nodes = [n for n, offered in enumerate(self.offered) if offered]

    def change(self, plan: Plan, rng: random.Random) -> Plan:
        """A choice, on the same fragment or any, its keeping alone, all uses of a fragment in a
        range, or a priority."""
        new = plan.copy()
        node = rng.choice(self.nodes)
        kind = rng.random()
        if kind < 0.3:
            new.choices[node] = rng.choice(self._alike(node, new.choices[node]))
        elif kind < 0.45:
            new.choices[node] = rng.choice(self.offered[node])
        elif kind < 0.65:
            now = self.problem.choices[node][new.choices[node]]
            new.choices[node] = self._like(node, now, now.fragment, not now.keep)
        elif kind < 0.85:
            self._move_fragment(new, node, rng)
        else:
            new.priorities[node] += rng.uniform(-3.0, 3.0)
        return new

    def _alike(self, node: int, now: int) -> list[int]:
        """The allowed choices of a node on the fragment that it has now."""
        options = self.problem.choices[node]
        found = [i for i in self.offered[node] if options[i].fragment == options[now].fragment]
        return found or self.offered[node]

    def _move_fragment(self, plan: Plan, node: int, rng: random.Random) -> None:
        old = self.problem.choices[node][plan.choices[node]].fragment
        target = rng.choice(self.fragments)
        low, high = sorted((rng.choice(self.nodes), node))
        for other in self.nodes:
            if low <= other <= high:
                now = self.problem.choices[other][plan.choices[other]]
                if now.fragment == old:
                    plan.choices[other] = self._like(other, now, target, now.keep)

    def _like(self, node: int, now: Choice, fragment: int, keep: bool) -> int:
        """The choice with the same operators and another fragment or keeping; the same one where
        that is not offered."""
        options = self.problem.choices[node]
        wanted = (now.operators, fragment, keep)
        for index in self.offered[node]:
            option = options[index]
            if (option.operators, option.fragment, option.keep) == wanted:
                return index
        return options.index(now)


def _decode(meter: Meter, plan: Plan, trail: list[Partial]) -> Partial:
    """The schedule of a plan; decisions that agree with ``trail`` are taken from there."""
    problem = meter.problem
    heads = _heads(problem, plan)
    path, shared = trail[0], 1
    while not path.state.finished:
        action = _next_action(problem, path, plan, heads)
        if shared and shared < len(trail) and trail[shared].action == action:
            path = trail[shared]
            shared += 1
        else:
            shared = 0
            path = path.then(action, meter.apply(path.state, action))
    return path


def _heads(problem: Problem, plan: Plan) -> set[int]:
    """The operators at which the plan begins tasks: those in no task of an earlier one."""
    heads: set[int] = set()
    taken: set[int] = set()
    for node in sorted(range(len(plan.choices)), key=lambda n: (plan.priorities[n], n)):
        if node not in taken and problem.choices[node]:
            heads.add(node)
            taken.update(problem.choices[node][plan.choices[node]].operators)
    return heads


def _next_action(problem: Problem, path: Partial, plan: Plan, heads: set[int]) -> int:
    """The wanted task of the first operator that is ready; one that is inside the task of another
    waits for that one as long as something else is ready."""
    stride = problem.num_choices + 1
    legal = [
        divmod(a - MAX_SLOTS, stride)
        for a in problem.legal_actions(path.state)
        if a >= MAX_SLOTS and (a - MAX_SLOTS) % stride < problem.num_choices
    ]
    node = min((n for n, _ in legal), key=lambda n: (n not in heads, plan.priorities[n], n))
    indices = [i for n, i in legal if n == node]
    wanted = plan.choices[node]
    fragment = problem.choices[node][wanted].fragment
    alike = [i for i in indices if problem.choices[node][i].fragment == fragment]
    index = wanted if wanted in indices else (alike or indices)[0]
    return MAX_SLOTS + node * stride + index
