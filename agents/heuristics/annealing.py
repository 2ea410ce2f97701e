"""Simulated annealing over whole schedules."""

from __future__ import annotations

import math
import random

from agents.heuristics.search import beam_search
from agents.heuristics.simple import UniformScheduler
from agents.scheduler import Budget, BudgetSpentError, Meter, Path, Result
from fragenv.schedule.problem import MAX_SLOTS, Choice, Problem

#: first and last temperature, as shares of the cost of the starting schedule
HOT, COLD = 0.02, 0.0005
#: share of the budget that goes into the starting schedules
START_SHARE = 0.25


class Plan:
    """What annealing changes: a preferred choice per operator, and a priority that orders the
    operators that are ready."""

    def __init__(self, choices: list[int], priorities: list[float]) -> None:
        self.choices, self.priorities = choices, priorities

    def copy(self) -> Plan:
        return Plan(self.choices.copy(), self.priorities.copy())


class AnnealingScheduler:
    """Anneals from the better of a greedy and a uniform schedule. A change is decoded from the
    first decision that it touches on: the states before are shared."""

    name = "annealing"

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter, rng = Meter(problem, budget), random.Random(seed)
        best = self._start(meter, budget)
        plan = self._plan_of(problem, best)
        current, trail = best, self._trail(best)
        cost = best_cost = problem.cost(best.state)
        try:
            first_call, span = meter.calls, max(1, meter.left)
            while True:
                progress = (meter.calls - first_call) / span
                heat = problem.cost(best.state) * HOT * (COLD / HOT) ** progress
                changed = self._change(problem, plan, rng)
                path = self._decode(meter, changed, trail)
                new = problem.cost(path.state)
                if new <= cost or rng.random() < math.exp((cost - new) / heat):
                    plan, current, cost, trail = changed, path, new, self._trail(path)
                    if cost < best_cost:
                        best, best_cost = current, cost
        except BudgetSpentError:
            pass
        return Result.of(self.name, best, meter)

    @staticmethod
    def _start(meter: Meter, budget: Budget) -> Path:
        problem = meter.problem
        greedy = beam_search(meter, 1)
        calls = int(budget.apply_calls * START_SHARE) - meter.calls
        if greedy is None or calls < 1:
            return greedy or meter.finish(Path(problem.initial()))
        uniform = UniformScheduler().solve(problem, Budget(calls), 0)
        meter.calls += uniform.apply_calls
        path = Path(problem.initial())
        if problem.cost(greedy.state) <= uniform.cost:
            return greedy
        for action in uniform.actions:
            # states of a schedule already paid for
            path = path.then(action, problem.apply(path.state, action))
        return path

    @staticmethod
    def _trail(path: Path) -> list[Path]:
        found = []
        node: Path | None = path
        while node is not None:
            found.append(node)
            node = node.before
        return found[::-1]

    @staticmethod
    def _plan_of(problem: Problem, path: Path) -> Plan:
        choices = [0] * len(problem.operators)
        priorities = [float(i) for i in range(len(problem.operators))]
        for position, action in enumerate(path.actions):
            node, index = divmod(action - MAX_SLOTS, problem.num_choices + 1)
            choices[node], priorities[node] = index, float(position)
        return Plan(choices, priorities)

    @staticmethod
    def _change(problem: Problem, plan: Plan, rng: random.Random) -> Plan:
        """One random change: a choice, its keeping alone, all uses of a fragment, or a priority."""
        new = plan.copy()
        nodes = [n for n, options in enumerate(problem.choices) if options]
        node = rng.choice(nodes)
        options = problem.choices[node]
        kind = rng.random()
        if kind < 0.45:
            new.choices[node] = rng.randrange(len(options))
        elif kind < 0.65:
            now = options[min(new.choices[node], len(options) - 1)]
            new.choices[node] = _like(options, now, now.fragment, not now.keep)
        elif kind < 0.85:
            old = options[min(new.choices[node], len(options) - 1)].fragment
            target = rng.randrange(len(problem.library))
            low, high = sorted((rng.choice(nodes), node))
            for other in range(low, high + 1):
                offered = problem.choices[other]
                if offered:
                    now = offered[min(new.choices[other], len(offered) - 1)]
                    if now.fragment == old:
                        new.choices[other] = _like(offered, now, target, now.keep)
        else:
            new.priorities[node] += rng.uniform(-3.0, 3.0)
        return new

    @staticmethod
    def _decode(meter: Meter, plan: Plan, trail: list[Path]) -> Path:
        """The schedule of a plan; decisions that agree with ``trail`` are taken from there."""
        problem = meter.problem
        path, shared = trail[0], 1
        while not path.state.finished:
            action = _next_action(problem, path, plan)
            if shared and shared < len(trail) and trail[shared].action == action:
                path = trail[shared]
                shared += 1
            else:
                shared = 0
                path = path.then(action, meter.apply(path.state, action))
        return path


def _next_action(problem: Problem, path: Path, plan: Plan) -> int:
    stride = problem.num_choices + 1
    legal = [
        divmod(a - MAX_SLOTS, stride)
        for a in problem.legal_actions(path.state)
        if a >= MAX_SLOTS and (a - MAX_SLOTS) % stride < problem.num_choices
    ]
    node = min((n for n, _ in legal), key=lambda n: (plan.priorities[n], n))
    indices = [i for n, i in legal if n == node]
    wanted = plan.choices[node]
    index = wanted if wanted in indices else indices[0]
    return MAX_SLOTS + node * stride + index


def _like(options: tuple[Choice, ...], now: Choice, fragment: int, keep: bool) -> int:
    """The choice with the same operators and another fragment or keeping; the same one where that
    is not offered."""
    for index, option in enumerate(options):
        if (option.operators, option.fragment, option.keep) == (now.operators, fragment, keep):
            return index
    return options.index(now)
