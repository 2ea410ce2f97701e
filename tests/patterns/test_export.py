"""Exports read back: by networkx for GraphML, by a small reader of DOT's grammar for DOT."""

from __future__ import annotations

import re

import networkx as nx
import pytest
from hypothesis import given, settings
from operator_graphs import build, graphs, make

from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import OpKind
from fragenv.patterns import picture
from fragenv.patterns.cover import Cover, cover
from fragenv.patterns.discover import discover
from fragenv.patterns.export import to_dot, to_graphml
from fragenv.patterns.pattern import label
from fragenv.patterns.picture import pattern_figure

STRING = r'"((?:[^"\\]|\\.)*)"'
NODE = re.compile(rf'\s*(n\d+) \[label={STRING}, fillcolor="(#\w+)"\];')
EDGE = re.compile(rf"\s*(n\d+) -> (n\d+) \[label={STRING}\];")
OTHER = re.compile(
    rf"(digraph {STRING} {{|  node \[.*\];|  subgraph cluster_\d+ {{|    label={STRING};|  }}|}})"
)


def covered(graph: DataflowGraph) -> Cover:
    return cover(graph, discover(graph, 2))


def plain(text: str) -> str:
    return text.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")


def read_dot(text: str) -> tuple[dict[str, tuple[str, str]], list[tuple[str, str, str]]]:
    """Nodes (label, colour) and edges (tensor last); fails on any line that is not of the kind."""
    nodes, edges = {}, []
    for line in text.splitlines():
        if found := NODE.fullmatch(line):
            assert found[1] not in nodes
            nodes[found[1]] = (plain(found[2]), found[3])
        elif found := EDGE.fullmatch(line):
            edges.append((found[1], found[2], plain(found[3])))
        else:
            assert OTHER.fullmatch(line), line
    assert text.count("{\n") == text.count("}\n")
    return nodes, edges


@settings(max_examples=60, deadline=None)
@given(graphs(most=10))
def test_exports__hold_the_graph_and_its_cover(graph: DataflowGraph) -> None:
    found = covered(graph)
    nodes, edges = read_dot(to_dot(graph, found))
    names = {key: text.split("\n")[0] for key, (text, _) in nodes.items()}
    wanted = sorted((a, b, t) for a, b, t in graph.nx.edges(data="tensor"))
    assert sorted((names[a], names[b], tensor) for a, b, tensor in edges) == wanted
    white = {names[key] for key, (_, color) in nodes.items() if color == "#FFFFFF"}
    assert white == set(found.alone)
    read = nx.parse_graphml(to_graphml(graph, found), force_multigraph=True)
    assert sorted(d["name"] for _, d in read.nodes(data=True)) == sorted(names.values())
    assert all(d["label"] == label(graph.op(d["name"])) for _, d in read.nodes(data=True))
    groups: dict[int, set[str]] = {}
    for _, data in read.nodes(data=True):
        groups.setdefault(data["occurrence"], set()).add(data["name"])
    assert groups.pop(-1, set()) == set(found.alone)
    places = [set(o.operators) for m in found.patterns for o in m.occurrences]
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, places))
    assert sorted(
        (read.nodes[a]["name"], read.nodes[b]["name"], d["tensor"])
        for a, b, d in read.edges(data=True)
    ) == wanted  # fmt: skip


NASTY = ['"', "\\", 'a"];b -> c;"', "</node>&amp;", "line\nbreak", "\\n", "é漢", "$x^2$", "a\\"]


def test_exports__names_are_escaped() -> None:
    operators, tensor = [], "x"
    for name in NASTY:
        operators.append(make(name, OpKind.CONV, (tensor,)))
        tensor = f"{name}.out"
    graph = build(operators, {tensor})
    graph.name = 'the "graph"\\'
    found = covered(graph)
    read = nx.parse_graphml(to_graphml(graph, found), force_multigraph=True)
    assert sorted(d["name"] for _, d in read.nodes(data=True)) == sorted(NASTY)
    nodes, edges = read_dot(to_dot(graph, found))
    assert len(nodes) == len(NASTY) and len(edges) == len(NASTY) - 1
    safe = [n for n in NASTY if "\\n" not in n]
    assert set(safe) <= {text.rsplit("\n", 1)[0] for text, _ in nodes.values()}
    pattern_figure(graph, found)


def test_exports__what_xml_cannot_hold_is_replaced() -> None:
    operators = [
        make("a\x00b\x1b", OpKind.CONV, ("x",)),
        make("c", OpKind.RELU, ("a\x00b\x1b.out",)),
    ]
    graph = build(operators, {"c.out"})
    read = nx.parse_graphml(to_graphml(graph, covered(graph)), force_multigraph=True)
    assert {d["name"] for _, d in read.nodes(data=True)} == {"a\ufffdb\ufffd", "c"}
    assert "\x00" not in to_dot(graph, covered(graph))


def test_figure__places_no_two_operators_in_one_spot() -> None:
    operators = [make("s", OpKind.CONV, ("x",))]
    operators += [make(f"b{i}", OpKind.CONV, ("s.out",)) for i in range(4)]
    operators += [make("join", OpKind.CONCAT, tuple(f"b{i}.out" for i in range(4)))]
    tensor = "join.out"
    for i in range(40):
        operators.append(make(f"c{i}", OpKind.CONV, (tensor,)))
        tensor = f"c{i}.out"
    graph = build(operators, {tensor})
    position, columns, rows = picture._layout(graph.nx)
    assert len({(round(x, 3), y) for x, y in position.values()}) == len(operators)
    assert columns == 8 and rows <= 30  # four branches, folded once
    assert all(0 <= x <= columns - 1 for x, _ in position.values())


def test_figure__is_refused_for_large_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MOST_OPERATORS", 1)
    operators = [make("a", OpKind.CONV, ("x",)), make("b", OpKind.CONV, ("a.out",))]
    graph = build(operators, {"b.out"})
    with pytest.raises(FragenvError, match="2 operators are too many for a picture"):
        pattern_figure(graph, covered(graph))


def test_figure__shows_every_pattern_in_its_legend() -> None:
    operators, tensor = [], "x"
    for i in range(6):
        operators.append(make(f"c{i}", OpKind.CONV, (tensor,), 3 if i % 2 else 1))
        operators.append(make(f"r{i}", OpKind.RELU, (f"c{i}.out",)))
        tensor = f"r{i}.out"
    graph = build(operators, {tensor})
    found = covered(graph)
    texts = [t.get_text() for t in pattern_figure(graph, found).legends[0].get_texts()]
    assert len(texts) == len(found.patterns) + 1
    assert all(m.pattern.name in "".join(texts) for m in found.patterns)
