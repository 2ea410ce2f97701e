"""Shortest paths: the published task of graph networks.

As in DeepMind's demonstration (github.com/google-deepmind/graph_nets): points in the unit square
with exponential weights; two are neighbours where their weights over their squared distance reach a
threshold (a geographical threshold graph), and along a minimum spanning tree, so that all are
connected. The network is told the ends and says of every node and edge whether the way leads there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree, shortest_path
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from fragenv.generate.graph_network import (
    Decoded,
    GraphNetwork,
    GraphNetworkConfig,
    make_graph_network,
    mean_loss,
)
from fragenv.generate.training import Trainer, TrainingConfig

SYSTEM = "shortest-path"
#: numbers of nodes: in training, and to which it must generalise
SMALL, LARGE = (8, 16), (16, 32)
THRESHOLD = 20.0
#: node: start, end, weight; edge: length
CONFIG = GraphNetworkConfig(nodes=(3, 1), edges=(1, 1), steps=10)
TRAINING = TrainingConfig(steps=3000, learning_rate=4e-3)
#: networks are trained on this many graphs with ever new ends
_GRAPHS, _BATCH = 2000, 16


@dataclass(frozen=True)
class RandomGraph:
    """An undirected graph: each edge in both directions, with lengths, and the node before each
    node on the shortest path from each start."""

    weights: npt.NDArray[np.float64]
    edges: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.float64]
    before: npt.NDArray[np.int32]

    def path(self, start: int, end: int) -> list[int]:
        """The nodes of the shortest path."""
        found = [end]
        while found[-1] != start:
            found.append(int(self.before[start, found[-1]]))
        return found[::-1]

    def task(self, start: int, end: int) -> Data:
        """The graph with its ends marked, and what is to be found: ``on_path`` of nodes, and of
        edges in the direction of the way."""
        count = len(self.weights)
        marks = np.zeros((count, 3))
        marks[start, 0] = marks[end, 1] = 1
        marks[:, 2] = self.weights
        way = self.path(start, end)
        steps = np.zeros((count, count), dtype=np.bool_)
        steps[way[:-1], way[1:]] = True
        return Data(
            x=torch.from_numpy(marks).float(),
            edge_index=torch.from_numpy(self.edges),
            edge_attr=torch.from_numpy(self.lengths).float()[:, None],
            on_path=torch.zeros(count).index_fill(0, torch.tensor(way), 1.0),
            edge_on_path=torch.from_numpy(steps[self.edges[0], self.edges[1]]).float(),
        )


def random_graph(nodes: tuple[int, int], rng: np.random.Generator) -> RandomGraph:
    """A graph whose number of nodes lies in a range, both ends included."""
    count = int(rng.integers(nodes[0], nodes[1] + 1))
    points, weights = rng.random((count, 2)), rng.exponential(1.0, count)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    strength = (weights[:, None] + weights[None]) / (distance + np.eye(count)) ** 2
    tree = minimum_spanning_tree(csr_array(distance)).toarray() > 0
    joined = ((strength >= THRESHOLD) | tree | tree.T) & ~np.eye(count, dtype=np.bool_)
    _, before = shortest_path(csr_array(np.where(joined, distance, 0)), return_predecessors=True)
    edges = np.stack(joined.nonzero())
    return RandomGraph(weights, edges, distance[edges[0], edges[1]], before)


def draw_tasks(graphs: Sequence[RandomGraph], count: int, rng: np.random.Generator) -> Batch:
    """``count`` of the graphs, each with two different ends."""
    tasks = []
    for number in rng.integers(len(graphs), size=count).tolist():
        start, end = rng.choice(len(graphs[number].weights), 2, replace=False).tolist()
        tasks.append(graphs[number].task(start, end))
    return Batch.from_data_list(tasks)


def make_trainer(training: TrainingConfig, seed: int) -> Trainer:
    """A trainer on ``SMALL`` graphs."""
    rng = np.random.default_rng(seed)
    graphs = [random_graph(SMALL, rng) for _ in range(_GRAPHS)]
    model = make_graph_network(CONFIG, seed)

    def loss(step: int) -> Tensor:
        batch = draw_tasks(graphs, _BATCH, np.random.default_rng((seed, step)))

        def wrong(found: Decoded) -> Tensor:
            logits = torch.cat([found.nodes[:, 0], found.edges[:, 0]])
            wanted = torch.cat([batch.on_path, batch.edge_on_path])
            return nn.functional.binary_cross_entropy_with_logits(logits, wanted)

        return mean_loss(model(batch), wrong)

    return Trainer(model, loss, training)


@dataclass(frozen=True, slots=True)
class PathScores:
    """Shares: ``right`` of all nodes and edges; ``always_no`` the same of saying no throughout;
    ``f1`` of those on the path; ``solved`` of graphs without a mistake."""

    right: float
    always_no: float
    f1: float
    solved: float


@torch.no_grad()
def judge(model: GraphNetwork, nodes: tuple[int, int], count: int, seed: int) -> PathScores:
    """Scores on ``count`` new graphs of a range of sizes."""
    rng = np.random.default_rng(seed)
    graphs = [random_graph(nodes, rng) for _ in range(count)]
    batch = draw_tasks(graphs, count, rng)
    found = model(batch)[-1]
    said = torch.cat([found.nodes[:, 0], found.edges[:, 0]]) > 0
    wanted = torch.cat([batch.on_path, batch.edge_on_path]) > 0
    of = torch.cat([batch.batch, batch.batch[batch.edge_index[0]]])
    wrong = torch.zeros(count).index_add(0, of, (said != wanted).float())
    hits = float((said & wanted).sum())
    return PathScores(
        right=float((said == wanted).float().mean()),
        always_no=float((~wanted).float().mean()),
        f1=2 * hits / float(said.sum() + wanted.sum()),
        solved=float((wrong == 0).float().mean()),
    )
