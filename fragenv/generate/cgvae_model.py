"""CGVAE: a variational auto-encoder of graphs whose decoder takes legal decisions only.

Liu et al.: Constrained Graph Variational Autoencoders for Molecule Design, NeurIPS 2018. A gated
graph network gives every node a distribution over codes; a node's type is read from its code, and
edges are added one by one, each chosen by a softmax over the legal ones after the nodes have
exchanged messages along what is wired so far. Attributes are predicted from the codes, so that
codes can be moved towards wanted ones.

A gated graph network with types of edges is PyTorch Geometric's relational convolution for the
messages (relation 0 along the edges, 1 against them) and a GRU for the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import RGCNConv

from fragenv.generate.cgvae_steps import Steps, legal
from fragenv.generate.dgmg_model import Graphs


@dataclass(frozen=True, slots=True)
class CgvaeConfig:
    """Sizes. The first node type is the input, the last the output.

    ``size_shares``: how often graphs of 0, 1, ... nodes are drawn. ``arity``: the most sources that
    a node of each type reads.
    """

    node_types: int
    size_shares: tuple[float, ...]
    arity: tuple[int, ...]
    attributes: int = 0
    hidden: int = 48
    code: int = 16
    rounds: int = 3

    @property
    def max_nodes(self) -> int:
        return len(self.size_shares) - 1


class _GatedGraph(nn.Module):
    """Rounds of messages with the same weights."""

    def __init__(self, hidden: int, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        self.messages = RGCNConv(hidden, hidden, 2, aggr="add", root_weight=False)
        self.update = nn.GRUCell(hidden, hidden)

    def forward(self, h: Tensor, edges: Tensor) -> Tensor:
        """(K, N, hidden) nodes after messages along (K, N, N) edges [reader, source]."""
        count, most, _ = edges.shape
        graph, reader, source = edges.nonzero(as_tuple=True)
        ends = torch.stack([source, reader]) + graph * most
        both = torch.cat([ends, ends.flip(0)], 1)
        relation = torch.arange(2).repeat_interleave(ends.shape[1])
        flat = h.reshape(count * most, -1)
        for _ in range(self.rounds):
            flat = self.update(self.messages(flat, both, relation), flat)
        return flat.reshape(h.shape)


class Cgvae(nn.Module):
    """Encoder and decoder."""

    def __init__(self, config: CgvaeConfig) -> None:
        super().__init__()
        self.config = config
        hidden, code = config.hidden, config.code
        self.types = nn.Embedding(config.node_types, hidden)
        self.encoder = _GatedGraph(hidden, config.rounds)
        self.distribution = nn.Linear(hidden, 2 * code)
        self.kind = nn.Linear(code, config.node_types)
        self.start = nn.Linear(code + hidden, hidden)
        self.decoder = _GatedGraph(hidden, config.rounds)
        self.of_focus, self.of_source = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.of_graph = nn.Linear(2 * hidden, hidden)
        self.stop = nn.Parameter(torch.zeros(hidden))
        self.score = nn.Linear(hidden, 1)
        self.attribute = nn.Linear(code, 2 * config.attributes) if config.attributes else None

    def encode(self, graphs: Graphs) -> tuple[Tensor, Tensor]:
        """(B, N, code) means and logarithms of the deviations of the codes."""
        h = self.encoder(self.types(graphs.types), graphs.edges)
        mean, log_deviation = self.distribution(h).chunk(2, 2)
        return mean, log_deviation

    def kind_log_probs(self, codes: Tensor) -> Tensor:
        """(B, N, types) of nodes that are neither input nor output."""
        ends = torch.zeros(self.config.node_types, dtype=torch.bool)
        ends[0] = ends[-1] = True
        return F.log_softmax(self.kind(codes).masked_fill(ends, -torch.inf), 2)

    def step_log_probs(self, codes: Tensor, types: Tensor, sizes: Tensor, steps: Steps) -> Tensor:
        """(K, N + 1) of the sources that the focus of each step may take, and of stopping."""
        first = self.start(torch.cat([codes, self.types(types)], 2))[steps.graph]
        size = sizes[steps.graph]
        h = self.decoder(first, steps.edges)
        there = (torch.arange(h.shape[1]) < size[:, None])[..., None]
        means = [(x * there).sum(1) / size[:, None] for x in (first, h)]
        rows = torch.arange(len(h))
        common = self.of_focus(h[rows, steps.focus]) + self.of_graph(torch.cat(means, 1))
        sources = torch.cat([self.of_source(h), self.stop.expand(len(h), 1, -1)], 1)
        scores = self.score((common[:, None] + sources).relu())[..., 0]
        arity = torch.tensor(self.config.arity)[types[steps.graph, steps.focus]]
        allowed = legal(steps.edges, steps.focus, size, arity)
        return F.log_softmax(scores.masked_fill(~allowed, -torch.inf), 1)

    def attributes(self, codes: Tensor, sizes: Tensor) -> Tensor:
        """(B, attributes) predicted from the codes: a gated sum over the nodes, as published."""
        if self.attribute is None:
            return codes.new_zeros(len(codes), 0)
        gate, value = self.attribute(codes).chunk(2, 2)
        there = (torch.arange(codes.shape[1]) < sizes[:, None])[..., None]
        total: Tensor = (gate.sigmoid() * value * there).sum(1)
        return total

    @torch.no_grad()
    def decode(self, codes: Tensor, sizes: Tensor, generator: torch.Generator) -> Graphs:
        """Graphs drawn for (B, N, code) codes; the first of the nodes is the input, the last the
        output. Nodes that nothing reaches have no edges."""
        count, most, _ = codes.shape
        last = self.config.node_types - 1
        drawn = self.kind_log_probs(codes).exp().flatten(0, 1)
        types = torch.multinomial(drawn, 1, generator=generator).reshape(count, most)
        rows = torch.arange(count)
        types[:, 0], types[rows, sizes - 1] = 0, last
        edges = torch.zeros(count, most, most, dtype=torch.bool)
        #: when a node was reached; those still to be wired are the waiting ones
        reached = torch.full((count, most), -1)
        reached[rows, sizes - 1] = 0
        waiting = reached == 0
        for step in range(1, most * most):
            open_ = waiting.any(1).nonzero()[:, 0]
            if not len(open_):
                break
            focus = reached[open_].masked_fill(~waiting[open_], most * most).argmin(1)
            now = Steps(open_, edges[open_], focus, focus)
            log_p = self.step_log_probs(codes, types, sizes, now)
            choice = torch.multinomial(log_p.exp(), 1, generator=generator)[:, 0]
            stopped = choice == most
            waiting[open_[stopped], focus[stopped]] = False
            row, source = open_[~stopped], choice[~stopped]
            edges[row, focus[~stopped], source] = True
            fresh = (reached[row, source] < 0) & (source > 0)
            reached[row[fresh], source[fresh]] = step
            waiting[row[fresh], source[fresh]] = True
        return Graphs(sizes, types, edges, torch.zeros(count))
