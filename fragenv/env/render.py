"""Renderings of an episode: text and pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fragenv.report.intervals import Span, intervals_of, merged
from fragenv.report.timeline import human, timeline_figure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fragenv.schedule.problem import Problem
    from fragenv.schedule.state import State

#: columns of the text's time axis
COLUMNS = 72


def rgb_array(problem: Problem, state: State) -> npt.NDArray[np.uint8]:
    """(height, width, 3) pixels of the timeline."""
    canvas = cast(FigureCanvasAgg, timeline_figure(problem, state).canvas)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def ansi(problem: Problem, state: State) -> str:
    """The timeline as text: a lane per unit and fragment, ``#`` where busy for at least half of a
    column's cycles, ``-`` where less; then the tasks that are placed, in the order of decisions."""
    intervals = intervals_of(problem, state)
    end = max(1, state.latency_cycles)
    lanes = [
        ("DMA", [span for spans in intervals.transfers.values() for span in spans]),
        ("configuration", [span for _, span in intervals.configured]),
    ]
    for fragment in intervals.fragments:
        runs = [run for t in intervals.tasks if t.fragment == fragment for run in t.runs]
        lanes.append((problem.library[fragment].key, runs))
    width = max(len(name) for name, _ in lanes)
    done = len(problem.operators) - state.tasks_left
    lines = [
        f"{problem.graph.name} on {problem.chip.name}: {done}/{len(problem.operators)} operators, "
        f"{human(state.latency_cycles)} cycles, {human(state.traffic_bytes)}B of traffic, "
        f"{human(state.kept_bytes)}B kept of {human(problem.chip.buffer_bytes)}B"
    ]
    lines += [f"{name:>{width}} |{_lane(spans, end)}|" for name, spans in lanes]
    lines.append(f"{'':{width}}  0{human(end):>{COLUMNS - 1}}")
    for task in intervals.tasks:
        names = " + ".join(problem.operators[i].name for i in task.operators)
        span = f"{human(task.runs[0].start)} - {human(task.runs[-1].end)}"
        lines.append(f"{names}: {problem.library[task.fragment].key}, {span}")
    return "\n".join(lines)


def _lane(spans: Iterable[Span], end: int) -> str:
    busy = np.zeros(COLUMNS)
    edges = np.linspace(0, end, COLUMNS + 1)
    first, last = edges[:-1], edges[1:]
    for span in merged(spans):
        busy += np.clip(np.minimum(span.end, last) - np.maximum(span.start, first), 0, None)
    share = busy / (end / COLUMNS)
    return "".join("#" if s >= 0.5 else "-" if s > 0 else " " for s in share)
