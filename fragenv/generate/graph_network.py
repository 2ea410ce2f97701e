"""Graph networks: encode, process, decode.

Battaglia et al.: Relational inductive biases, deep learning, and graph networks, 2018, on PyTorch
Geometric's ``MetaLayer``. A block updates edges from their ends, nodes from their edges, and the
graph from both; one block is applied several times, each time to what it made last and what was
encoded at the beginning, and every time the result is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import MetaLayer
from torch_geometric.utils import scatter

from fragenv.generate.weights import WeightsError, read_weights, write_weights


@dataclass(frozen=True, slots=True)
class GraphNetworkConfig:
    """Sizes of a graph network.

    Args:
        nodes, edges: features of each, and results for each. What a task has no use for is
            never trained.
        graph: results per graph.
        hidden: features of everything inside.
        steps: times that the block is applied; as far do messages go.
        largest: nodes take the largest of their messages as well as the sum.
    """

    nodes: tuple[int, int]
    edges: tuple[int, int]
    graph: int = 1
    hidden: int = 32
    steps: int = 8
    largest: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a step gives for every node, edge and graph of a batch, each (count, features)."""

    nodes: Tensor
    edges: Tensor
    graphs: Tensor


class GraphNetwork(nn.Module):
    """A graph network over batches of ``torch_geometric.data.Data`` with ``x``, ``edge_index`` and
    ``edge_attr``."""

    def __init__(self, config: GraphNetworkConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.encode_nodes = _perceptron(config.nodes[0], hidden)
        self.encode_edges = _perceptron(config.edges[0], hidden)
        self.block = MetaLayer(
            _EdgeModel(hidden), _NodeModel(hidden, config.largest), _GraphModel(hidden)
        )
        self.decode_nodes = nn.Linear(hidden, config.nodes[1])
        self.decode_edges = nn.Linear(hidden, config.edges[1])
        self.decode_graphs = nn.Linear(hidden, config.graph)

    def forward(self, batch: Batch, steps: int | None = None) -> list[Decoded]:
        """The result of every step; ``steps`` may differ from those of the training."""
        first_nodes, first_edges = self.encode_nodes(batch.x), self.encode_edges(batch.edge_attr)
        nodes, edges = first_nodes, first_edges
        # the published network gives the graph as a whole no input of its own in our tasks
        graphs = nodes.new_zeros(batch.num_graphs, self.config.hidden)
        found = []
        for _ in range(steps or self.config.steps):
            nodes, edges, graphs = self.block(
                torch.cat([first_nodes, nodes], 1),
                batch.edge_index,
                torch.cat([first_edges, edges], 1),
                graphs,
                batch.batch,
            )
            found.append(
                Decoded(
                    self.decode_nodes(nodes), self.decode_edges(edges), self.decode_graphs(graphs)
                )
            )
        return found


def make_graph_network(config: GraphNetworkConfig, seed: int) -> GraphNetwork:
    """An untrained network with weights drawn from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GraphNetwork(config)


def mean_loss(found: list[Decoded], loss: Callable[[Decoded], Tensor]) -> Tensor:
    """The loss of all steps, so that the network is right as soon as it can be."""
    return torch.stack([loss(step) for step in found]).mean()


def both_ways(forward: Tensor) -> tuple[Tensor, Tensor]:
    """Directed edges (2, count) and their reverse, so that messages go both ways, with features
    that tell the two apart."""
    along = torch.tensor([1.0, 0.0]).repeat(forward.shape[1], 1)
    return torch.cat([forward, forward.flip(0)], 1), torch.cat([along, along.flip(1)])


def save_graph_network(
    path: Path, system: str, model: GraphNetwork, made: Mapping[str, Any]
) -> None:
    """Write a network under the name of its task, and what made it."""
    content = {"config": asdict(model.config), "made": dict(made)}
    write_weights(path, system, model.state_dict(), content)


def load_graph_network(path: Path, system: str) -> tuple[GraphNetwork, dict[str, Any]]:
    """Read a network and what was written with it.

    Raises:
        WeightsError: the file is missing, damaged or of another task.
    """
    tensors, header = read_weights(path, system)
    try:
        sizes: dict[str, Any] = dict(header["config"])
        sizes |= {name: tuple(sizes[name]) for name in ("nodes", "edges")}
        model = GraphNetwork(GraphNetworkConfig(**sizes))
        model.load_state_dict(tensors)
        made = dict(header["made"])
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise WeightsError(f"the weights in '{path}' do not fit their header") from None
    return model.eval(), made


def _perceptron(inputs: int, hidden: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.LayerNorm(hidden),
    )


class _EdgeModel(nn.Module):
    """An edge from its source, its target, itself and its graph."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.update = _perceptron(7 * hidden, hidden)

    def forward(self, src: Tensor, dst: Tensor, edge: Tensor, graph: Tensor, of: Tensor) -> Tensor:
        result: Tensor = self.update(torch.cat([src, dst, edge, graph[of]], 1))
        return result


class _NodeModel(nn.Module):
    """A node from the edges that lead to it, itself and its graph."""

    def __init__(self, hidden: int, largest: bool) -> None:
        super().__init__()
        self.kinds = ("sum", "max") if largest else ("sum",)
        self.update = _perceptron((3 + len(self.kinds)) * hidden, hidden)

    def forward(
        self, node: Tensor, ends: Tensor, edge: Tensor, graph: Tensor, of: Tensor
    ) -> Tensor:
        messages = [scatter(edge, ends[1], 0, len(node), kind) for kind in self.kinds]
        result: Tensor = self.update(torch.cat([node, *messages, graph[of]], 1))
        return result


class _GraphModel(nn.Module):
    """A graph from all of its nodes and edges."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.update = _perceptron(3 * hidden, hidden)

    def forward(
        self, node: Tensor, ends: Tensor, edge: Tensor, graph: Tensor, of: Tensor
    ) -> Tensor:
        nodes = scatter(node, of, 0, len(graph), "sum")
        edges = scatter(edge, of[ends[0]], 0, len(graph), "sum")
        result: Tensor = self.update(torch.cat([nodes, edges, graph], 1))
        return result
