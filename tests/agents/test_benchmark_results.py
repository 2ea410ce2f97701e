"""What rows say, against figures worked out by hand; which searches a suite asks for."""

from __future__ import annotations

import math
import time
from itertools import chain

import pytest

from agents.benchmark.contestants import Field
from agents.benchmark.plots import gap_figure, pareto_figure, profile_figure
from agents.benchmark.results import (
    Outcome,
    comparable,
    front,
    lines_of,
    outcomes_of,
    profile,
    winners,
)
from agents.benchmark.solve import FIRST_CALLS, within_seconds
from agents.benchmark.suite import Case, Instance, Limit, Suite
from agents.scheduler import SCHEDULERS, Budget, Meter, Partial, Result, is_deterministic
from agents.splits import models_of, part_of
from fragenv.errors import FragenvError
from fragenv.models import zoo
from fragenv.schedule.problem import Problem

ONE, TWO = (Instance("lenet", chip, 1, 1, "latency") for chip in ("zu7ev", "cgra512"))
LIMIT = Limit(calls=10)


def outcome(
    instance: Instance, scheduler: str, cost: float, seed: int = 0, traffic: float = 1.0
) -> Outcome:
    return Outcome(instance, LIMIT, scheduler, seed, cost, 2 * cost, traffic, 10, 0.5)


#: a uses no seed, b has two; a is better on ONE, b on TWO
KNOWN = [
    outcome(ONE, "a", 1.0),
    outcome(TWO, "a", 4.0),
    outcome(ONE, "b", 2.0, 0),
    outcome(TWO, "b", 2.0, 0),
    outcome(ONE, "b", 8.0, 1),
    outcome(TWO, "b", 2.0, 1),
]


def test_lines__are_geometric_means_and_their_spread_over_seeds() -> None:
    first, second = lines_of(KNOWN)
    assert (first.scheduler, first.seeds, first.won) == ("a", 1, 1)
    assert first.cost == pytest.approx(2.0) and first.spread == 0.0  # sqrt(1 x 4)
    assert (second.scheduler, second.seeds, second.won) == ("b", 2, 1)
    # seed 0: sqrt(2 x 2) = 2; seed 1: sqrt(8 x 2) = 4
    assert second.cost == pytest.approx(3.0) and second.spread == pytest.approx(1.0)
    assert second.cycles == pytest.approx(2 * (2 * 2 * 8 * 2) ** 0.25)


def test_winners__share_what_they_are_as_good_at() -> None:
    assert winners(KNOWN) == {ONE: ["a"], TWO: ["b"]}
    tie = [outcome(ONE, "a", 1.5), outcome(ONE, "b", 1.5 * (1 + 1e-12)), outcome(ONE, "c", 1.6)]
    assert winners(tie) == {ONE: ["a", "b"]}


def test_comparable__leaves_out_what_is_not_done_by_all() -> None:
    assert comparable(KNOWN) == KNOWN
    assert {o.instance for o in comparable(KNOWN[:-1])} == {ONE}


def test_profile__is_over_the_best_of_the_instance() -> None:
    assert profile(KNOWN) == {"a": [1.0, 2.0], "b": [1.0, 1.0, 2.0, 8.0]}


def test_front__holds_what_nothing_beats_in_both() -> None:
    points = [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0), (2.0, 2.5), (3.0, 3.0), (1.0, 4.0), (2.0, 2.0)]
    assert front(points) == [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]


def test_outcomes__are_over_the_bounds_and_leave_out_what_cannot_be() -> None:
    row = {"scheduler": "a", "cost": 6.0, "cycles": 30, "traffic_bytes": 8}
    row |= {"apply_calls": 10, "wall_s": 1.0}
    case, other = Case(ONE, "a", LIMIT, 3), Case(TWO, "a", LIMIT, 3)
    bounds = {ONE: {"cost": 3.0, "cycles": 10, "traffic_bytes": 4}, TWO: {"error": "too small"}}
    (found,) = outcomes_of(bounds, {case: row, other: row})
    assert found == Outcome(ONE, LIMIT, "a", 3, 2.0, 3.0, 2.0, 10, 1.0)


