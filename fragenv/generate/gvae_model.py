"""A variational auto-encoder of architectures whose codes tell their attributes (G-VAE).

Xiang et al.: Generating Neural Network Architectures with Conditional Graph Normalizing Flows,
AutoML 2023. A graph of the extended space becomes a Gaussian over codes; a code is decoded into a
graph in one shot and into attributes by a predictor.

The paper leaves the encoder open. Ours visits the nodes in topological order, as a network runs,
and then in the opposite order (asynchronous messages of Zhang et al.: D-VAE, NeurIPS 2019): one
visit each way is enough for the longest path, and what reaches a node is known when it is visited.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fragenv.generate.dense import DenseSpace
from fragenv.generate.dense_batch import DenseBatch
from fragenv.generate.generator import Attributes, Feasible

#: exponents end here, so that no sum of exponentials overflows
_GREATEST = 10.0


@dataclass(frozen=True, slots=True)
class GvaeConfig:
    """Sizes, the space and the attributes with their ranges in the labelled corpus.

    Args:
        nodes, operators: of the extended space.
        low, high: of every attribute; the predictor's numbers are parts of these ranges.
        hidden: numbers per node and direction.
        codes: length of a code.
    """

    nodes: int
    operators: tuple[str, ...]
    low: dict[str, float]
    high: dict[str, float]
    hidden: int = 48
    codes: int = 32

    @property
    def space(self) -> DenseSpace:
        return DenseSpace(self.nodes, self.operators)

    @property
    def feasible(self) -> Feasible:
        return Feasible(self.low, self.high)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.low)

    def scaled(self, attributes: Attributes) -> list[float]:
        """Every attribute as a part of its range."""
        return [
            (attributes[name] - self.low[name]) / max(self.high[name] - self.low[name], 1e-12)
            for name in self.names
        ]


class _Visits(nn.Module):
    """A gated unit that visits the nodes of graphs in the order of their numbers.

    A node hears the sum of what its predecessors say, and the logarithm of a sum of exponentials
    of what those say that have an effect: the first counts, the second can follow the longest path
    or add up paths by their gains.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(features + hidden, hidden)
        #: a gate, what it lets through to the sum, and the exponents
        self.message = nn.Linear(hidden, 3 * hidden)

    def forward(self, x: Tensor, edges: Tensor, effect: Tensor) -> Tensor:
        """(B, nodes, hidden) of (B, nodes, features), (B, nodes, nodes) edges [from, to] and
        (B, nodes) 1 for a node with an effect, otherwise 0."""
        hidden = self.cell.hidden_size
        said: list[Tensor] = []
        states: list[Tensor] = []
        heard = x.new_zeros(len(x), 2 * hidden)
        for node in range(x.shape[1]):
            if node:
                heard = (edges[:, None, :node, node] @ torch.stack(said, 1))[:, 0]
            total, gains = heard.chunk(2, 1)
            state = self.cell(torch.cat([x[:, node], gains.log1p()], 1), total)
            gate, value, exponent = self.message(state).chunk(3, 1)
            gain = effect[:, node, None] * exponent.clamp(max=_GREATEST).exp()
            said.append(torch.cat([torch.sigmoid(gate) * value, gain], 1))
            states.append(state)
        return torch.stack(states, 1)


class Gvae(nn.Module):
    """Encoder, decoder and attribute predictor."""

    def __init__(self, config: GvaeConfig) -> None:
        super().__init__()
        self.config = config
        hidden, nodes, kinds = config.hidden, config.nodes, len(config.operators) + 3
        #: in both directions at once: one unit, told the direction
        self.visits = _Visits(kinds + 3, hidden)
        # all nodes side by side, for what is where, and the sum of those with an effect
        self.read = nn.Sequential(nn.Linear((nodes + 1) * 2 * hidden, 2 * hidden), nn.SiLU())
        self.mean = nn.Linear(2 * hidden, config.codes)
        self.log_deviation = nn.Linear(2 * hidden, config.codes)
        self._above = torch.triu_indices(nodes, nodes, 1)
        choices = (nodes - 2) * (len(config.operators) + 1)
        self.write = _perceptron(config.codes, 4 * hidden, choices + self._above.shape[1])
        self.predictor = (
            _perceptron(config.codes, 4 * hidden, len(config.names)) if config.names else None
        )

    def encode(self, batch: DenseBatch) -> tuple[Tensor, Tensor]:
        """(B, codes) means and logarithms of the deviations."""
        live, edges = batch.live(), batch.edges.float()
        kinds = F.one_hot(batch.types, len(self.config.operators) + 3)
        effect = live.float()
        # latency depends on how much runs side by side, which no message along the edges tells
        waiting = batch.waiting() / self.config.nodes
        told = torch.stack([effect, waiting, torch.zeros_like(effect)], 2)
        forth = torch.cat([kinds, told], 2)
        back = forth.flip(1).index_fill(2, torch.tensor(forth.shape[2] - 1), 1.0)
        against = edges.transpose(1, 2).flip(1, 2)
        states = self.visits(
            torch.cat([forth, back]),
            torch.cat([edges, against]),
            torch.cat([effect, effect.flip(1)]),
        )
        there, again = states.chunk(2)
        states = torch.cat([there, again.flip(1)], 2)
        pooled = (states * effect[..., None]).sum(1)
        read = self.read(torch.cat([states.flatten(1), pooled], 1))
        return self.mean(read), self.log_deviation(read)

    def decode(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits: (B, nodes - 2, operators + 1) of the types of the inner nodes, absent last, and
        (B, pairs) of the edges, rows of the upper triangle one after the other."""
        written = self.write(codes)
        pairs = self._above.shape[1]
        types = written[:, pairs:].unflatten(1, (self.config.nodes - 2, -1))
        return types, written[:, :pairs]

    def predict(self, codes: Tensor) -> Tensor:
        """(B, attributes) as parts of their ranges."""
        if self.predictor is None:
            return codes.new_zeros(len(codes), 0)
        predicted: Tensor = self.predictor(codes)
        return predicted

    def graphs(self, codes: Tensor) -> DenseBatch:
        """The most probable graph of each code."""
        types, edges = self.decode(codes)
        operators = len(self.config.operators)
        inner = 1 + types.argmax(2)
        inner[inner == operators + 1] = operators + 2
        ends = torch.ones(len(codes), 1, dtype=torch.long)
        adjacency = torch.zeros(len(codes), self.config.nodes, self.config.nodes, dtype=torch.bool)
        adjacency[:, self._above[0], self._above[1]] = edges > 0
        return DenseBatch(torch.cat([0 * ends, inner, (operators + 1) * ends], 1), adjacency)

    def reconstruction(self, batch: DenseBatch, codes: Tensor) -> Tensor:
        """(B,) minus the logarithms of the probabilities of the graphs, given codes."""
        types, edges = self.decode(codes)
        operators = len(self.config.operators)
        wanted = (batch.types[:, 1:-1] - 1).clamp(max=operators)
        known = batch.edges[:, self._above[0], self._above[1]].float()
        of_types = F.cross_entropy(types.flatten(0, 1), wanted.flatten(), reduction="none")
        of_edges = F.binary_cross_entropy_with_logits(edges, known, reduction="none")
        return of_types.view_as(wanted).sum(1) + of_edges.sum(1)


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.SiLU(),
        nn.Linear(hidden, hidden),
        nn.SiLU(),
        nn.Linear(hidden, outputs),
    )
