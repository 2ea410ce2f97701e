"""The binding sub-problem against every set of fragments and every assignment there is."""

from __future__ import annotations

import random

import pytest
from strategies import GraphBuilder, random_chip

import agents.heuristics  # noqa: F401 - registers the schedulers
from fragenv.hardware.chip import Area
from fragenv.models import zoo
from fragenv.schedule.problem import Problem

pytest.importorskip("ortools")

from agents.exact.binding import (
    BindingScheduler,
    Task,
    best_binding,
    cost_of,
    tasks_of,
)
from agents.scheduler import Budget


def covers(problem: Problem, tasks: list[Task], node: int) -> list[list[Task]]:
    """Every way to run the operators from ``node`` on, as lists of tasks."""
    if node == len(problem.operators):
        return [[]]
    found = []
    for task in tasks:
        if task.choice.operators[0] == node:
            rest = covers(problem, tasks, task.choice.operators[-1] + 1)
            found += [[task, *others] for others in rest]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_best_binding__is_as_cheap_as_every_binding_there_is(seed: int) -> None:
    build = GraphBuilder(3, 9)
    build.pool(build.conv(build.conv("in", 8, 3, 1), 12, 1, 1), 2, 2)
    problem = Problem(build.graph(), random_chip(random.Random(seed)), 2)
    tasks = tasks_of(problem)
    every = [
        cover
        for cover in covers(problem, tasks, 0)
        if sum((problem.areas[f] for f in {t.choice.fragment for t in cover}), Area()).fits(
            problem.region
        )
    ]
    best = min(cost_of(problem, cover) for cover in every)
    found = best_binding(problem, tasks, random.Random(seed).choice(every), seed)
    assert found.optimal
    assert found.cost == pytest.approx(best, rel=1e-4)
    assert len(every) > 5


def test_binding__gives_a_schedule_within_the_budget() -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 4)
    result = BindingScheduler().solve(problem, Budget(800), 0)
    state = problem.initial()
    for action in result.actions:
        state = problem.apply(state, action)
    assert state.finished and problem.cost(state) == pytest.approx(result.cost)
    assert result.apply_calls <= 800 + len(problem.operators)
