"""The timeline of a schedule as a picture: DMA, configuration port, fragments, buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fragenv.report.intervals import (
    INPUTS,
    OUTPUTS,
    SPILLS,
    WEIGHTS,
    Intervals,
    Span,
    Task,
    intervals_of,
)
from fragenv.schedule.objective import Objective

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem
    from fragenv.schedule.state import State

Color = tuple[float, float, float]

TRANSFER_COLORS = {
    WEIGHTS: "#4c78a8",
    INPUTS: "#72b7b2",
    OUTPUTS: "#f58518",
    SPILLS: "#e45756",
}
BOUND_COLOR, CONFIGURED_COLOR = "#e9e9ec", "#9d755d"
BUFFER_COLOR, KEPT_COLOR = "#b5c9e0", "#4c78a8"
#: tasks that the legend lists; of more, those that run longest
LEGEND_TASKS = 22
#: lane height in inches, and what the rest of the figure takes
LANE_HEIGHT, FIXED_HEIGHT = 0.42, 2.6
#: a task shorter than this share of the axis is not labelled
LABEL_SHARE = 0.035


def human(value: float) -> str:
    """A number of cycles or bytes, three digits and a unit: 1,234,567 is ``1.23 M``."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"


def task_colors(problem: Problem) -> list[Color]:
    """A colour per operator, by its place in the graph: neighbours differ in lightness."""
    count = len(problem.operators)
    hues = colormaps["turbo"]
    colors = []
    for node in range(count):
        r, g, b, _ = hues(0.06 + 0.88 * node / max(1, count - 1))
        light = 0.38 if node % 2 else 0.15
        colors.append((r + (1 - r) * light, g + (1 - g) * light, b + (1 - b) * light))
    return colors


def timeline_figure(problem: Problem, state: State, width_inches: float = 13.0) -> Figure:
    """A figure of its own with the timeline, its legend and the buffer's occupancy; it belongs to
    no window and needs no display."""
    intervals = intervals_of(problem, state)
    lanes = 2 + max(1, len(intervals.fragments))
    height = FIXED_HEIGHT + LANE_HEIGHT * lanes
    height = max(height, 1.0 + 0.19 * (min(LEGEND_TASKS, len(intervals.tasks)) + 11))
    figure = Figure(figsize=(width_inches, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [max(2.0, lanes * LANE_HEIGHT), 1.1]}
    )
    draw_timeline(problem, state, (top, bottom), intervals)
    figure.legend(
        handles=legend_handles(problem, intervals),
        loc="outside right upper",
        fontsize=7.5,
        frameon=False,
        handlelength=1.2,
    )
    return figure


def draw_timeline(
    problem: Problem, state: State, axes: tuple[Axes, Axes], intervals: Intervals | None = None
) -> None:
    """Draw the timeline into ``axes`` (lanes, buffer), which should share their x axis; cycles run
    from left to right. ``legend_handles`` are for a legend wherever there is room."""
    intervals = intervals or intervals_of(problem, state)
    top, bottom = axes
    end = max(1, state.latency_cycles)
    colors = task_colors(problem)
    _draw_lanes(problem, intervals, top, colors, end)
    _draw_buffer(problem, intervals, bottom, end)
    top.set_xlim(0, end * 1.01)
    top.set_title(_title(problem, state), loc="left", fontsize=10)
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda x, _: human(x)))
    bottom.set_xlabel(f"cycles ({problem.chip.clock_mhz:g} MHz)")


def _title(problem: Problem, state: State) -> str:
    bound = problem.bound
    frames = f"batch of {problem.batch}" if problem.batch > 1 else "one frame"
    share = f"{1 - state.tasks_left / len(problem.operators):.0%} done, "
    return (
        f"{problem.graph.name} on {problem.chip.name}, {frames}: "
        f"{'' if state.finished else share}{human(state.latency_cycles)} cycles = "
        f"{problem.chip.milliseconds(state.latency_cycles):.3g} ms "
        f"({state.latency_cycles / bound.latency_cycles:.2f} x bound), {_period(problem, state)}"
        f"traffic {human(state.traffic_bytes)}B "
        f"({state.traffic_bytes / bound.traffic_bytes:.2f} x bound)"
    )


def _period(problem: Problem, state: State) -> str:
    """What there is to say of jobs that overlap; nothing where they do not."""
    if problem.objective is not Objective.THROUGHPUT or not state.finished:
        return ""
    return (
        f"a job every {human(state.period_cycles)} cycles "
        f"({state.period_cycles / problem.bound.period_cycles:.2f} x bound) = "
        f"{problem.frames_per_second(state):.4g} frames/s, "
    )


