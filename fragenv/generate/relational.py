"""Relational graphs: which groups of neurons exchange messages.

You, Leskovec, He, Xie: Graph Structure of Neural Networks, ICML 2020. A relational graph is
undirected; with itself, every group talks to its neighbours once per layer. Two numbers describe
it: the average clustering coefficient C and the average length of shortest paths L.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import networkx as nx
import numpy as np
import numpy.typing as npt

from fragenv.errors import FragenvError

#: draws until a graph is connected, as published
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Measures:
    """Clustering C, average path length L, and the share of pairs that are edges."""

    clustering: float
    path_length: float
    density: float


def ws_flex(nodes: int, degree: float, rewiring: float, seed: int) -> nx.Graph:
    """A connected Watts-Strogatz graph of any real average degree.

    Node i is joined to the nodes after it on a ring, edges // nodes of them or one more; every edge
    is then moved with probability ``rewiring`` to a random other end.

    Args:
        nodes: at least 2.
        degree: average degree, 2 to ``nodes - 1``.
        rewiring: 0 is a ring, 1 a random graph.
        seed: of all that is random.

    Raises:
        FragenvError: out of range, or no connected graph in a hundred tries.
    """
    if nodes < 2 or not min(2, nodes - 1) <= degree <= nodes - 1 or not 0 <= rewiring <= 1:
        raise FragenvError(
            f"a relational graph needs 2 or more nodes, a degree from 2 to nodes - 1 and rewiring "
            f"from 0 to 1, got {nodes}, {degree} and {rewiring}"
        )
    chance = random.Random(seed)
    for _ in range(_TRIES):
        graph = _ring(nodes, round(degree * nodes / 2), chance)
        _rewire(graph, rewiring, chance)
        if nx.is_connected(graph):
            return graph
    raise FragenvError(
        f"no connected graph of {nodes} nodes with degree {degree:g} in {_TRIES} tries; ask for a "
        "higher degree or less rewiring"
    )


def _ring(nodes: int, edges: int, chance: random.Random) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(range(nodes))
    whole, rest = divmod(edges, nodes)
    longer = set(chance.sample(range(nodes), rest))
    for node in range(nodes):
        for step in range(1, whole + 1 + (node in longer)):
            graph.add_edge(node, (node + step) % nodes)
    # in a graph that is almost complete a ring meets itself from both sides
    missing = edges - graph.number_of_edges()
    if missing:
        graph.add_edges_from(chance.sample(list(nx.non_edges(graph)), missing))
    return graph


def _rewire(graph: nx.Graph, rewiring: float, chance: random.Random) -> None:
    for src, dst in list(graph.edges):
        if chance.random() >= rewiring:
            continue
        free = [node for node in graph if node != src and not graph.has_edge(src, node)]
        if free:
            graph.remove_edge(src, dst)
            graph.add_edge(src, chance.choice(free))


def measures(graph: nx.Graph) -> Measures:
    """C, L and density of a connected graph."""
    return Measures(
        nx.average_clustering(graph), nx.average_shortest_path_length(graph), nx.density(graph)
    )


def sweep(nodes: int, side: int, seed: int) -> list[tuple[nx.Graph, Measures]]:
    """``side`` x ``side`` graphs: degrees from an eighth of the nodes (sparser ones are left out as
    published) to ``nodes - 2``, rewirings from 0 to 1, both evenly by their roots."""
    degrees = np.linspace((nodes / 8) ** 0.5, (nodes - 2) ** 0.5, side) ** 2
    rewirings = np.linspace(0, 1, side) ** 2
    found = []
    for number, (degree, rewiring) in enumerate((k, p) for k in degrees for p in rewirings):
        graph = ws_flex(nodes, float(degree), float(rewiring), seed + number)
        found.append((graph, measures(graph)))
    return found


def group_mask(graph: nx.Graph) -> npt.NDArray[np.bool_]:
    """(n, n): which groups read which; symmetric, and every group reads itself."""
    adjacency: npt.NDArray[np.bool_] = nx.to_numpy_array(graph, sorted(graph), dtype=np.bool_)
    np.fill_diagonal(adjacency, True)
    return adjacency


def channel_groups(channels: int, groups: int) -> npt.NDArray[np.int64]:
    """(channels,): the group of every channel; sizes differ by one at most.

    Raises:
        FragenvError: more groups than channels.
    """
    if groups > channels:
        raise FragenvError(
            f"{groups} groups need at least as many channels, got {channels}; widen the layer or "
            "take a smaller relational graph"
        )
    return np.arange(channels) * groups // channels


def channel_mask(graph: nx.Graph, outputs: int, inputs: int) -> npt.NDArray[np.bool_]:
    """(outputs, inputs): which weights of a layer exist."""
    mask = group_mask(graph)
    return mask[np.ix_(channel_groups(outputs, len(mask)), channel_groups(inputs, len(mask)))]


def matched_width(graph: nx.Graph, width: int) -> int:
    """The width at which a masked square layer has as many weights as a dense one of ``width``, as
    nearly as whole channels allow."""
    mask = group_mask(graph).astype(np.int64)
    nodes = len(mask)

    def distance(candidate: int) -> int:
        sizes = np.bincount(channel_groups(candidate, nodes))
        return abs(int(sizes @ mask @ sizes) - width * width)

    first = int(width / mask.mean() ** 0.5)
    return min(range(max(nodes, first - nodes), first + nodes + 1), key=distance)
