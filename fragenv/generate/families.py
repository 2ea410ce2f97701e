"""Families of undirected graphs on which GraphRNN is judged, and graphs as sequences.

The sizes are those of the small sets of the published code where it has them: ladders of 2 to 10
rungs, grids of 2 to 4 by 2 to 5. The cavemen are networkx's relaxed ones, so that there is chance
to learn: 2 to 4 cliques of 4 to 6 nodes, each edge led to another clique with probability 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np
import torch

from fragenv.errors import FragenvError
from fragenv.generate.dgmg_model import Graphs

NAMES = ("ladder", "grid", "caveman")
_CAVEMEN_PER_SIZE = 60
_REWIRED = 0.1


def family(name: str, seed: int) -> list[nx.Graph]:
    """The graphs of a family; ladders and grids are all there are, cavemen depend on ``seed``.

    Raises:
        FragenvError: an unknown name.
    """
    if name == "ladder":
        return [nx.ladder_graph(rungs) for rungs in range(2, 11)]
    if name == "grid":
        return [nx.grid_2d_graph(rows, columns) for rows in range(2, 5) for columns in range(2, 6)]
    if name == "caveman":
        rng = np.random.default_rng(seed)
        sizes = [(caves, size) for caves in range(2, 5) for size in range(4, 7)]
        return [_caveman(*pair, rng) for pair in sizes for _ in range(_CAVEMEN_PER_SIZE)]
    raise FragenvError(f"unknown family '{name}'; known are {', '.join(NAMES)}")


def _caveman(caves: int, size: int, rng: np.random.Generator) -> nx.Graph:
    """A connected one without an edge from a node to itself; others are drawn again."""
    while True:
        graph = nx.relaxed_caveman_graph(caves, size, _REWIRED, seed=int(rng.integers(2**32)))
        if nx.is_connected(graph) and not nx.number_of_selfloops(graph):
            return graph


def sequences(graphs: Sequence[nx.Graph], orders: int, seed: int) -> Graphs:
    """Connected graphs as tensors, each in ``orders`` breadth-first orders from random nodes,
    neighbours in random order; node type 0 throughout."""
    rng = np.random.default_rng(seed)
    most = max(len(graph) for graph in graphs)
    count = orders * len(graphs)
    edges = torch.zeros(count, most, most, dtype=torch.bool)
    sizes = []
    for row in range(count):
        graph = graphs[row // orders]
        place = {node: i for i, node in enumerate(_breadth_first(graph, rng))}
        for pair in graph.edges:
            first, second = sorted(place[node] for node in pair)
            edges[row, second, first] = True
        sizes.append(len(graph))
    types = torch.zeros(count, most, dtype=torch.long)
    return Graphs(torch.tensor(sizes), types, edges, torch.zeros(count))


def _breadth_first(graph: nx.Graph, rng: np.random.Generator) -> list[object]:
    nodes = list(graph)
    order = [nodes[int(rng.integers(len(nodes)))]]
    seen = set(order)
    for node in order:  # grows while it is walked
        fresh = [other for other in graph[node] if other not in seen]
        rng.shuffle(fresh)
        order += fresh
        seen.update(fresh)
    return order


def undirected(graphs: Graphs) -> list[nx.Graph]:
    """Tensors as graphs; those without a node are left out."""
    found = []
    for row, size in enumerate(graphs.sizes.tolist()):
        graph = nx.empty_graph(size)
        graph.add_edges_from(graphs.edges[row].nonzero().tolist())
        found.append(graph)
    return [graph for graph in found if len(graph)]


def random_like(graphs: Sequence[nx.Graph], model: str, seed: int) -> list[nx.Graph]:
    """For each graph one of as many nodes and about as many edges, by the two classical models:
    ``gnp`` (Erdos and Renyi) or ``barabasi_albert``."""
    rng = np.random.default_rng(seed)
    found = []
    for graph in graphs:
        nodes, edges, drawn = len(graph), graph.number_of_edges(), int(rng.integers(2**32))
        if model == "gnp":
            found.append(nx.gnp_random_graph(nodes, 2 * edges / (nodes * (nodes - 1)), drawn))
        else:
            attached = min(max(1, round(edges / nodes)), nodes - 1)
            found.append(nx.barabasi_albert_graph(nodes, attached, drawn))
    return found
