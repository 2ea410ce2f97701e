"""Lower bounds: no schedule is below them, from no state on, and small cases worked out by hand."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import random_episode, random_problem, seeds

from fragenv.schedule.bounds_state import StateBounds
from fragenv.schedule.problem import Problem


def assert_no_schedule_is_below(problem: Problem, rng: random.Random, fused: float) -> None:
    bounds = StateBounds(problem)
    for _ in range(4):
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


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 3), st.sampled_from([0.0, 0.8]))
def test_bounds__no_schedule_is_below_from_any_state_on(
    seed: int, depth: int, fused: float
) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, depth)
    if problem is not None:
        assert_no_schedule_is_below(problem, rng, fused)
