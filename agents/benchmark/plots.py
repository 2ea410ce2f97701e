"""Pictures of a benchmark: gap against budget, performance profiles, latency against traffic."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, geometric_mean
from typing import Any

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from agents.benchmark.results import Outcome, comparable, front, profile
from agents.benchmark.suite import ALL_OBJECTIVES, Limit
from agents.benchmark.tables import last_limit

#: instances of the Pareto fronts, at most
MULTIPLES = 6
#: ratios to the best cost beyond which a profile is cut
WORST_RATIO = 1.5
#: how far beyond the front the Pareto pictures go, as a share
BEYOND = 0.15
#: gaps in percent below which a logarithmic axis does not go
LEAST_GAP = 0.01
#: hollow markers and dashes let lines be seen that lie on each other
MARKERS = "osD^v<>PX*hp8d"
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))
#: the largest over the smallest value of an axis from which on its ticks are 1, 2, 5, 10, ...
DECADE = 8.0

Style = dict[str, dict[str, Any]]


def styles(outcomes: Sequence[Outcome]) -> Style:
    """A colour and a marker per scheduler, the same in every picture."""
    names = sorted({o.scheduler for o in outcomes})
    colours = colormaps["tab20"]
    # neighbours of this map are shades of one colour: first all dark ones, then the light ones
    order = [*range(0, 20, 2), *range(1, 20, 2)]
    return {
        name: {
            "color": colours(order[i % 20]),
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": DASHES[i % len(DASHES)],
        }
        for i, name in enumerate(names)
    }


def gap_figure(outcomes: Sequence[Outcome]) -> Figure:
    """The cost above the bound in percent, geometric mean over instances, against the budget: mean
    over seeds with the span between them. Calls and seconds have panels of their own; where there
    is one budget, schedulers stand below each other in the order of their gaps."""
    panels = []
    for objective in ALL_OBJECTIVES:
        for unit in ("calls", "seconds"):
            own = [
                o
                for o in outcomes
                if o.instance.objective == objective and getattr(o.limit, unit) is not None
            ]
            if own:
                panels.append((f"{objective}, equal {unit}", unit, _complete(own)))
    figure, axes = _grid(len(panels), "gap of the cost to the lower bound")
    style = styles(outcomes)
    for axis, (title, unit, own) in zip(axes, panels, strict=True):
        budgets = sorted({getattr(o.limit, unit) for o in own})
        if len(budgets) == 1:
            _gap_rows(axis, own, style)
            axis.set(xscale="log", title=f"{title}, {budgets[0]:,}")
            axis.set_xlabel("cost above the bound, %")
            _ticks(axis.xaxis)
            axis.grid(alpha=0.3)
            continue
        for scheduler in style:
            _gap_line(axis, [o for o in own if o.scheduler == scheduler], unit, style[scheduler])
        axis.set(xscale="log", yscale="log", title=title, xlabel=f"{unit} per search")
        axis.set_ylabel("cost above the bound, %")
        axis.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
        axis.minorticks_off()
        _ticks(axis.yaxis)
        axis.grid(alpha=0.3)
    _legend(figure, axes)
    return figure


def _ticks(axis: Any) -> None:
    """Ticks of a logarithmic axis that fit what it shows, few decades or a part of one."""
    low, high = axis.get_view_interval()
    wide = high / low > DECADE
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(6))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def _complete(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes of the instances that every scheduler has done at every limit, so that all points
    are means over the same instances."""
    limits = {o.limit for o in outcomes}
    by_limit = {x: comparable([o for o in outcomes if o.limit == x]) for x in limits}
    shared = set.intersection(*({o.instance for o in own} for own in by_limit.values()))
    return [o for own in by_limit.values() for o in own if o.instance in shared]


