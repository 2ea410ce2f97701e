"""MolGAN: one network makes a whole graph at once, a second judges it, a third predicts rewards.

De Cao, Kipf: MolGAN: An implicit generative model for small molecular graphs, ICML workshop 2018.
Noise becomes the types of all nodes and all edges; critic and reward network see graphs by
relational graph convolutions, which PyTorch Geometric's dense convolutions are with one of them
for each direction of the edges.

Graphs are those of a ``DenseSpace``: edges lead from lower to higher numbers, so that none has a
cycle. A graph is one-hot where it is judged, and its gradient is that of the probabilities
(straight-through Gumbel-softmax, one of the published variants).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import DenseGraphConv

from fragenv.generate.dense import DenseSpace

#: (B, N, types) one-hot types and (B, N, N) edges [from, to], 0 or 1
DenseGraphs = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class MolGanConfig:
    """Sizes; ``nodes`` and ``operators`` as in ``DenseSpace``."""

    nodes: int
    operators: tuple[str, ...]
    noise: int = 32
    hidden: tuple[int, ...] = (64, 128, 256)
    channels: tuple[int, ...] = (64, 32)
    code: int = 64

    @property
    def space(self) -> DenseSpace:
        """Where the graphs lie."""
        return DenseSpace(self.nodes, self.operators)


class GraphScore(nn.Module):
    """A number for each graph: graph convolutions, a gated sum over the nodes, two layers."""

    def __init__(self, config: MolGanConfig) -> None:
        super().__init__()
        types = len(config.space.node_types)
        widths = [types, *config.channels]
        pairs = list(pairwise(widths))
        self.along = nn.ModuleList(DenseGraphConv(*pair) for pair in pairs)
        self.against = nn.ModuleList(DenseGraphConv(*pair) for pair in pairs)
        self.gate = nn.Linear(widths[-1] + types, config.code)
        self.value = nn.Linear(widths[-1] + types, config.code)
        self.score = nn.Sequential(
            nn.Linear(config.code, config.code), nn.Tanh(), nn.Linear(config.code, 1)
        )

    def forward(self, types: Tensor, edges: Tensor) -> Tensor:
        """(B,) of (B, N, types) and (B, N, N)."""
        h = types
        for along, against in zip(self.along, self.against, strict=True):
            h = torch.tanh(along(h, edges.transpose(1, 2)) + against(h, edges))
        both = torch.cat([h, types], 2)
        code = (self.gate(both).sigmoid() * self.value(both).tanh()).sum(1)
        score: Tensor = self.score(code.tanh())[:, 0]
        return score


class MolGan(nn.Module):
    """The three networks."""

    def __init__(self, config: MolGanConfig) -> None:
        super().__init__()
        self.config = config
        #: an inner node may be any operator or absent
        self.inner_types = len(config.operators) + 1
        pairs = config.nodes * (config.nodes - 1) // 2
        results = (config.nodes - 2) * self.inner_types + 2 * pairs
        widths = [config.noise, *config.hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.Tanh()]
        self.generator = nn.Sequential(*layers, nn.Linear(widths[-1], results))
        self.critic, self.reward = GraphScore(config), GraphScore(config)

    def generate(self, count: int) -> DenseGraphs:
        """Graphs, drawn with PyTorch's global source of randomness."""
        nodes, inner = self.config.nodes, self.inner_types
        flat = self.generator(torch.randn(count, self.config.noise))
        of_types, of_edges = flat.split(
            [(nodes - 2) * inner, flat.shape[1] - (nodes - 2) * inner], 1
        )
        drawn = F.gumbel_softmax(of_types.reshape(count, nodes - 2, inner), hard=True)
        # in the numbering of the space: input, operators, output, absent
        types = flat.new_zeros(count, nodes, inner + 2)
        types[:, 0, 0] = types[:, -1, -2] = 1
        types[:, 1:-1, 1:inner] = drawn[..., :-1]
        types[:, 1:-1, -1] = drawn[..., -1]
        chosen = F.gumbel_softmax(of_edges.reshape(count, -1, 2), hard=True)[..., 0]
        edges = flat.new_zeros(count, nodes, nodes)
        source, target = torch.triu_indices(nodes, nodes, 1)
        edges[:, source, target] = chosen
        there = 1 - types[..., -1]
        return types, edges * there[:, :, None] * there[:, None, :]  # absent nodes have no edges