def test_figures__have_a_panel_for_each_thing_to_compare() -> None:
    """The curves are geometric means, above the bound in percent."""
    later = [
        Outcome(o.instance, Limit(calls=20), *[getattr(o, n) for n in Outcome.__slots__[2:]])
        for o in KNOWN
    ]
    (axis,) = [a for a in gap_figure(KNOWN + later).axes if a.get_visible()]
    curves = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert curves == {"a": [[10, 100], [20, 100]], "b": [[10, 200], [20, 200]]}
    (axis,) = [a for a in gap_figure(KNOWN).axes if a.get_visible()]  # one budget
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    assert [line.get_xdata().tolist() for line in axis.lines[1::2]] == [[100], [200]]
    assert len(profile_figure(KNOWN).axes) == 1
    assert len([a for a in pareto_figure(KNOWN).axes if a.get_visible()]) == 2


def test_suite__searches_once_where_no_seed_is_used() -> None:
    suite = Suite(
        models=["lenet"],
        chips=["zu7ev", "cgra512"],
        objectives=["latency", "throughput"],
        batches=[1],
        depths=[1, 2],
        limits=[Limit(calls=10), Limit(seconds=0.5)],
        seeds=3,
    )
    instances = suite.instances()
    assert len(instances) == 8
    cases = list(suite.cases(instances[0], [("greedy", True), ("random", False)]))
    assert len(cases) == 2 * (1 + 3)
    assert len({case.key for i in instances for case in suite.cases(i, [("a", False)])}) == 48


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        (Instance("lenett", "zu7ev", 1, 1, "latency"), "lenett"),
        (Instance("../net.onnx", "zu7ev", 1, 1, "latency"), "not in the zoo"),
        (Instance("lenet", "mine.toml", 1, 1, "latency"), "unknown chip 'mine.toml'"),
        (Instance("lenet", "zu7ev", 10**9, 1, "latency"), "batch 1000000000"),
        (Instance("lenet", "zu7ev", 1, 9, "latency"), "depth 9"),
        (Instance("lenet", "zu7ev", 1, 1, "speed"), "speed"),
    ],
)
def test_instance__is_what_everybody_has(instance: Instance, message: str) -> None:
    with pytest.raises(FragenvError, match=message):
        instance.problem()


def test_splits__every_network_of_the_zoo_is_in_one_part() -> None:
    parts = [models_of(part) for part in ("train", "validation", "test")]
    assert sorted(chain(*parts)) == sorted(models_of("all")) == sorted(zoo.names())
    assert part_of("resnet18") == "test" and part_of("lenet") == "train"
    with pytest.raises(FragenvError, match="unknown split 'tset'"):
        models_of("tset")


def test_deterministic_schedulers__give_the_same_for_every_seed() -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 2)
    found = {n for n in SCHEDULERS if is_deterministic(SCHEDULERS.get(n))}
    assert found == {"greedy", "uniform", "beam", "list", "ideals"}
    for name in found:
        results = [SCHEDULERS.get(name).solve(problem, Budget(300), seed) for seed in (0, 1)]
        assert results[0].actions == results[1].actions


def test_field__refuses_unknown_names() -> None:
    with pytest.raises(FragenvError, match="did you mean 'greedy'"):
        Field(("greedi",)).contestants()
    assert [c.label for c in Field(("greedy", "beam")).contestants()] == ["greedy", "beam"]


class Counting:
    """Finishes one schedule and says that it used its budget, up to ``most`` calls; its costs get
    lower with every search."""

    name = "counting"

    def __init__(self, most: float, pause_s: float = 0.0) -> None:
        self.most, self.pause_s = most, pause_s
        self.budgets: list[int] = []

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        self.budgets.append(budget.apply_calls)
        time.sleep(self.pause_s)
        meter = Meter(problem, budget)
        path = meter.finish(Partial(problem.initial()))
        calls = int(min(self.most, budget.apply_calls))
        cost = 100.0 / len(self.budgets)
        return Result(self.name, path.actions, path.state, cost, calls, meter.wall_s)


def test_within_seconds__doubles_the_calls_until_more_change_nothing() -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 1)
    scheduler = Counting(most=3 * FIRST_CALLS)
    found = within_seconds(scheduler, problem, 1000.0, 0)
    assert scheduler.budgets == [FIRST_CALLS * 2**i for i in range(4)]
    assert found.apply_calls == FIRST_CALLS * (1 + 2 + 3 + 3) and found.cost == 25.0
    assert not found.timed_out


def test_within_seconds__ends_with_the_time() -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 1)
    scheduler = Counting(most=math.inf, pause_s=0.05)
    found = within_seconds(scheduler, problem, 0.12, 0)
    assert 1 <= len(scheduler.budgets) <= 3
    assert found.timed_out and found.wall_s >= 0.12
