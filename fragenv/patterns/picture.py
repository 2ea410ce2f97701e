"""A picture of a graph with the occurrences of its cover coloured by pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.labels import short_name
from fragenv.patterns.cover import Cover
from fragenv.patterns.export import color_of
from fragenv.patterns.pattern import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Position = dict[str, tuple[float, float]]
#: more operators than this make no picture that anyone could read
MOST_OPERATORS = 600
#: layers per column of the picture; a deep network is folded into several
_LAYERS = 30
_NAME_LENGTH = 24
_LEGEND_LENGTH = 64
_INCHES_ACROSS, _INCHES_DOWN = 1.75, 0.46


def pattern_figure(graph: DataflowGraph, cover: Cover) -> Figure:
    """Operators from top to bottom in columns; each chosen occurrence in its pattern's colour with
    its number, its own tensors as thick arrows. White operators are in no occurrence.

    Raises:
        FragenvError: the graph has more than ``MOST_OPERATORS`` operators.
    """
    if len(graph.operators) > MOST_OPERATORS:
        raise FragenvError(
            f"{graph.name}: {len(graph.operators)} operators are too many for a picture (at most "
            f"{MOST_OPERATORS}); look at the DOT or GraphML file in another tool"
        )
    home = {
        name: (index, number)
        for index, mined in enumerate(cover.patterns)
        for number, place in enumerate(mined.occurrences)
        for name in place.operators
    }
    position, columns, rows = _layout(graph.nx)
    width = max(7.0, _INCHES_ACROSS * columns + 0.6)
    legend = 0.5 + 0.19 * (len(cover.patterns) + 1)
    figure = Figure(figsize=(width, _INCHES_DOWN * rows + 0.6 + legend), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    _arrows(axis, graph.nx, position, home)
    for name, (x, y) in position.items():
        index, number = home.get(name, (-1, -1))
        face = "white" if index < 0 else color_of(index)
        text = label(graph.op(name)) + (f"  #{number + 1}" if index >= 0 else "")
        box = {"boxstyle": "round,pad=0.22", "facecolor": face, "edgecolor": "0.25"}
        axis.text(
            x,
            y,
            f"{text}\n{short_name(name, _NAME_LENGTH)}",
            ha="center",
            va="center",
            fontsize=5.5,
            linespacing=1.1,
            bbox=box,
            parse_math=False,
        )
    handles = [
        Patch(facecolor=color_of(i), edgecolor="0.25", label=_legend(i, cover))
        for i in range(len(cover.patterns))
    ]
    handles.append(Patch(facecolor="white", edgecolor="0.25", label="in no occurrence"))
    entries = figure.legend(handles=handles, loc="outside lower left", fontsize=7)
    for text_object in entries.get_texts():
        text_object.set_parse_math(False)
    axis.set_xlim(-0.6, columns - 0.4)
    axis.set_ylim(-rows + 0.4, 0.6)
    axis.set_axis_off()
    axis.set_title(
        f"{graph.name}: {len(home)} of {len(graph.operators)} operators in occurrences that repeat",
        fontsize=9,
        loc="left",
        parse_math=False,
    )
    return figure


def _legend(index: int, cover: Cover) -> str:
    mined = cover.patterns[index]
    name = mined.pattern.name
    short = name if len(name) <= _LEGEND_LENGTH else f"{name[: _LEGEND_LENGTH - 3]}..."
    return f"{len(mined.occurrences)} x {short}"


def _layout(graph: nx.MultiDiGraph) -> tuple[Position, int, int]:
    """Layers from top to bottom, each operator below the mean of its producers where there is
    room, folded into columns of at most ``_LAYERS`` layers."""
    layers = list(nx.topological_generations(graph))
    across: dict[str, float] = {}
    for layer in layers:
        across.update(_spread({n: _mean(graph, n, across) for n in layer}))
    left = min(across.values())
    width = int(max(across.values()) - left) + 1
    folds = -(-len(layers) // _LAYERS)
    rows = -(-len(layers) // folds)
    position = {
        name: (depth // rows * width + across[name] - left, float(-(depth % rows)))
        for depth, layer in enumerate(layers)
        for name in layer
    }
    return position, folds * width, rows


def _mean(graph: nx.MultiDiGraph, name: str, across: dict[str, float]) -> float:
    producers = [across[p] for p in graph.predecessors(name)]
    return sum(producers) / len(producers) if producers else 0.0


def _spread(wishes: dict[str, float]) -> dict[str, float]:
    """Places at least 1 apart in the order of the wishes, on average where they were wished."""
    placed: dict[str, float] = {}
    last = -float("inf")
    for name, wish in sorted(wishes.items(), key=lambda item: (item[1], item[0])):
        last = placed[name] = max(wish, last + 1)
    shift = (sum(wishes.values()) - sum(placed.values())) / len(wishes)
    return {name: place + shift for name, place in placed.items()}


def _arrows(
    axis: Axes,
    graph: nx.MultiDiGraph,
    position: Position,
    home: dict[str, tuple[int, int]],
) -> None:
    for first, second in dict.fromkeys(graph.edges()):
        (x0, y0), (x1, y1) = position[first], position[second]
        inside = first in home and home[first] == home.get(second)
        far = abs(y0 - y1) > 1 or y1 > y0
        axis.annotate(
            "",
            xy=(x1, y1 + 0.28),
            xytext=(x0, y0 - 0.28),
            zorder=0.5,
            arrowprops={
                "arrowstyle": "-|>",
                "mutation_scale": 6,
                "linewidth": 2.0 if inside else 0.6,
                "color": color_of(home[first][0]) if inside else "0.6",
                "connectionstyle": f"arc3,rad={0.15 if far else 0.0}",
            },
        )
