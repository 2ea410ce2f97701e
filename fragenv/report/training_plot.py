"""A picture of a training: what the agent earned, and what its greedy rollout was worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def training_figure(
    steps: Sequence[int],
    returns: Sequence[float],
    costs: Sequence[float],
    baselines: Mapping[str, float],
) -> Figure:
    """Mean return of the rollouts above; below, the default cost of the greedy rollout beside the
    costs of other schedulers: a horizontal line for each cost, with all that found it."""
    figure = Figure(figsize=(10.5, 6.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.plot(steps, returns, color="tab:blue")
    top.set_ylabel("mean return of the rollouts")
    best = [min(costs[: i + 1]) for i in range(len(costs))]
    bottom.plot(steps, costs, color="tab:blue", linewidth=0.8, alpha=0.6, label="greedy rollout")
    bottom.plot(steps, best, color="tab:blue", linewidth=2, label="best so far")
    lines = same_cost(baselines)
    for index, (names, cost) in enumerate(lines):
        color = colormaps["plasma"](0.9 * index / max(1, len(lines) - 1))
        label = f"{cost:.3f} " + ",\n".join(names)
        bottom.axhline(cost, linestyle="--", linewidth=1, color=color, label=label)
    low = min([*best, *baselines.values()])
    shown = [c for c in (*baselines.values(), best[-1]) if c < 4 * low]
    bottom.set_ylim(low - 0.05 * low, max(shown) + 0.35 * low)
    bottom.set_ylabel("default cost (lower is better)")
    bottom.set_xlabel("environment steps")
    figure.legend(fontsize=8, loc="outside right upper")
    for axis in (top, bottom):
        axis.grid(alpha=0.3)
    return figure


def same_cost(baselines: Mapping[str, float]) -> list[tuple[list[str], float]]:
    """The schedulers whose costs are equal to three digits behind the point together, the cheapest
    first."""
    found: dict[str, tuple[list[str], float]] = {}
    for name, cost in sorted(baselines.items(), key=lambda item: (item[1], item[0])):
        found.setdefault(f"{cost:.3f}", ([], cost))[0].append(name)
    return list(found.values())
