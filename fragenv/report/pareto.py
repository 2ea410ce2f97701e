"""A picture of an architecture search: score against latency."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: (latency in cycles, score)
Point = tuple[float, float]


def pareto_figure(
    title: str,
    candidates: Sequence[Point],
    front: Sequence[Point],
    target: float,
    winner: Point,
    finalists: Sequence[tuple[Point, Point]],
    known: Sequence[Point] = (),
    known_front: Sequence[Point] = (),
) -> Figure:
    """Candidates coloured by when they were evaluated, their front, the target and the winner.

    Args:
        front: Pareto-optimal candidates, by rising latency.
        winner: by the latency that full search found.
        finalists: each by the oracle's latency and by that of full search.
        known: all architectures of a space, and ``known_front`` the best of these.
    """
    figure = Figure(figsize=(9.0, 5.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    if known:
        x, y = zip(*known, strict=True)
        axis.scatter(x, y, s=3, color="0.8", label=f"all {len(known):,} cells of NAS-Bench-201")
        axis.step(*_line(known_front), where="post", color="0.35", label="their front")
    x, y = zip(*candidates, strict=True)
    shown = axis.scatter(
        x, y, s=14, c=range(len(candidates)), cmap="viridis", zorder=3, label="candidates"
    )
    figure.colorbar(shown, ax=axis, label="number of the candidate", pad=0.01)
    axis.step(*_line(front), where="post", color="tab:blue", zorder=3, label="front of candidates")
    axis.axvline(target, color="tab:red", linestyle="--", linewidth=1, label="target")
    for number, (quick, full) in enumerate(finalists):
        label = "finalists: to their latency by full search" if not number else None
        axis.plot(*zip(quick, full, strict=True), ".-", color="tab:orange", zorder=4, label=label)
    axis.scatter(*winner, marker="*", s=220, color="tab:red", zorder=5, label="winner")
    axis.set_xlabel("latency, cycles")
    axis.set_ylabel("score (share of NAS-Bench-201 exceeded)")
    axis.set_title(title, fontsize=10)
    axis.legend(fontsize=8, loc="lower right")
    axis.grid(alpha=0.3)
    return figure


def _line(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
