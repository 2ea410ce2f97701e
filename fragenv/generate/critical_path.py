"""Which operators of a dataflow graph lie on its critical path, told by networks that see the graph
and the work of every operator.

Work is in operations of one frame: multiply-accumulates, or elements written by operators that do
not multiply. A node is critical if a path of the most work leads through it. Graph convolutions
(Kipf, Welling: ICLR 2017, by PyTorch Geometric) average over neighbours, along and against the flow
alike; whether a branch is the longer one takes sums along paths and the larger of two. The graph
network of Battaglia et al. has what that needs: it knows the direction of edges, and its nodes take
the largest message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn.models import GCN

from fragenv.generate import canonical
from fragenv.generate.dense import DenseSpace
from fragenv.generate.graph_network import (
    GraphNetwork,
    GraphNetworkConfig,
    both_ways,
    make_graph_network,
)
from fragenv.generate.skeleton import Skeleton, build_graph
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.graph.dataflow import DataflowGraph

SYSTEM = "critical-path"
#: features of a node: logarithm of its work, and its work over the largest of the graph
CONFIG = GraphNetworkConfig(nodes=(2, 1), edges=(2, 1), steps=12, largest=True)
TRAINING = TrainingConfig(steps=700, learning_rate=4e-3)
#: operators of random cells, all that fragments run
_OPERATORS = ("skip", "conv1x1", "conv3x3", "conv5x5", "depthwise3x3", "avgpool3x3", "maxpool3x3")
#: octaves (one deviation) by which the works of the second half of the examples are moved
_MOVED = 1.5
_BATCH = 12

Work = npt.NDArray[np.int64]


def works(graph: DataflowGraph) -> Work:
    """Operations of every operator, in the order of the graph."""
    return np.array([op.macs or graph.tensors[op.output].bytes for op in graph.operators])


def flow(graph: DataflowGraph) -> list[tuple[int, int]]:
    """(from, to) of operators by their places in the order of the graph, each pair once."""
    place = {op.name: number for number, op in enumerate(graph.operators)}
    return sorted({(place[src], place[dst]) for src, dst in graph.nx.edges()})


def critical(edges: Sequence[tuple[int, int]], work: Work) -> npt.NDArray[np.bool_]:
    """Whether each node lies on a path of the most work. ``edges`` are sorted, and lead from lower
    to higher numbers."""
    before, after = work.copy(), work.copy()
    for src, dst in edges:
        before[dst] = max(before[dst], before[src] + work[dst])
    for src, dst in reversed(edges):
        after[src] = max(after[src], after[dst] + work[src])
    through: Work = before + after - work
    found: npt.NDArray[np.bool_] = through == through.max()
    return found


def graph_data(edges: Sequence[tuple[int, int]], work: Work) -> Data:
    """What the networks see, with ``critical`` as the answer."""
    size = np.log2(work) - np.log2(work.max())
    ends = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t()
    index, ways = both_ways(ends)
    return Data(
        x=torch.from_numpy(np.stack([size / 4, work / work.max()], 1)).float(),
        edge_index=index,
        edge_attr=ways,
        critical=torch.from_numpy(critical(edges, work)).float(),
    )


def random_graphs(count: int, seed: int, known: canonical.Distinct) -> list[DataflowGraph]:
    """Networks of random cells of two to six operators, all of them new to ``known`` and then
    added to it."""
    rng = np.random.default_rng(seed)
    found: list[DataflowGraph] = []
    while len(found) < count:
        cell = DenseSpace(int(rng.integers(4, 9)), _OPERATORS).random(rng)
        if known.add(cell):
            channels, stages = int(rng.choice([4, 8, 16])), int(rng.integers(1, 3))
            found.append(build_graph(cell, Skeleton(channels, stages=stages)))
    return found


def corpus(
    train: int = 400, held_out: int = 200
) -> tuple[list[DataflowGraph], list[DataflowGraph]]:
    """Random networks to learn from, and others to judge by, whose cells are all distinct."""
    known = canonical.Distinct()
    return random_graphs(train, 0, known), random_graphs(held_out, 1, known)


def answers(graphs: Sequence[DataflowGraph]) -> list[Data]:
    """Every graph with its own works."""
    return [graph_data(flow(graph), works(graph)) for graph in graphs]


def examples(graphs: Sequence[DataflowGraph], seed: int) -> list[Data]:
    """Every graph with its own works, and again with works moved at random."""
    rng = np.random.default_rng(seed)
    found = answers(graphs)
    for graph in graphs:
        moved = works(graph) * np.exp2(rng.normal(0, _MOVED, len(graph.operators)))
        found.append(graph_data(flow(graph), np.maximum(moved, 1).astype(np.int64)))
    return found


def make_gcn(layers: int, seed: int, hidden: int = 64) -> nn.Module:
    """An untrained network of graph convolutions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = GCN(CONFIG.nodes[0], hidden, layers, 1)
        return network


def make_trainer(
    data: Sequence[Data], training: TrainingConfig, seed: int, model: nn.Module | None = None
) -> Trainer:
    """A trainer of a graph network, or of ``model``, on graphs with answers."""
    model = model or make_graph_network(CONFIG, seed)

    def loss(step: int) -> Tensor:
        picked = np.random.default_rng((seed, step)).integers(len(data), size=_BATCH)
        batch = Batch.from_data_list([data[number] for number in picked.tolist()])
        found = _logits(model, batch)
        # what few steps reach tells little about long paths: the later half of them counts
        wrong = [
            nn.functional.binary_cross_entropy_with_logits(logits, batch.critical)
            for logits in found[len(found) // 2 :]
        ]
        return torch.stack(wrong).mean()

    return Trainer(model, loss, training)


def _logits(model: nn.Module, batch: Batch) -> list[Tensor]:
    """Of every node, for every step of the network; graph convolutions have one."""
    if isinstance(model, GraphNetwork):
        return [found.nodes[:, 0] for found in model(batch)]
    return [model(batch.x, batch.edge_index)[:, 0]]


@dataclass(frozen=True, slots=True)
class PathScores:
    """Shares of nodes: ``right``, and ``always_yes`` the same of saying yes throughout."""

    right: float
    always_yes: float


@torch.no_grad()
def judge(model: nn.Module, data: Sequence[Data]) -> PathScores:
    """Scores on graphs with answers."""
    batch = Batch.from_data_list(list(data))
    model.eval()
    said, wanted = _logits(model, batch)[-1] > 0, batch.critical > 0
    return PathScores(float((said == wanted).float().mean()), float(wanted.float().mean()))
