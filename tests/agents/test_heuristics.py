"""One conformance test for every registered scheduler, and what each promises."""

from __future__ import annotations

import random

import pytest
from blocks import inverted_residual
from strategies import GraphBuilder, random_graph

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.heuristics import simple
from agents.heuristics.search import Filter, beam_search, widest_beam
from agents.heuristics.sets import fitting_sets
from agents.scheduler import SCHEDULERS, Budget, Meter, Partial
from fragenv.errors import FragenvError
from fragenv.graph.operators import OpKind
from fragenv.hardware.chip import Area
from fragenv.hardware.fragment import Stage
from fragenv.models import zoo
from fragenv.schedule.choices import Choice
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.state import BindRecord, State, TaskRecord


def problems() -> list[Problem]:
    return [
        Problem(zoo.graph("lenet"), "cgra512", 2),
        Problem(random_graph(random.Random(5), 7), "xc7z020", 1),
    ]


@pytest.mark.parametrize("name", list(SCHEDULERS))
@pytest.mark.parametrize("problem", problems(), ids=["lenet", "branching"])
def test_scheduler__gives_a_schedule_that_replays_within_the_budget(
    name: str, problem: Problem
) -> None:
    scheduler = SCHEDULERS.get(name)
    assert scheduler.name == name
    result = scheduler.solve(problem, Budget(600), seed=1)
    state = problem.initial()
    for action in result.actions:
        state = problem.apply(state, action)
    assert state.finished
    assert problem.cost(state) == pytest.approx(result.cost)
    assert result.cost >= 2.0  # latency and traffic, each at least its bound
    # one schedule is always completed
    assert result.apply_calls <= 600 + len(problem.operators)
    assert scheduler.solve(problem, Budget(600), seed=1).actions == result.actions


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_scheduler__answers_without_a_budget(name: str) -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 1)
    result = SCHEDULERS.get(name).solve(problem, Budget(1), seed=0)
    assert result.state.finished
    assert result.apply_calls <= 1 + len(problem.operators)


def fragments_used(state: State) -> set[int]:
    return {r.choice.fragment for r in state.records() if isinstance(r, TaskRecord)}


def test_uniform__uses_one_array_fragment() -> None:
    problem = Problem(zoo.graph("squeezenet"), "cgra512", 1)
    state = SCHEDULERS.get("uniform").solve(problem, Budget(2000), 0).state
    (fragment,) = fragments_used(state)
    assert Stage.MAC in problem.library[fragment].stages


def test_static_set__never_swaps() -> None:
    problem = Problem(zoo.graph("squeezenet"), "cgra512", 1)
    state = SCHEDULERS.get("static_set").solve(problem, Budget(3000), 0).state
    binds = [r for r in state.records() if isinstance(r, BindRecord)]
    assert all(bind.start is None for bind in binds)
    assert state.config_bytes == 0


def best_by_brute_force(problem: Problem, state: State) -> float:
    if state.finished:
        return problem.cost(state)
    actions = [a for a in problem.legal_actions(state) if a >= MAX_SLOTS]
    return min(best_by_brute_force(problem, problem.apply(state, a)) for a in actions)


def test_beam__finds_the_optimum_of_a_tiny_problem() -> None:
    build = GraphBuilder(3, 8)
    first = build.same(OpKind.RELU, build.conv("in", 8, 3, 1))
    build.conv(first, 4, 1, 1)
    problem = Problem(build.graph(), "ecp5-85", 1)
    optimum = best_by_brute_force(problem, problem.initial())
    assert SCHEDULERS.get("beam").solve(problem, Budget(5000), 0).cost == pytest.approx(optimum)


def test_beam__with_a_small_budget_looks_at_schedules_that_fuse_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = Problem(inverted_residual(), "cgra512", 1, max_depth=3)
    offered = [choice for options in problem.choices for choice in options]
    assert any(choice.layers for choice in offered)
    passed: list[list[Choice]] = []

    def beam(meter: Meter, calls: int, allow: Filter | None = None) -> Partial | None:
        passed.append([choice for choice in offered if allow is None or allow(choice)])
        return widest_beam(meter, calls, allow)

    monkeypatch.setattr(simple, "widest_beam", beam)
    SCHEDULERS.get("beam").solve(problem, Budget(4 * len(offered) - 4), seed=0)
    assert any(choices and not any(c.layers for c in choices) for choices in passed)


def test_schedulers__unknown_name_is_refused() -> None:
    with pytest.raises(FragenvError, match="did you mean 'greedy'"):
        SCHEDULERS.get("greedi")


def test_fitting_sets__fit_together_and_the_promising_come_first() -> None:
    problem = Problem(zoo.graph("mobilenetv2"), "xc7z045", 8, max_depth=3)
    sets = fitting_sets(problem)
    for chosen in sets:
        assert sum((problem.areas[i] for i in chosen), Area()).fits(problem.region)
    # its three layers run in 228,000 cycles there, in 476,000 on the fastest single circuit
    assert [len(problem.library[i].parts) for i in sets[0]] == [3]

    def cost(chosen: frozenset[int]) -> float:
        path = beam_search(Meter(problem, Budget(2_000)), 1, lambda c: c.fragment in chosen)
        assert path is not None
        return problem.cost(path.state)

    assert cost(sets[0]) < min(cost(sets[1]), cost(sets[len(sets) // 2]))