def _gap_line(axis: Any, own: Sequence[Outcome], unit: str, style: dict[str, Any]) -> None:
    limits = sorted({o.limit for o in own}, key=lambda x: float(getattr(x, unit)))
    if not limits:
        return
    xs = [getattr(limit, unit) for limit in limits]
    low, mean, high = zip(*(_gap_span(own, limit) for limit in limits), strict=True)
    axis.plot(xs, mean, label=own[0].scheduler, markersize=6, markerfacecolor="none", **style)
    axis.fill_between(xs, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _gap_rows(axis: Any, own: Sequence[Outcome], style: Style) -> None:
    """A row per scheduler, the smallest gap on top."""
    (limit,) = {o.limit for o in own}
    spans = {
        name: _gap_span([o for o in own if o.scheduler == name], limit)
        for name in {o.scheduler for o in own}
    }
    ranked = sorted(spans, key=lambda name: (spans[name][1], name))
    for row, name in enumerate(ranked):
        low, mean, high = spans[name]
        axis.plot([low, high], [row, row], color=style[name]["color"], linewidth=6, alpha=0.3)
        marker, colour = style[name]["marker"], style[name]["color"]
        axis.plot([mean], [row], marker=marker, color=colour, markerfacecolor="none")
        axis.annotate(f"{mean:.1f}", (high, row), (8, -3), textcoords="offset points", fontsize=8)
    axis.set_yticks(range(len(ranked)), ranked)
    axis.invert_yaxis()
    axis.margins(x=0.12)


def _gap_span(own: Sequence[Outcome], limit: Limit) -> tuple[float, float, float]:
    """The least, the mean and the greatest over the seeds of a scheduler's gap in percent."""
    gaps = []
    for seed in sorted({o.seed for o in own}):
        costs = [o.cost for o in own if o.limit == limit and o.seed == seed]
        gaps.append(max(LEAST_GAP, 100 * (geometric_mean(costs) - 1)))
    return min(gaps), fmean(gaps), max(gaps)


def profile_figure(outcomes: Sequence[Outcome]) -> Figure:
    """Per objective, at the last limit: in which share of the searches a scheduler's cost is within
    a ratio of the best that any found."""
    limit = last_limit(outcomes)
    panels = []
    for objective in ALL_OBJECTIVES:
        own = comparable(
            [o for o in outcomes if o.limit == limit and o.instance.objective == objective]
        )
        if own:
            panels.append((objective, profile(own)))
    figure, axes = _grid(len(panels), f"performance profiles, {limit}")
    style = styles(outcomes)
    for axis, (title, ratios) in zip(axes, panels, strict=True):
        worst = min(WORST_RATIO, 1.02 * max(max(found) for found in ratios.values()))
        for scheduler, found in sorted(ratios.items()):
            shares = [(i + 1) / len(found) for i in range(len(found))]
            axis.step(
                [1.0, *found, max(worst, found[-1])],
                [sum(r <= 1.0 for r in found) / len(found), *shares, 1.0],
                where="post",
                label=scheduler,
                color=style[scheduler]["color"],
                linestyle=style[scheduler]["linestyle"],
                linewidth=1.8,
            )
        axis.set(xscale="log", xlim=(1.0, worst), ylim=(0, 1.03), title=title)
        axis.set_xlabel("cost over the best of all schedulers")
        axis.set_ylabel("share of instances and seeds")
        _ticks(axis.xaxis)
        axis.grid(alpha=0.3)
    _legend(figure, axes)
    return figure


def pareto_figure(outcomes: Sequence[Outcome]) -> Figure:
    """For some instances, where schedulers differ most: cycles and traffic of the schedules that
    were found, and the front of those that none beats in both. What is far from it is left out."""
    by_instance: dict[Any, list[Outcome]] = {}
    for outcome in outcomes:
        by_instance.setdefault(outcome.instance, []).append(outcome)

    def variety(instance: Any) -> tuple[int, int]:
        points = [(o.cycles, o.traffic) for o in by_instance[instance]]
        return len(front(points)), len(set(points))

    chosen = sorted(by_instance, key=variety, reverse=True)[:MULTIPLES]
    figure, axes = _grid(len(chosen), "cycles and traffic over their bounds")
    style = styles(outcomes)
    for axis, instance in zip(axes, chosen, strict=True):
        own = by_instance[instance]
        for scheduler in sorted({o.scheduler for o in own}):
            points = sorted({(o.cycles, o.traffic) for o in own if o.scheduler == scheduler})
            xs, ys = zip(*points, strict=True)
            colour, marker = style[scheduler]["color"], style[scheduler]["marker"]
            axis.plot(
                xs,
                ys,
                label=scheduler,
                color=colour,
                marker=marker,
                markersize=6,
                markerfacecolor="none",
                linestyle="",
            )
        best = front((o.cycles, o.traffic) for o in own)
        axis.step(*zip(*best, strict=True), where="post", color="black", linewidth=1, zorder=9)
        axis.set(xscale="log", yscale="log", title=instance.key)
        axis.set(xlim=_around([x for x, _ in best]), ylim=_around([y for _, y in best]))
        cycles = "period" if instance.objective == "throughput" else "latency"
        axis.set(xlabel=f"{cycles} over its bound", ylabel="traffic over its bound")
        for part in (axis.xaxis, axis.yaxis):
            _ticks(part)
        axis.grid(alpha=0.3)
    _legend(figure, axes)
    return figure


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis around the front."""
    return min(values) / (1 + BEYOND / 8), max(values) * (1 + BEYOND)


def _grid(count: int, title: str) -> tuple[Figure, list[Any]]:
    """A figure with ``count`` panels, three in a row at most, and room for a legend."""
    columns = min(3, max(1, count))
    rows = -(-max(1, count) // columns)
    figure = Figure(figsize=(5.2 * columns + 1.8, 4.2 * rows + 0.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def _legend(figure: Figure, axes: Sequence[Any]) -> None:
    """One legend for all panels."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    names = sorted(handles)
    if names:
        figure.legend(
            [handles[name] for name in names], names, loc="outside right upper", fontsize=8
        )
