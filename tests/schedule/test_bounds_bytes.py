"""The bound on DRAM bytes: no schedule is below it, and cases worked out by hand."""

from __future__ import annotations

import random

import pytest
from blocks import basic_block, chain, fire
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import random_episode, random_problem, seeds

from agents.heuristics.covers import Covers, run_cover
from agents.scheduler import Budget, Meter
from fragenv.schedule.bounds_bytes import least_bytes
from fragenv.schedule.bounds_state import StateBounds
from fragenv.schedule.problem import Problem


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(1, 3))
def test_least_bytes__no_schedule_moves_fewer(seed: int, depth: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, depth)
    if problem is None:
        return
    least = least_bytes(problem)
    assert least >= problem.bound.traffic_bytes
    for fused in (0.0, 0.8, 0.8):
        end, _ = random_episode(problem, rng, fused)
        assert end.traffic_bytes - end.config_bytes >= least


@pytest.mark.parametrize("depth", [1, 3])
def test_least_bytes__is_what_is_compulsory_where_everything_fits_the_buffer(depth: int) -> None:
    problem = Problem(chain(3), "zu7ev", 1, depth)
    assert least_bytes(problem) == problem.bound.traffic_bytes


@pytest.mark.parametrize("graph", [fire(), basic_block(True)], ids=["fire", "basic"])
def test_least_bytes__is_as_strong_as_the_sum_over_operators(graph) -> None:  # type: ignore[no-untyped-def]
    problem = Problem(graph, "ecp5-85", 4, 3)
    alone = min(f.traffic_bytes for f in StateBounds(problem).futures(problem.initial()))
    assert least_bytes(problem) >= alone


def test_least_bytes__counts_maps_that_cannot_be_kept() -> None:
    """At depth 1 and a batch whose maps exceed the buffer, every map is stored and loaded."""
    batch = 4096
    problem = Problem(chain(3), "ecp5-85", batch, 1)
    assert not any(c.keep for options in problem.choices for c in options)
    covers, meter = Covers(problem), Meter(problem, Budget(100))
    path = run_cover(meter, covers.best(range(len(problem.library))))  # type: ignore[arg-type]
    assert path is not None
    inner = sum(problem.tensor_bytes[t] for t in range(problem.num_inputs, len(problem.tensors)))
    inner -= sum(problem.tensor_bytes[t] for t in problem.required)
    assert problem.bound.traffic_bytes < least_bytes(problem) <= path.state.traffic_bytes
    assert least_bytes(problem) >= problem.bound.traffic_bytes + inner
