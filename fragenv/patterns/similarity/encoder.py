"""The encoder: typed graphs to points whose distances estimate the edit distance.

A graph autoencoder (Kipf, Welling: Variational graph auto-encoders, NeurIPS workshop 2016): layers
of GINE (Hu et al.: Strategies for pre-training graph neural networks, ICLR 2020) pass messages
along and against the edges; operators' codes are decoded into their features and edges. A graph's
point is the sum of its operators' codes and points are compared by the L1 norm: an operator more
moves the point by one code, as it costs one edit, and graphs of other operators lie in other
coordinates. The numbering of operators has no influence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2

import torch
from torch import Tensor, nn
from torch_geometric.nn import GINEConv

from fragenv.graph.operators import Operator, OpKind
from fragenv.patterns.similarity.typed import TypedGraph

KINDS = tuple(OpKind)
#: columns of the features after one per kind; all but the first two in octaves
MEASURES = (
    *("depthwise", "grouped", "kernel_rows", "kernel_columns", "stride_rows", "stride_columns"),
    *("dilation_rows", "dilation_columns", "channels_in", "channels_out", "pixels"),
)
FEATURES = (*(kind.value for kind in KINDS), *MEASURES)
#: octaves become numbers around 1
_SCALE = 0.25
#: edges carry which slots they feed: 0, 1, 2, any later one
SLOTS = 4


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Sizes of the network."""

    hidden: int = 64
    layers: int = 3
    codes: int = 64


@dataclass(frozen=True, slots=True)
class GraphBatch:
    """Graphs side by side: (N, F) features, (2, E) edges, (E, 4) slots, (N,) graph of each node."""

    features: Tensor
    edges: Tensor
    slots: Tensor
    home: Tensor
    count: int


def operator_features(op: Operator) -> list[float]:
    """One row of ``FEATURES``."""
    nest = op.nest
    octaves = (nest.r, nest.s, *nest.stride, *nest.dilation, nest.c, nest.k, nest.p * nest.q)
    return [
        *(float(op.kind is kind) for kind in KINDS),
        float(op.is_depthwise),
        float(op.kind is OpKind.CONV and nest.groups > 1 and not op.is_depthwise),
        *(_SCALE * log2(x) for x in octaves),
    ]


def batch_of(graphs: Sequence[TypedGraph]) -> GraphBatch:
    """Graphs as tensors."""
    rows: list[list[float]] = []
    home: list[int] = []
    pairs: list[tuple[int, int]] = []
    slots: list[list[float]] = []
    for number, graph in enumerate(graphs):
        first = len(rows)
        rows += [operator_features(op) for op in graph.operators]
        home += [number] * len(graph)
        for (src, dst), used in graph.slots.items():
            pairs.append((first + src, first + dst))
            slots.append([float(any(min(s, SLOTS - 1) == i for s in used)) for i in range(SLOTS)])
    return GraphBatch(
        torch.tensor(rows).reshape(-1, len(FEATURES)),
        torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).t().contiguous(),
        torch.tensor(slots).reshape(-1, SLOTS),
        torch.tensor(home, dtype=torch.long),
        len(graphs),
    )


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class PatternEncoder(nn.Module):
    """Operators to codes, graphs to points, and back from codes to operators and edges."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.entry = _mlp(len(FEATURES), hidden, hidden)
        self.along, self.against = (
            nn.ModuleList(
                GINEConv(_mlp(hidden, hidden, hidden), edge_dim=SLOTS) for _ in range(config.layers)
            )
            for _ in range(2)
        )
        self.code = _mlp(hidden * (config.layers + 1), hidden, config.codes)
        self.decode_operator = _mlp(config.codes, hidden, len(FEATURES))
        self.decode_source = nn.Linear(config.codes, hidden)
        self.decode_target = nn.Linear(config.codes, hidden)

    def codes(self, batch: GraphBatch) -> Tensor:
        """(N, codes): one code for every operator."""
        state = self.entry(batch.features)
        states = [state]
        for along, against in zip(self.along, self.against, strict=True):
            there = along(state, batch.edges, batch.slots)
            back = against(state, batch.edges.flip(0), batch.slots)
            state = state + torch.relu(there + back)
            states.append(state)
        result: Tensor = self.code(torch.cat(states, dim=1))
        return result

    def points(self, codes: Tensor, batch: GraphBatch) -> Tensor:
        """(graphs, codes): the sum of each graph's codes."""
        return codes.new_zeros(batch.count, codes.shape[1]).index_add(0, batch.home, codes)

    def forward(self, batch: GraphBatch) -> Tensor:
        """The points of a batch."""
        return self.points(self.codes(batch), batch)

    @torch.no_grad()
    def embed(self, graphs: Iterable[TypedGraph]) -> Tensor:
        """The points of ``graphs``, of which there may be none."""
        found = list(graphs)
        if not found:
            return torch.zeros(0, self.config.codes)
        points: Tensor = self(batch_of(found))
        return points


def point_distances(first: Tensor, second: Tensor) -> Tensor:
    """(..., codes) twice to (...): the L1 distances, in units of the edit distance."""
    return (first - second).abs().sum(dim=-1)
