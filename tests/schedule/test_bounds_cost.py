"""The bounds of a whole problem: no schedule is below any of them."""

from __future__ import annotations

import random

import pytest
from blocks import chain
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import random_episode, random_problem, seeds

from fragenv.schedule.bounds_bytes import least_bytes
from fragenv.schedule.bounds_cost import least_possible
from fragenv.schedule.bounds_state import StateBounds
from fragenv.schedule.problem import Problem


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(1, 3))
def test_least_possible__no_schedule_is_below(seed: int, depth: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, depth)
    if problem is None:
        return
    least = least_possible(problem)
    for fused in (0.0, 0.8):
        end, _ = random_episode(problem, rng, fused)
        assert end.latency_cycles >= least.latency_cycles
        assert end.traffic_bytes >= least.traffic_bytes
        assert problem.cost(end) >= least.cost


@pytest.mark.parametrize("objective", ["latency", "throughput"])
def test_least_possible__is_the_strongest_of_what_it_is_made_of(objective: str) -> None:
    problem = Problem(chain(3), "ecp5-85", 4096, 1, objective=objective)
    least = least_possible(problem)
    assert least.traffic_bytes >= least_bytes(problem) > problem.bound.traffic_bytes
    futures = StateBounds(problem, max_settings=0).least(problem.initial())
    assert least.latency_cycles == min(f.latency_cycles for f in futures)
    assert least.cost >= problem.cost_of(problem.bound_cycles, least.traffic_bytes)
