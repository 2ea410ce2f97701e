"""Lower bounds: no schedule is below them, from no state on, and small cases worked out by hand."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import GraphBuilder, random_episode, random_problem, seeds

from fragenv.hardware.chip import Area
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.models import zoo
from fragenv.schedule.bounds_compute import circuit_prices
from fragenv.schedule.bounds_plan import jackson
from fragenv.schedule.bounds_state import StateBounds
from fragenv.schedule.problem import Problem


def assert_no_schedule_is_below(problem: Problem, bounds: StateBounds, rng: random.Random) -> None:
    fused = rng.choice([0.0, 0.8])
    for _ in range(3):
        end, actions = random_episode(problem, rng, fused)
        state = problem.initial()
        for action in actions:
            assert any(
                end.latency_cycles >= least.latency_cycles
                and end.traffic_bytes >= least.traffic_bytes
                for least in bounds.least(state)
            ), (state.decisions, end.latency_cycles, end.traffic_bytes, bounds.futures(state))
            state = problem.apply(state, action)
        (least,) = bounds.least(state)
        assert least == (end.latency_cycles, end.traffic_bytes)


@settings(max_examples=12, deadline=None)
@given(seeds, st.integers(1, 3))
def test_bounds__no_schedule_is_below_from_any_state_on(seed: int, depth: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, depth)
    if problem is not None:
        assert_no_schedule_is_below(problem, StateBounds(problem), rng)


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(1, 3))
def test_bounds__closed_forms_are_below_and_weaker(seed: int, depth: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, depth)
    if problem is None:
        return
    loose = StateBounds(problem, max_settings=0)
    assert not loose.tasks.exact
    assert_no_schedule_is_below(problem, loose, rng)


@settings(max_examples=8, deadline=None)
@given(seeds, st.integers(1, 3), st.sampled_from([0, 500]))
def test_bounds__no_period_is_below_from_any_state_on(seed: int, depth: int, tried: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, depth, "throughput")
    if problem is None:
        return
    bounds = StateBounds(problem, tried)
    for _ in range(3):
        end, actions = random_episode(problem, rng, rng.choice([0.0, 0.8]))
        state = problem.initial()
        for action in actions:
            assert any(
                end.period_cycles >= parts.period_cycles
                and end.traffic_bytes >= parts.traffic_bytes
                for parts in bounds.futures(state)
            ), (state.decisions, end.period_cycles, end.traffic_bytes, bounds.futures(state))
            state = problem.apply(state, action)
        (parts,) = bounds.futures(state)
        assert parts.period_cycles == end.period_cycles


def test_bounds__are_tighter_than_the_unit_of_the_cost() -> None:
    """AlexNet's fully connected layers cannot begin before the convolutions are over, and the
    buffer holds a small part of their weights by then."""
    problem = Problem(zoo.graph("alexnet"), "cgra512")
    (parts,) = StateBounds(problem, max_settings=0).futures(problem.initial())
    assert parts.traffic_bytes >= problem.bound.traffic_bytes
    assert parts.least.latency_cycles > 1.2 * problem.bound.latency_cycles


def test_bounds__bound_fragments_leave_no_room_for_others() -> None:
    """As soon as the widest fragment of a small FPGA is bound, another one must be swapped in, and
    in the end the first one again."""
    build = GraphBuilder(8, 12)
    build.conv(build.conv("in", 8, 3, 1), 8, 3, 1)
    library = (Fragment(8, 22, (Stage.MAC,)), Fragment(3, 9, (Stage.MAC,)))
    problem = Problem(build.graph(), "xc7z020", library=library)
    assert not (problem.areas[0] + problem.areas[1]).fits(problem.region)
    bounds = StateBounds(problem)
    first = next(
        a
        for a in problem.legal_actions(problem.initial())
        for state in [problem.apply(problem.initial(), a)]
        if any(slot is not None and slot.fragment == 0 for slot in state.slots)
    )
    stay, swap = bounds.futures(problem.apply(problem.initial(), first))
    assert stay.config_cycles == 0
    assert swap.config_cycles == sum(problem.bind_cycles)
    assert swap.traffic_bytes >= stay.traffic_bytes + sum(problem.config_bytes) - 2000


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(1, 3), st.integers(0, 6)), min_size=1, max_size=5
    )
)
def test_jackson__is_below_every_order_and_reached_by_a_preemptive_one(
    jobs: list[tuple[int, int, int]],
) -> None:
    found = jackson(jobs)
    for order in itertools.permutations(jobs):
        now = end = 0
        for head, duration, tail in order:
            now = max(now, head) + duration
            end = max(end, now + tail)
        assert found <= end
    # of every set of jobs: the first head, all of them, the last tail (Carlier 1982: with equality
    # for some set)
    subsets = (s for n in range(1, len(jobs) + 1) for s in itertools.combinations(jobs, n))
    sums = (
        min(h for h, *_ in s) + sum(d for _, d, _ in s) + min(t for *_, t in s) for s in subsets
    )
    assert found == max(sums)


def test_circuit_prices__are_what_the_region_can_do_at_once() -> None:
    """Two pieces of work on two circuits that do not fit together take their sum; that fit, half
    of it where either can do both."""
    build = GraphBuilder(3, 8)
    build.conv("in", 8, 3, 1)
    whole = Problem(build.graph(), "cgra512")
    problem = Problem(build.graph(), "cgra512", library=whole.library[:2])
    works = [{(0, 0): 100, (1, 0): 100}, {(0, 0): 60, (1, 0): 60}]
    half = Area(problem.region.multipliers // 2, 0, 0)
    for areas, expected in (
        ((problem.region, problem.region), 160.0),
        ((half, half), 80.0),
        ((problem.region, half), 80.0),  # the second one twice
    ):
        problem.part_areas = tuple((area,) for area in areas)
        prices, total = circuit_prices(problem, works)
        assert total == pytest.approx(expected, rel=1e-6)
        assert total <= expected
        assert all(0.0 <= price <= 1.0 for price in prices.values())
