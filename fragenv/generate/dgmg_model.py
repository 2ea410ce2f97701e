"""DGMG: a network that builds a graph one decision at a time.

Li et al.: Learning Deep Generative Models of Graphs, 2018. A node is added (or the graph is
finished), then it is connected with earlier nodes one at a time, until it has enough; after every
edge the nodes exchange messages. The probability of a graph is the product of its decisions'.

Two things differ from the paper. Earlier nodes are chosen from the latest to the first, so that a
numbered graph is built in one way only and its probability is exact. And all graphs of a batch add
their n-th node together, so that a batch is a dense tensor without padding; a graph that needs no
further edge waits. A message is linear in both its ends, W (h_v, h_u) + b: summed over the edges of
v it is degree * (W_v h_v + b) plus the adjacency matrix times W_u h_u, and no edge is visited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class DgmgConfig:
    """Sizes. A ``directed`` graph has messages of their own along and against its edges.
    ``conditions`` numbers accompany every decision."""

    node_types: int = 1
    max_nodes: int = 21
    directed: bool = False
    hidden: int = 16
    rounds: int = 2
    conditions: int = 0


class Chooser(Protocol):
    """Takes the decisions for some rows of a batch: recorded ones, or drawn ones."""

    def node(self, node: int, rows: Tensor, log_p: Tensor) -> Tensor:
        """(b,) types of the new node; the number of types ends the graph. ``log_p``: (b, types + 1)
        logarithms of the probabilities."""
        ...

    def edge(self, node: int, trial: int, rows: Tensor, log_p: Tensor) -> Tensor:
        """(b,) whether ``node`` gets edge number ``trial``; ``log_p``: (b, 2), no and yes."""
        ...

    def source(self, node: int, trial: int, rows: Tensor, log_p: Tensor) -> Tensor:
        """(b,) where edge number ``trial`` of ``node`` comes from; ``log_p``: (b, node)."""
        ...


@dataclass(frozen=True, slots=True)
class Graphs:
    """A batch of graphs: (B,) numbers of nodes, (B, N) types, (B, N, N) edges [later, earlier],
    and (B,) logarithms of the probabilities with which they were built."""

    sizes: Tensor
    types: Tensor
    edges: Tensor
    log_probs: Tensor


class Dgmg(nn.Module):
    """The network. ``build`` makes graphs by the decisions of a ``Chooser``."""

    def __init__(self, config: DgmgConfig) -> None:
        super().__init__()
        self.config = config
        hidden, graph = config.hidden, 2 * config.hidden
        context = graph + config.conditions
        relations = 2 if config.directed else 1
        #: a gate and what it lets through into the code of the graph
        self.to_graph = nn.Linear(hidden, 1 + graph)
        self.node_types = nn.Embedding(config.node_types, hidden)
        self.start = nn.Linear(hidden + context, hidden)
        self.add_node = nn.Linear(context, config.node_types + 1)
        self.add_edge = nn.Linear(context + hidden, 1)
        # the paper's score of (earlier, new) node is linear; the part of the new node is the same
        # for all earlier ones and falls out of the softmax
        self.choose = nn.Linear(hidden, 1)
        self.messages = nn.ModuleList(
            nn.Linear(hidden, relations * 2 * graph) for _ in range(config.rounds)
        )
        self.update = nn.ModuleList(nn.GRUCell(graph, hidden) for _ in range(config.rounds))

    def build(self, chooser: Chooser, count: int, condition: Tensor | None = None) -> Graphs:
        """``count`` graphs; ``condition`` is (count, conditions) where the model takes any."""
        config = self.config
        most = config.max_nodes
        if condition is None:
            condition = torch.zeros(count, config.conditions)
        result = Graphs(
            torch.zeros(count, dtype=torch.long),
            torch.zeros(count, most, dtype=torch.long),
            torch.zeros(count, most, most, dtype=torch.bool),
            torch.zeros(count),
        )
        log_probs = result.log_probs
        rows = torch.arange(count)
        h = torch.zeros(count, 0, config.hidden)  # (b, nodes, hidden) of the graphs still growing
        code = torch.zeros(count, 2 * config.hidden)
        for node in range(most):
            context = torch.cat([code, condition[rows]], 1)
            log_p = F.log_softmax(self.add_node(context), 1)
            kind = chooser.node(node, rows, log_p)
            log_probs = log_probs.index_add(0, rows, _picked(log_p, kind))
            on = (kind < config.node_types).nonzero()[:, 0]
            if len(on) < len(rows):
                rows, h, code, context, kind = (x[on] for x in (rows, h, code, context, kind))
            if not len(rows):
                break
            result.sizes[rows] += 1
            result.types[rows, node] = kind
            new = self.start(torch.cat([self.node_types(kind), context], 1))
            h = torch.cat([h, new[:, None]], 1)
            code = code + self._codes(new)
            h, code, log_probs = self._connect(
                chooser, (rows, h, code, condition[rows]), log_probs, result.edges
            )
        return Graphs(result.sizes, result.types, result.edges, log_probs)

    def _connect(
        self,
        chooser: Chooser,
        state: tuple[Tensor, Tensor, Tensor, Tensor],
        log_probs: Tensor,
        edges: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Give the latest node its edges; the new (h, code, log_probs)."""
        rows, h, code, condition = state
        node = h.shape[1] - 1
        open_ = torch.arange(len(rows))  # positions within ``rows`` that may get another edge
        below = torch.full((len(rows),), node)  # the next source is one of the nodes before this
        for trial in range(node):
            context = torch.cat([code[open_], condition[open_], h[open_, node]], 1)
            logit = self.add_edge(context)
            log_p = F.logsigmoid(torch.cat([-logit, logit], 1))
            more = chooser.edge(node, trial, rows[open_], log_p)
            log_probs = log_probs.index_add(0, rows[open_], _picked(log_p, more.long()))
            open_ = open_[more]
            if not len(open_):
                break
            scores = self.choose(h[open_, :node])[:, :, 0]
            later = torch.arange(node) >= below[open_, None]
            log_p = F.log_softmax(scores.masked_fill(later, -torch.inf), 1)
            source = chooser.source(node, trial, rows[open_], log_p)
            log_probs = log_probs.index_add(0, rows[open_], _picked(log_p, source))
            edges[rows[open_], node, source] = True
            known = edges[rows[open_], : node + 1, : node + 1].to(h.dtype)
            changed = self._propagate(h[open_], known)
            if len(open_) == len(rows):
                h, code = changed, self._codes(changed).sum(1)
            else:
                h = h.index_copy(0, open_, changed)
                code = code.index_copy(0, open_, self._codes(changed).sum(1))
            below[open_] = source
            open_ = open_[source > 0]
            if not len(open_):
                break
        return h, code, log_probs

    def _codes(self, h: Tensor) -> Tensor:
        """What each node adds to the code of its graph: (..., 2 * hidden)."""
        both = self.to_graph(h)
        return cast(Tensor, torch.sigmoid(both[..., :1]) * both[..., 1:])

    def _propagate(self, h: Tensor, edges: Tensor) -> Tensor:
        """Rounds of messages between the nodes h, (b, n, hidden), along (b, n, n) edges."""
        backward = edges.transpose(1, 2)
        relations = [edges, backward] if self.config.directed else [edges + backward]
        size = 2 * self.config.hidden
        for message, update in zip(self.messages, self.update, strict=True):
            parts = message(h).split(size, 2)
            total = torch.zeros_like(parts[0])
            for number, relation in enumerate(relations):
                receiver, sender = parts[2 * number : 2 * number + 2]
                total = total + relation.sum(2, keepdim=True) * receiver + relation @ sender
            h = update(total.flatten(0, 1), h.flatten(0, 1)).reshape(h.shape)
        return h


