"""Branch and bound against every schedule there is, and against itself with other objectives."""

from __future__ import annotations

import random

import pytest
from strategies import GraphBuilder, random_chip, random_graph

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.exact import ideals
from agents.exact.branch import branch_and_bound
from agents.exact.fingerprint import Seen, fingerprint
from agents.exact.ideals import Price, alone, best_cover
from agents.exact.objective import Latency, Objective, ProblemCost
from agents.exact.scheduler import certify
from agents.scheduler import SCHEDULERS, Budget, Meter, Partial
from fragenv.errors import InfeasibleError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import OpKind
from fragenv.models import zoo
from fragenv.schedule.bounds_state import StateBounds
from fragenv.schedule.bounds_task import TaskBounds
from fragenv.schedule.choices import Choice
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import State


def tiny_graph(branching: bool) -> DataflowGraph:
    build = GraphBuilder(3, 8)
    first = build.same(OpKind.RELU, build.conv("in", 8, 3, 1))
    if branching:
        build.same(OpKind.ADD, build.conv(first, 8, 1, 1), first)
    else:
        build.conv(first, 4, 3, 1)
    return build.graph()


def every_end(problem: Problem, state: State) -> list[State]:
    """The ends of all schedules, whatever is decided."""
    if state.finished:
        return [state]
    actions = problem.legal_actions(state)
    return [end for a in actions for end in every_end(problem, problem.apply(state, a))]


def tiny_problems(objective: str = "latency", count: int = 16) -> list[Problem]:
    found = []
    for seed in range(count):
        rng = random.Random(seed)
        graph, chip = tiny_graph(seed % 2 == 0), random_chip(rng)
        try:
            whole = Problem(graph, chip, rng.choice([1, 2]))
            library = tuple(rng.sample(whole.library, min(2, len(whole.library))))
            depth = 1 + seed % 3
            found.append(Problem(graph, chip, whole.batch, depth, library, objective))
        except InfeasibleError:
            continue
    return found


def search(problem: Problem, objective: Objective, start: Partial | None = None) -> float:
    meter = Meter(problem, Budget(200_000))
    found = branch_and_bound(meter, StateBounds(problem), objective, start)
    assert found.optimal and found.path is not None
    assert objective.of(found.path.state) == found.cost == found.lower_bound
    return found.cost


def test_branch_and_bound__is_as_good_as_every_schedule_there_is() -> None:
    compared = 0
    for problem in tiny_problems():
        ends = every_end(problem, problem.initial())
        compared += len(ends)
        for objective in (ProblemCost(problem), Latency()):
            optimum = min(objective.of(end) for end in ends)
            assert search(problem, objective) == pytest.approx(optimum, abs=1e-9)
    assert compared > 1000


def test_branch_and_bound__is_as_good_as_every_period_there_is() -> None:
    compared = 0
    for problem in tiny_problems("throughput", 6)[1::2]:  # the small ones
        costs = [problem.cost(end) for end in every_end(problem, problem.initial())]
        compared += len(costs)
        assert search(problem, ProblemCost(problem)) == pytest.approx(min(costs), abs=1e-9)
    assert compared > 50


def test_exact__works_out_no_plan_when_its_seconds_are_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AlexNet's tables take seconds; without them there is an answer, and a true bound."""
    worked_out = []
    made = TaskBounds._of_tiling
    monkeypatch.setattr(
        TaskBounds, "_of_tiling", lambda *given: worked_out.append(1) or made(*given)
    )
    problem = Problem(zoo.graph("alexnet"), "cgra512", 2)
    meter = Meter(problem, Budget(20, 0.001))
    found = certify(meter, 0, ProblemCost(problem))
    assert meter.timed_out and not worked_out
    assert found.path is not None and found.path.state.finished
    assert 2.0 <= found.lower_bound <= found.cost
    assert SCHEDULERS.get("exact").solve(problem, Budget(20, 0.001), 0).timed_out


