"""A picture of the dataflow graph, operators coloured by the fragment that runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fragenv.graph.labels import short_name
from fragenv.schedule.state import TaskRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fragenv.schedule.problem import Problem
    from fragenv.schedule.state import State

Position = dict[str, tuple[float, float]]
#: operators per column; a deep network is folded into several
ROWS = 26
NAME_LENGTH = 26


def graph_figure(problem: Problem, state: State) -> Figure:
    """Operators from top to bottom in columns, tensors as arrows, kept tensors drawn thick. Fused
    operators share a colour and an outline."""
    graph = problem.graph
    used = [r for r in state.records() if isinstance(r, TaskRecord)]
    fragments = list(dict.fromkeys(r.choice.fragment for r in used))
    hues = colormaps["tab10"]
    color = {f: hues(i % 10) for i, f in enumerate(fragments)}
    by_node = {n: r for r in used for n in r.choice.operators}
    position, columns, rows = _layout(graph.nx)
    figure = Figure(
        figsize=(max(4.0, 3.1 * columns) + 2.2, 1.0 + 0.36 * rows), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    kept = {problem.tensors[t] for r in used if r.choice.keep for t in r.choice.outputs}
    _arrows(axis, graph.nx, position, kept)
    for name, (x, y) in position.items():
        op = graph.op(name)
        record = by_node.get(problem.node_of.get(name, -1))
        face = color[record.choice.fragment] if record is not None else "0.85"
        text = f"{short_name(name, NAME_LENGTH)}  {op.kind}"
        if op.is_mac and op.nest.r * op.nest.s > 1:
            text += f" {op.nest.r}x{op.nest.s}"
        box = {"boxstyle": "round,pad=0.25", "facecolor": face, "edgecolor": "0.3", "alpha": 0.75}
        axis.text(x, y, text, ha="center", va="center", fontsize=6.5, bbox=box, parse_math=False)
    handles = [Patch(color=color[f], label=problem.library[f].key) for f in fragments]
    handles.append(Patch(color="0.85", label="host, or moves no data"))
    figure.legend(handles=handles, loc="outside right upper", fontsize=7.5, title="fragment")
    axis.set_xlim(-0.6, columns - 0.4)
    axis.set_ylim(-rows - 0.2, 0.8)
    axis.set_axis_off()
    axis.set_title(
        f"{problem.graph.name} on {problem.chip.name}: thick arrows stay on the chip",
        fontsize=10,
        loc="left",
        parse_math=False,
    )
    return figure


def _layout(graph: nx.MultiDiGraph) -> tuple[Position, int, int]:
    """Layers from top to bottom, branches side by side, folded into columns of ``ROWS`` layers."""
    layers = [sorted(layer) for layer in nx.topological_generations(graph)]
    width = max(len(layer) for layer in layers)
    folds = -(-len(layers) // ROWS)
    rows = -(-len(layers) // folds)
    position: Position = {}
    for depth, layer in enumerate(layers):
        fold, row = divmod(depth, rows)
        for index, name in enumerate(layer):
            x = fold * width + index + (width - len(layer)) / 2
            position[name] = (x, float(-row))
    return position, folds * width, rows


def _arrows(axis: Axes, graph: nx.MultiDiGraph, position: Position, kept: set[str]) -> None:
    for first, second, data in graph.edges(data=True):
        (x0, y0), (x1, y1) = position[first], position[second]
        bent = 0.0 if abs(y0 - y1) <= 1 and x0 == x1 else 0.12
        axis.annotate(
            "",
            xy=(x1, y1 + 0.3),
            xytext=(x0, y0 - 0.3),
            arrowprops={
                "arrowstyle": "-|>",
                "linewidth": 2.6 if data["tensor"] in kept else 0.7,
                "color": "0.25",
                "connectionstyle": f"arc3,rad={bent}",
            },
        )