def _picked(log_p: Tensor, choice: Tensor) -> Tensor:
    """(b,) entries of (b, k) ``log_p``."""
    return log_p.gather(1, choice[:, None])[:, 0]


class Drawn:
    """Decisions drawn with their probabilities."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def node(self, node: int, rows: Tensor, log_p: Tensor) -> Tensor:
        return self._draw(log_p)

    def edge(self, node: int, trial: int, rows: Tensor, log_p: Tensor) -> Tensor:
        return self._draw(log_p).bool()

    def source(self, node: int, trial: int, rows: Tensor, log_p: Tensor) -> Tensor:
        return self._draw(log_p)

    def _draw(self, log_p: Tensor) -> Tensor:
        return torch.multinomial(log_p.exp(), 1, generator=self._generator)[:, 0]


class Recorded:
    """The decisions that build given graphs.

    Args:
        sizes, types, edges: as in ``Graphs``.
        node_types: the model's number of types, which stands for the end.
    """

    def __init__(self, sizes: Tensor, types: Tensor, edges: Tensor, node_types: int) -> None:
        self.node_types = node_types
        steps = torch.arange(types.shape[1])
        self._types = types.where(steps < sizes[:, None], node_types)
        # (B, node, trial): sources from the latest to the first, then -1
        numbers = torch.where(edges, steps, -1)
        self._sources = numbers.sort(2, descending=True).values

    def node(self, node: int, rows: Tensor, log_p: Tensor) -> Tensor:
        return self._types[rows, node]

    def edge(self, node: int, trial: int, rows: Tensor, log_p: Tensor) -> Tensor:
        return self._sources[rows, node, trial] >= 0

    def source(self, node: int, trial: int, rows: Tensor, log_p: Tensor) -> Tensor:
        return self._sources[rows, node, trial]
