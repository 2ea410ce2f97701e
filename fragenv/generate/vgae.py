"""A variational graph auto-encoder that knows which operators of a dataflow graph feed which.

Kipf, Welling: Variational Graph Auto-Encoders, NeurIPS workshop 2016, by PyTorch Geometric: graph
convolutions give every node a distribution over codes, and codes are decoded into edges. Ours is
the direction: a code has a half for the source and a half for the target of an edge, since the
published product z_i . z_j cannot tell i -> j from j -> i.

It tells links and generates no architecture. A code belongs to a node, and the prior draws each on
its own: such a draw has no number of nodes, no types and no order, and i -> j and j -> i may both
be likely. Near a given graph its codes could be drawn anew, but that moves single edges and needs
the graph, which ``mutation`` does without a network. A generator needs a code for the whole graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2, pi

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import VGAE, GCNConv
from torch_geometric.transforms import RandomLinkSplit
from torch_geometric.utils import batched_negative_sampling, dropout_edge, to_undirected

from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import OpKind

_KINDS = tuple(OpKind)
#: waves of 2, 4, 8 ... operators tell a node's place in the order
_OCTAVES = 9
#: share of the edges without messages in a step of the training
_DROPPED = 0.3
#: columns of the features of a node
FEATURES = len(_KINDS) + 2 + 2 * _OCTAVES
TRAINING = TrainingConfig(steps=300, learning_rate=1e-2, clip=5.0)


@dataclass(frozen=True, slots=True)
class LinkScores:
    """On edges and non-edges that were held out: area under the ROC curve, average precision."""

    auc: float
    average_precision: float


class _Encoder(nn.Module):
    """Two layers of graph convolution; the second twice, for the means and the deviations."""

    def __init__(self, hidden: int, codes: int) -> None:
        super().__init__()
        self.shared = GCNConv(FEATURES, hidden)
        # a convolution averages a node with its neighbours; what it is itself goes past it
        self.own = nn.Linear(FEATURES, hidden)
        self.mean, self.log_deviation = GCNConv(hidden, codes), GCNConv(hidden, codes)
        self.own_mean = nn.Linear(hidden, codes)

    def forward(self, x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        hidden = (self.shared(x, edges) + self.own(x)).relu()
        return self.mean(hidden, edges) + self.own_mean(hidden), self.log_deviation(hidden, edges)


class _DirectedDecoder(nn.Module):
    """The product of the source half of one code with the target half of the other."""

    def forward(self, z: Tensor, edges: Tensor, sigmoid: bool = True) -> Tensor:
        source, target = z.chunk(2, dim=1)
        score = (source[edges[0]] * target[edges[1]]).sum(1)
        return torch.sigmoid(score) if sigmoid else score


def node_data(graph: DataflowGraph) -> Data:
    """Operators as nodes with features, in the order of the graph, and tensors as edges."""
    place = {op.name: i for i, op in enumerate(graph.operators)}
    rows = []
    for number, op in enumerate(graph.operators):
        kind = [float(op.kind is k) for k in _KINDS]
        size = [log2(op.nest.k) / 8, log2(op.nest.p * op.nest.q) / 16]
        waves = [
            wave(torch.tensor(2 * pi * number / 2**octave)).item()
            for octave in range(1, _OCTAVES + 1)
            for wave in _WAVES
        ]
        rows.append(kind + size + waves)
    pairs = sorted({(place[src], place[dst]) for src, dst in graph.nx.edges()})
    return Data(x=torch.tensor(rows), edge_index=torch.tensor(pairs).t().contiguous())


_WAVES: tuple[Callable[[Tensor], Tensor], ...] = (torch.sin, torch.cos)


def make_model(seed: int, hidden: int = 64, codes: int = 32) -> VGAE:
    """An untrained auto-encoder with weights drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VGAE(_Encoder(hidden, codes), _DirectedDecoder())


def learn_links(
    graphs: Sequence[DataflowGraph],
    seed: int,
    held_out: float = 0.1,
    training: TrainingConfig = TRAINING,
) -> LinkScores:
    """Train on the edges of graphs but a part of each, and judge on that part and as many
    non-edges of the same graphs.

    Messages run along training edges only, in both directions; each step leaves some of them out,
    so that an edge is not told by its own messages.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        split = RandomLinkSplit(num_val=0, num_test=held_out, add_negative_train_samples=False)
        parts = [split(node_data(graph)) for graph in graphs]
    train = Batch.from_data_list([part[0] for part in parts])
    test = Batch.from_data_list([part[2] for part in parts])
    model = make_model(seed)

    def loss(step: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 1_000_003 + step)
            messages = dropout_edge(train.edge_index, _DROPPED)[0]
            z = model.encode(train.x, to_undirected(messages, num_nodes=len(train.x)))
            others = batched_negative_sampling(train.edge_index, train.batch)
            wanted: Tensor = model.recon_loss(z, train.edge_index, others)
            prior: Tensor = model.kl_loss()
            return wanted + prior / len(train.x)

    Trainer(model, loss, training).run()
    model.eval()
    with torch.no_grad():
        z = model.encode(train.x, to_undirected(train.edge_index, num_nodes=len(train.x)))
        known, pairs = test.edge_label.bool(), test.edge_label_index
        auc, precision = model.test(z, pairs[:, known], pairs[:, ~known])
    return LinkScores(float(auc), float(precision))
