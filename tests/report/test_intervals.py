"""Intervals of a schedule: no unit does two things at once, nothing is lost, the buffer holds."""

from __future__ import annotations

import random as random_module
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fragenv.models import zoo
from fragenv.report.intervals import Span, intervals_of, merged
from fragenv.report.timeline import human, timeline_figure
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import BindRecord, SpillRecord, State, TaskRecord

PROBLEMS = {
    "lenet": Problem(zoo.graph("lenet"), batch=3),
    "squeezenet": Problem(zoo.graph("squeezenet")),
}


def random_state(problem: Problem, seed: int, share: float = 1.0) -> State:
    random = random_module.Random(seed)
    state = problem.initial()
    while not state.finished and state.tasks_left > (1 - share) * len(problem.operators):
        state = problem.apply(state, random.choice(problem.legal_actions(state)))
    return state


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_intervals__are_consistent_with_the_records(name: str, seed: int, share: float) -> None:
    problem = PROBLEMS[name]
    state = random_state(problem, seed, share)
    intervals, records = intervals_of(problem, state), state.records()
    tasks = [r for r in records if isinstance(r, TaskRecord)]
    dma = sorted(span for spans in intervals.transfers.values() for span in spans)
    for spans in (dma, sorted(span for _, span in intervals.configured)):
        assert all(a.end <= b.start for a, b in pairwise(spans))
    busy = sum(
        s.weight_cycles + s.input_cycles + s.store_cycles for t in tasks for s in t.plan.steps
    )
    busy += sum(r.end - r.start for r in records if isinstance(r, SpillRecord))
    assert sum(span.end - span.start for span in dma) == busy
    assert max(span.end for span in dma) <= state.latency_cycles
    assert len(intervals.bound) == sum(isinstance(r, BindRecord) for r in records)
    for fragment in intervals.fragments:
        mine = [t for t in intervals.tasks if t.fragment == fragment]
        runs = sorted(run for task in mine for run in task.runs)
        assert all(a.end <= b.start for a, b in pairwise(runs))
        bound = merged(span for f, span in intervals.bound if f == fragment)
        assert all(any(b.start <= r.start and r.end <= b.end for b in bound) for r in runs)
    for levels in (intervals.buffer, intervals.kept):
        assert all(0 <= size <= problem.chip.buffer_bytes for _, size in levels)
        assert all(a < b for (a, _), (b, _) in pairwise(levels))
    if state.finished:
        assert intervals.buffer[-1][1] == intervals.kept[-1][1] == 0


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10))))
def test_merged__covers_the_same_cycles_without_touching(pairs: list[tuple[int, int]]) -> None:
    spans = [Span(start, start + length) for start, length in pairs]
    result = merged(spans)
    covered = {c for s in spans for c in range(s.start, s.end)}
    assert {c for s in result for c in range(s.start, s.end)} == covered
    assert all(a.end < b.start for a, b in pairwise(result))


def test_timeline_figure__names_every_lane_and_the_costs() -> None:
    problem = PROBLEMS["squeezenet"]
    state = random_state(problem, 0)
    figure = timeline_figure(problem, state)
    lanes = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    intervals = intervals_of(problem, state)
    assert lanes == ["DMA", "configuration", *(problem.library[f].key for f in intervals.fragments)]
    title = figure.axes[0].get_title(loc="left")
    assert "squeezenet on cgra512, one frame" in title
    assert f"{human(state.latency_cycles)} cycles" in title
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "DMA: weights" in legend and any("fragment" in entry for entry in legend)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (999, "999"), (1234, "1.23 k"), (7_472_202, "7.47 M"), (2.5e9, "2.5 G")],
)
def test_human__has_three_digits_and_a_unit(value: float, shown: str) -> None:
    assert human(value) == shown
