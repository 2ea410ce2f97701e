"""One row at a time: the bounds of an instance, and one search."""

from __future__ import annotations

import time
from typing import Any

from agents.benchmark.contestants import Contestant
from agents.benchmark.row_store import Row
from agents.benchmark.suite import Case, Instance
from agents.exact.objective import ProblemCost
from agents.heuristics.simple import RandomScheduler
from agents.scheduler import Budget, Result, Scheduler
from fragenv.errors import InfeasibleError
from fragenv.schedule.bounds_state import StateBounds
from fragenv.schedule.problem import Problem

#: calls of random schedules before anything is timed: they fill the tables of plans, for which
#: otherwise the first search would pay
WARM_UP_CALLS = 300
#: calls of the first search within a time; each further one has twice as many
FIRST_CALLS = 500


def bound_key(instance: Instance, settings: int) -> str:
    """The key of the row with an instance's bounds. ``settings``: see ``bound_row``."""
    return f"{instance.key} | bound | {settings}"


def columns(instance: Instance) -> dict[str, Any]:
    """What every row says about its instance."""
    return {
        "model": instance.model,
        "chip": instance.chip,
        "batch": instance.batch,
        "max_depth": instance.max_depth,
        "objective": instance.objective,
    }


def prepared(instance: Instance) -> Problem:
    """The problem of an instance with its tables of plans filled as far as random schedules do.

    Raises:
        FragenvError: see ``Instance.problem``.
    """
    problem = instance.problem()
    RandomScheduler().solve(problem, Budget(WARM_UP_CALLS), 0)
    return problem


def infeasible_row(instance: Instance, settings: int, error: InfeasibleError) -> Row:
    """The row of an instance that no schedule exists for."""
    return {"key": bound_key(instance, settings), **columns(instance), "error": str(error)}


def bound_row(instance: Instance, problem: Problem, settings: int) -> Row:
    """What no schedule of an instance is below.

    Args:
        instance: whose row it is.
        problem: the instance's.
        settings: up to which every plan is looked at, see ``bounds_task.MAX_SETTINGS``.
    """
    start = time.perf_counter()
    cost, bounds = ProblemCost(problem), StateBounds(problem, settings)
    futures = bounds.futures(problem.initial())
    return {
        "key": bound_key(instance, settings),
        **columns(instance),
        # each schedule takes at least the problem's own bounds, whose costs are 1 and 1
        "cost": max(2.0, cost.least(futures)),
        "cycles": max(problem.bound_cycles, min(cost.cycles(f) for f in futures)),
        "traffic_bytes": max(problem.bound.traffic_bytes, min(f.traffic_bytes for f in futures)),
        "problem_latency_cycles": problem.bound.latency_cycles,
        "problem_period_cycles": problem.bound.period_cycles,
        "problem_traffic_bytes": problem.bound.traffic_bytes,
        "every_plan": bounds.tasks.exact,
        "wall_s": round(time.perf_counter() - start, 3),
    }


def case_row(case: Case, problem: Problem, contestant: Contestant) -> Row:
    """One search, its actions as a text of numbers."""
    limit = case.limit
    if limit.calls is not None:
        result = contestant.scheduler.solve(problem, Budget(limit.calls), case.seed)
    else:
        assert limit.seconds is not None
        result = within_seconds(contestant.scheduler, problem, limit.seconds, case.seed)
    state = result.state
    return {
        "key": case.key,
        **columns(case.instance),
        "scheduler": contestant.name,
        "trained_on": contestant.trained_on,
        "limit_calls": limit.calls,
        "limit_seconds": limit.seconds,
        "seed": case.seed,
        "cost": result.cost,
        "cycles": problem.cycles(state),
        "latency_cycles": state.latency_cycles,
        "period_cycles": state.period_cycles,
        "traffic_bytes": state.traffic_bytes,
        "dram_read_bytes": state.dram_read_bytes,
        "dram_write_bytes": state.dram_write_bytes,
        "config_bytes": state.config_bytes,
        "apply_calls": result.apply_calls,
        "wall_s": round(result.wall_s, 4),
        "actions": " ".join(map(str, result.actions)),
    }


def within_seconds(scheduler: Scheduler, problem: Problem, seconds: float, seed: int) -> Result:
    """The best schedule that a scheduler finds in some time.

    Schedulers plan with a number of calls. They are started again and again with twice as many
    until the time is over, the last time with what is left of it, or until more calls change
    nothing. What was spent on the shorter searches counts.
    """
    start = time.perf_counter()
    best: Result | None = None
    calls, budget, used = 0, FIRST_CALLS, -1
    while True:
        left = seconds - (time.perf_counter() - start)
        if best is not None and left <= 0:
            break
        found = scheduler.solve(problem, Budget(budget, max(left, 0.0)), seed)
        calls += found.apply_calls
        if best is None or found.cost < best.cost:
            best = found
        if found.apply_calls == used:
            break
        used = found.apply_calls
        budget *= 2
    wall = time.perf_counter() - start
    return Result(best.scheduler, best.actions, best.state, best.cost, calls, wall, wall >= seconds)
