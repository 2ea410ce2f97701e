"""A graph and its cover as DOT (Graphviz) and GraphML text, for other tools.

Nodes are numbered; names of operators, which may hold anything, are attributes.
"""

from __future__ import annotations

import re

import networkx as nx

from fragenv.graph.dataflow import DataflowGraph
from fragenv.patterns.cover import Cover
from fragenv.patterns.pattern import label

#: fill colours of patterns in turn (Okabe and Ito's, told apart by colour-blind readers too)
COLORS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2", "#999999")
#: what XML 1.0 cannot hold: control characters and halves of surrogate pairs
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def color_of(pattern_index: int) -> str:
    """The colour of the pattern of that index in ``Cover.patterns``."""
    return COLORS[pattern_index % len(COLORS)]


def to_dot(graph: DataflowGraph, cover: Cover) -> str:
    """DOT text: one box around each chosen occurrence, coloured by pattern; edges by tensor."""
    number = {op.name: i for i, op in enumerate(graph.operators)}
    lines = [f"digraph {_quoted(graph.name)} {{", "  node [shape=box, style=filled];"]
    count = 0
    for index, mined in enumerate(cover.patterns):
        for place in mined.occurrences:
            lines += [
                f"  subgraph cluster_{count} {{",
                f"    label={_quoted(f'{index}: {mined.pattern.name}')};",
                *(f"    {_node(graph, n, number[n], color_of(index))}" for n in place.operators),
                "  }",
            ]
            count += 1
    lines += [f"  {_node(graph, name, number[name], '#FFFFFF')}" for name in cover.alone]
    lines += [
        f"  n{number[first]} -> n{number[second]} [label={_quoted(tensor)}];"
        for first, second, tensor in graph.nx.edges(data="tensor")
    ]
    return "\n".join([*lines, "}", ""])


def to_graphml(graph: DataflowGraph, cover: Cover) -> str:
    """GraphML text: nodes with ``name``, ``label``, ``pattern`` (its key) and ``occurrence`` (a
    number, -1 outside the cover), edges with ``tensor`` and ``slot``. Characters that XML cannot
    hold are replaced."""
    number = {op.name: i for i, op in enumerate(graph.operators)}
    home: dict[str, tuple[str, int]] = {}
    places = [place for mined in cover.patterns for place in mined.occurrences]
    for occurrence, place in enumerate(places):
        home.update(dict.fromkeys(place.operators, (place.pattern.key, occurrence)))
    result = nx.MultiDiGraph(name=_clean(graph.name))
    for op in graph.operators:
        pattern, occurrence = home.get(op.name, ("", -1))
        result.add_node(
            f"n{number[op.name]}",
            name=_clean(op.name),
            label=label(op),
            pattern=pattern,
            occurrence=occurrence,
        )
    for first, second, data in graph.nx.edges(data=True):
        result.add_edge(
            f"n{number[first]}",
            f"n{number[second]}",
            tensor=_clean(data["tensor"]),
            slot=data["slot"],
        )
    return "\n".join(nx.generate_graphml(result)) + "\n"


def _node(graph: DataflowGraph, name: str, number: int, color: str) -> str:
    text = _quoted(f"{name}\n{label(graph.op(name))}")
    return f'n{number} [label={text}, fillcolor="{color}"];'


def _quoted(text: str) -> str:
    """A DOT string: quotes, backslashes, line ends escaped; other control characters replaced."""
    clean = _NO_XML.sub("�", text).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + clean.replace("\r", "").replace("\n", "\\n") + '"'


def _clean(text: str) -> str:
    return _NO_XML.sub("�", text)
