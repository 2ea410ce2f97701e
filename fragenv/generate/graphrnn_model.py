"""GraphRNN: a graph as a sequence of nodes, each with a row of bits for its earlier neighbours.

You et al.: GraphRNN: Generating Realistic Graphs with Deep Auto-regressive Models, ICML 2018. One
recurrent network walks along the nodes; from its state a second one writes the row of each node bit
by bit, from the node before it to the one ``reach`` places back. In a breadth-first order nothing
lies further back, which keeps rows short.

Ours is what types need: the first network says the type of a node, or the end, before its row (the
paper ends with a row of zeros), and the second sees the type of each earlier node it decides about.
A row may as well say what a node of a directed acyclic graph reads, in a topological order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fragenv.generate.dgmg_model import Graphs

#: the bit before the first one of a row
_START = 2


@dataclass(frozen=True, slots=True)
class GraphRnnConfig:
    """Sizes. ``reach``: how many places back an edge may lead. ``conditions`` numbers accompany
    every node."""

    node_types: int
    max_nodes: int
    reach: int
    hidden: int = 64
    layers: int = 2
    edge_hidden: int = 32
    conditions: int = 0


class GraphRnn(nn.Module):
    """The two networks."""

    def __init__(self, config: GraphRnnConfig) -> None:
        super().__init__()
        self.config = config
        hidden, types = config.hidden, config.node_types
        self.enter = nn.Linear(types + config.reach + config.conditions, hidden)
        self.nodes = nn.GRU(hidden, hidden, config.layers, batch_first=True)
        self.kind = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, types + 1)
        )
        #: the state with which a row begins
        self.begin = nn.Linear(hidden + types, config.edge_hidden)
        self.bits = nn.Embedding(3, config.edge_hidden)
        self.earlier = nn.Embedding(types, config.edge_hidden)
        self.edges = nn.GRU(config.edge_hidden, config.edge_hidden, batch_first=True)
        self.bit = nn.Linear(config.edge_hidden, 1)

    def log_probs(self, graphs: Graphs, condition: Tensor | None = None) -> Tensor:
        """(B,) logarithms of the probabilities of numbered graphs; minus infinity where an edge
        leads back further than ``reach``. ``condition``: (B, conditions)."""
        config = self.config
        most = graphs.types.shape[1]
        steps = torch.arange(most)
        there = steps < graphs.sizes[:, None]  # (B, N)
        rows = self._rows(graphs.edges)
        kinds = F.one_hot(graphs.types, config.node_types) * there[..., None]
        known = torch.cat([kinds.float(), rows.float()], 2)
        before = F.pad(known[:, :-1], (0, 0, 1, 0))
        h = self.nodes(self.enter(self._with(before, condition)))[0]

        ends = graphs.types.where(there, config.node_types)
        log_p = F.log_softmax(self.kind(h), 2).gather(2, ends[..., None])[..., 0]
        total = (log_p * (steps <= graphs.sizes[:, None])).sum(1)

        graph, node = (there & (steps > 0)).nonzero(as_tuple=True)
        back = node[:, None] - 1 - torch.arange(config.reach)  # (R, reach) the earlier nodes
        bits = rows[graph, node].long()
        inputs = self.bits(F.pad(bits[:, :-1], (1, 0), value=_START))
        inputs = inputs + self.earlier(graphs.types[graph[:, None], back.clamp(0)])
        state = self.begin(torch.cat([h[graph, node], kinds[graph, node].float()], 1))
        logit = self.bit(self.edges(inputs, state[None].contiguous())[0])[..., 0]
        log_q = F.logsigmoid(torch.where(bits.bool(), logit, -logit))
        total = total.index_add(0, graph, (log_q * (back >= 0)).sum(1))
        lost = graphs.edges.flatten(1).sum(1) != rows.flatten(1).sum(1)
        return total.masked_fill(lost, -torch.inf)

    @torch.no_grad()
    def sample(
        self, count: int, generator: torch.Generator, condition: Tensor | None = None
    ) -> Graphs:
        """``count`` graphs with their probabilities."""
        config = self.config
        most, types = config.max_nodes, config.node_types
        sizes, log_probs = torch.zeros(count, dtype=torch.long), torch.zeros(count)
        kinds = torch.zeros(count, most, dtype=torch.long)
        edges = torch.zeros(count, most, most, dtype=torch.bool)
        known = torch.zeros(count, 1, types + config.reach)
        growing = torch.ones(count, dtype=torch.bool)
        state: Tensor | None = None
        for node in range(most):
            h, state = self.nodes(self.enter(self._with(known, condition)), state)
            log_p = F.log_softmax(self.kind(h[:, 0]), 1)
            kind = torch.multinomial(log_p.exp(), 1, generator=generator)
            log_probs = log_probs + log_p.gather(1, kind)[:, 0] * growing
            growing = growing & (kind[:, 0] < types)
            if not growing.any():
                break
            one_hot = F.one_hot(kind[:, 0], types + 1)[:, :types].float()
            kinds[:, node] = kind[:, 0] * growing
            sizes += growing
            begin = self.begin(torch.cat([h[:, 0], one_hot], 1))
            row, log_q = self._row(begin, kinds[:, :node], generator)
            log_probs = log_probs + log_q * growing
            reached = min(node, config.reach)
            edges[:, node, node - reached : node] = row[:, :reached].flip(1) & growing[:, None]
            known = torch.cat([one_hot, row.float()], 1)[:, None]
        return Graphs(sizes, kinds, edges, log_probs)

    def _row(
        self, state: Tensor, kinds: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """(b, reach) drawn bits of the node after nodes of types ``kinds``, (b, nodes), and (b,)
        the logarithms of their probabilities."""
        count, node = kinds.shape
        row = torch.zeros(count, self.config.reach, dtype=torch.bool)
        log_probs = torch.zeros(count)
        bit = torch.full((count,), _START)
        for place in range(min(node, self.config.reach)):
            inputs = self.bits(bit) + self.earlier(kinds[:, node - 1 - place])
            out, hidden = self.edges(inputs[:, None], state[None].contiguous())
            state, logit = hidden[0], self.bit(out[:, 0])[:, 0]
            row[:, place] = torch.rand(count, generator=generator) < logit.sigmoid()
            bit = row[:, place].long()
            log_probs = log_probs + F.logsigmoid(torch.where(row[:, place], logit, -logit))
        return row, log_probs

    def _rows(self, edges: Tensor) -> Tensor:
        """(B, N, reach) bits of (B, N, N) edges [later, earlier]."""
        most = edges.shape[1]
        back = torch.arange(most)[:, None] - 1 - torch.arange(self.config.reach)
        held = edges.gather(2, back.clamp(0).expand(len(edges), -1, -1))
        return held & (back >= 0)

    def _with(self, known: Tensor, condition: Tensor | None) -> Tensor:
        """(B, n, width) what is known of a node, with the conditions."""
        if condition is None:
            condition = torch.zeros(len(known), self.config.conditions)
        return torch.cat([known, condition[:, None].expand(-1, known.shape[1], -1)], 2)


def reach_of(graphs: Graphs) -> int:
    """How many places back the edges of graphs lead at most, 1 at least."""
    _, later, earlier = graphs.edges.nonzero(as_tuple=True)
    return max(1, int((later - earlier).max())) if len(later) else 1