def test_certify__proves_the_optimum() -> None:
    problem = tiny_problems()[0]
    best = min(every_end(problem, problem.initial()), key=problem.cost)
    meter = Meter(problem, Budget(10_000))
    found = certify(meter, 0, ProblemCost(problem))
    assert found.optimal and found.cost == pytest.approx(problem.cost(best))


@pytest.mark.parametrize("calls", [1, 40, 400])
def test_branch_and_bound__never_proves_more_than_is_true(calls: int) -> None:
    """Cut short, the lower bound is below the cost of the best schedule that is known."""
    problem = Problem(random_graph(random.Random(7), 6), "cgra512", 1)
    known = certify(Meter(problem, Budget(4000)), 0, ProblemCost(problem))
    meter = Meter(problem, Budget(calls))
    found = branch_and_bound(meter, StateBounds(problem), ProblemCost(problem), None)
    assert meter.calls <= calls
    assert found.lower_bound <= known.cost + 1e-12
    assert found.cost >= found.lower_bound


def test_exact__proves_lenet_on_every_fragment() -> None:
    problem = Problem(zoo.graph("lenet"), "xc7z020")
    found = certify(Meter(problem, Budget(2000)), 0, ProblemCost(problem))
    assert found.optimal
    assert found.path is not None and found.path.state.finished


def test_fingerprint__is_that_of_the_future() -> None:
    """Branches in either order may lead to one state; a state and its successor never agree."""
    build = GraphBuilder(3, 8)
    for _ in range(2):
        build.conv("in", 4, 1, 1)
    problem = Problem(build.graph(), "cgra512", 1)
    state = problem.initial()
    action = problem.legal_actions(state)[0]
    once, again = problem.apply(state, action), problem.apply(state, action)
    assert fingerprint(once) == fingerprint(again) != fingerprint(state)
    seen = Seen()
    assert not seen.dominated(once) and seen.dominated(again) and not seen.dominated(state)
    worse, other = again.copy(), again.copy()
    worse.latency_cycles += 1
    other.latency_cycles += 1
    other.dram_read_bytes -= 1
    assert seen.dominated(worse) and not seen.dominated(other)


def every_cover(problem: Problem, done: frozenset[int], price: Price) -> float:
    """The cheapest way to run what is left, every order and every choice tried."""
    if len(done) == len(problem.operators):
        return 0.0
    best = float("inf")
    for choice in (c for options in problem.choices for c in options):
        makers = {t - problem.num_inputs for t in choice.sources} - {*range(-9, 0)}
        if done.isdisjoint(choice.operators) and makers <= done:
            best = min(
                best, price(choice) + every_cover(problem, done | {*choice.operators}, price)
            )
    return best


@pytest.mark.parametrize("seed", [1, 4, 9])
def test_best_cover__is_as_cheap_as_every_cover_there_is(seed: int) -> None:
    whole = Problem(random_graph(random.Random(seed), 5), "cgra512", 1, 2)
    problem = Problem(whole.graph, "cgra512", 1, 2, library=whole.library[:1])
    rng = random.Random(seed)
    prices = {
        c.operators: rng.uniform(0.5, 1.5) * len(c.operators) ** 0.5
        for options in problem.choices
        for c in options
    }

    def price(choice: Choice) -> float:
        return prices[choice.operators]

    cover = best_cover(problem, price, frozenset({0}))
    assert cover is not None and cover.exact
    assert cover.cost == pytest.approx(sum(map(price, cover.tasks)))
    assert cover.cost == pytest.approx(every_cover(problem, frozenset(), price))
    run = [n for task in cover.tasks for n in task.operators]
    assert sorted(run) == list(range(len(problem.operators)))


def test_best_cover__says_when_it_looked_at_one_order_only(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 1)
    price, everything = alone(problem), frozenset(range(len(problem.library)))
    exact = best_cover(problem, price, everything)
    monkeypatch.setattr(ideals, "MAX_IDEALS", 2)
    one = best_cover(problem, price, everything)
    assert exact is not None and one is not None
    assert exact.exact and not one.exact
    assert one.cost == pytest.approx(exact.cost)  # a chain has one order
