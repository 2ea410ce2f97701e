"""Canonical keys: a Weisfeiler-Lehman hash, confirmed by VF2.

Shervashidze et al., "Weisfeiler-Lehman Graph Kernels", JMLR 12 (2011); Cordella et al., "A
(sub)graph isomorphism algorithm for matching large graphs", IEEE TPAMI 26 (2004): both as networkx
implements them.
"""

from __future__ import annotations

import networkx as nx
from networkx.algorithms.isomorphism import (
    DiGraphMatcher,
    categorical_edge_match,
    categorical_node_match,
)

from fragenv.graph.operators import OpKind
from fragenv.patterns.pattern import Pattern

Edge = tuple[int, int, int]
_Signature = tuple[tuple[str, ...], tuple[Edge, ...]]


def structure(labels: tuple[str, ...], edges: tuple[Edge, ...]) -> nx.DiGraph:
    """The labelled graph that stands for a pattern: nodes with ``label``, edges with ``slots``
    (all the slots through which one operator feeds another)."""
    slots: dict[tuple[int, int], list[int]] = {}
    for src, dst, slot in edges:
        slots.setdefault((src, dst), []).append(slot)
    graph = nx.DiGraph()
    graph.add_nodes_from((node, {"label": text}) for node, text in enumerate(labels))
    graph.add_edges_from((*pair, {"slots": str(sorted(s))}) for pair, s in slots.items())
    return graph


def wl_hash(graph: nx.DiGraph) -> str:
    """Equal for isomorphic structures; almost always different for others.

    networkx hashes directed graphs differently from version to version, so that each edge becomes
    an undirected path whose two inner nodes tell its direction and slots.
    """
    undirected = nx.Graph()
    undirected.add_nodes_from(graph.nodes(data=True))
    for src, dst, slots in graph.edges(data="slots"):
        tail, head = ("tail", src, dst), ("head", src, dst)
        undirected.add_node(tail, label=f"tail {slots}")
        undirected.add_node(head, label=f"head {slots}")
        undirected.add_edges_from([(src, tail), (tail, head), (head, dst)])
    digest: str = nx.weisfeiler_lehman_graph_hash(
        undirected, node_attr="label", iterations=len(graph)
    )
    return digest


class PatternIndex:
    """Finds the pattern that a subgraph belongs to.

    The hash and VF2 run once per distinct (labels, edges); an occurrence that looks the same in
    its topological order is a dictionary lookup. A hash that is taken by another structure gets
    a number appended: keys are distinct within one index.
    """

    def __init__(self) -> None:
        self._seen: dict[_Signature, tuple[Pattern, tuple[int, ...]]] = {}
        self._members: dict[str, list[tuple[Pattern, nx.DiGraph]]] = {}

    def classify(
        self, kinds: tuple[OpKind, ...], labels: tuple[str, ...], edges: tuple[Edge, ...]
    ) -> tuple[Pattern, tuple[int, ...]]:
        """The pattern, and for each of its operators the index of the one here that plays it.

        Operators must be in a topological order and ``edges`` sorted.
        """
        signature = (labels, edges)
        if signature not in self._seen:
            self._seen[signature] = self._match(kinds, labels, edges)
        return self._seen[signature]

    def _match(
        self, kinds: tuple[OpKind, ...], labels: tuple[str, ...], edges: tuple[Edge, ...]
    ) -> tuple[Pattern, tuple[int, ...]]:
        graph = structure(labels, edges)
        digest = wl_hash(graph)
        members = self._members.setdefault(digest, [])
        for pattern, other in members:
            matcher = DiGraphMatcher(
                other,
                graph,
                node_match=categorical_node_match("label", None),
                edge_match=categorical_edge_match("slots", None),
            )
            if matcher.is_isomorphic():
                return pattern, tuple(matcher.mapping[i] for i in range(len(labels)))
        key = f"{digest}-{len(members)}" if members else digest
        pattern = Pattern(key, kinds, edges, labels)
        members.append((pattern, graph))
        return pattern, tuple(range(len(labels)))