def _draw_lanes(
    problem: Problem, intervals: Intervals, axis: Axes, colors: Sequence[Color], end: int
) -> None:
    row = {fragment: 2 + i for i, fragment in enumerate(intervals.fragments)}
    names = ["DMA", "configuration", *(problem.library[f].key.replace(" > ", " >\n") for f in row)]
    for name, spans in intervals.transfers.items():
        _bars(axis, spans, 0, TRANSFER_COLORS[name], 0.72)
    for fragment, span in intervals.configured:
        _bars(axis, [span], 1, CONFIGURED_COLOR, 0.72)
        _label(axis, span, 1, problem.library[fragment].key, to_rgb(CONFIGURED_COLOR), end)
    for fragment, span in intervals.bound:
        _bars(axis, [span], row[fragment], BOUND_COLOR, 0.9)
    for task in intervals.tasks:
        _bars(axis, task.runs, row[task.fragment], colors[task.node], 0.72)
    for task, span in _longest_stretches(intervals.tasks):
        name = problem.operators[task.node].name
        _label(axis, span, row[task.fragment], name, colors[task.node], end)
    axis.set_yticks(range(len(names)), names, fontsize=8.5)
    axis.set_ylim(max(3, len(names)) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelbottom=False)
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _longest_stretches(tasks: Sequence[Task]) -> Iterator[tuple[Task, Span]]:
    """Of each task the longest time in which its fragment runs nothing else."""
    runs = [
        (task.fragment, run.start, run.end, i) for i, task in enumerate(tasks) for run in task.runs
    ]
    longest: dict[int, Span] = {}
    for (_, number), group in groupby(sorted(runs), key=lambda run: (run[0], run[3])):
        stretch = list(group)
        span = Span(stretch[0][1], stretch[-1][2])
        known = longest.setdefault(number, span)
        if span.end - span.start > known.end - known.start:
            longest[number] = span
    return ((tasks[i], span) for i, span in longest.items())


def _bars(axis: Axes, spans: list[Span], row: int, color: str | Color, height: float) -> None:
    if spans:
        lengths = [(span.start, span.end - span.start) for span in spans]
        axis.broken_barh(lengths, (row - height / 2, height), facecolors=color, linewidth=0)


def _label(axis: Axes, span: Span, row: int, text: str, color: Color, end: int) -> None:
    share = (span.end - span.start) / end
    if share < LABEL_SHARE:
        return
    room = int(share * 130)
    shown = text if len(text) <= room else text[: max(1, room - 1)] + "…"
    bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 0.55
    axis.text(
        (span.start + span.end) / 2,
        row,
        shown,
        ha="center",
        va="center",
        fontsize=7,
        color="black" if bright else "white",
        clip_on=True,
    )


def legend_handles(problem: Problem, intervals: Intervals) -> list[Patch]:
    """What the colours mean: transfers, configurations, the buffer, and the longest tasks."""
    colors = task_colors(problem)
    used = [name for name, spans in intervals.transfers.items() if spans]
    handles = [Patch(color=TRANSFER_COLORS[name], label=f"DMA: {name}") for name in used]
    if intervals.configured:
        handles.append(Patch(color=CONFIGURED_COLOR, label="configuration"))
    if intervals.bound:
        handles.append(Patch(color=BOUND_COLOR, label="fragment bound"))
    handles.append(Patch(color=BUFFER_COLOR, label="buffer: working sets"))
    handles.append(Patch(color=KEPT_COLOR, label="buffer: tensors kept"))

    def length(task: Task) -> int:
        return sum(run.end - run.start for run in task.runs)

    longest = sorted(intervals.tasks, key=length, reverse=True)[:LEGEND_TASKS]
    if len(longest) < len(intervals.tasks):
        title = f"{len(longest)} longest of {len(intervals.tasks)} tasks:"
        handles.append(Patch(color="none", label=title))
    for task in sorted(longest, key=lambda t: t.node):
        first = problem.operators[task.node]
        more = len(task.operators) - 1
        label = f"{first.name}{f' + {more}' if more else ''}"
        handles.append(Patch(color=colors[task.node], label=label))
    return handles


def _draw_buffer(problem: Problem, intervals: Intervals, axis: Axes, end: int) -> None:
    for levels, color in ((intervals.buffer, BUFFER_COLOR), (intervals.kept, KEPT_COLOR)):
        cycles = [cycle for cycle, _ in levels]
        sizes = [size / 1024 for _, size in levels]
        axis.fill_between([*cycles, end], [*sizes, 0], step="post", color=color, linewidth=0)
    capacity = problem.chip.buffer_bytes / 1024
    axis.axhline(capacity, color="#e45756", linewidth=1, linestyle="--")
    axis.text(0, capacity, " capacity", fontsize=7, va="bottom", color="#e45756")
    axis.set_ylim(0, capacity * 1.18)
    axis.set_ylabel("buffer, KiB", fontsize=8.5)
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
