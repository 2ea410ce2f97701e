"""Relational graphs against accuracy and latency, with scikit-learn's digits.

The published experiment (You et al.: Graph Structure of Neural Networks, ICML 2020) on small data:
a perceptron with a dense stem, relational layers and a dense head, trained as published (SGD with
Nesterov momentum, batch normalisation, cosine); sizes and epochs are ours. Latency is that of the
same layers as networks of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fragenv.generate.quick import quick_schedule
from fragenv.generate.relational import Measures, matched_width, measures, ws_flex
from fragenv.generate.relational_layers import BlockNetwork, RelationalLinear
from fragenv.graph.from_torch import from_torch
from fragenv.graph.operators import LoopNest, OpKind
from fragenv.models.digits import accuracy, load_split
from fragenv.patterns.mine import mine
from fragenv.schedule.problem import Problem

#: rows and columns of a digit, classes, and relational layers
SIDE, CLASSES, LAYERS = 8, 10, 2
_EPOCHS, _BATCH = 30, 128
_RATE, _MOMENTUM, _DECAY = 0.1, 0.9, 5e-4


@dataclass(frozen=True, slots=True)
class Wiring:
    """What WS-flex draws graphs from; ``degree`` of ``nodes - 1`` is the complete graph."""

    nodes: int
    degree: float
    rewiring: float

    def graph(self, seed: int) -> nx.Graph:
        """A graph; another seed, another graph."""
        return ws_flex(self.nodes, self.degree, self.rewiring, seed)


@dataclass(frozen=True, slots=True)
class Learnt:
    """Accuracies on the test digits, one for each seed of graph, split and weights.

    Args:
        measures: means over the graphs.
        same_width: accuracies where every network is equally wide, so that sparse ones have fewer
            weights.
        widths: at which they have as many relational weights as the complete one.
        same_weights: accuracies at those widths.
    """

    measures: Measures
    same_width: tuple[float, ...]
    widths: tuple[int, ...]
    same_weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Blocks:
    """A network of blocks on a chip: how many equal matrix products of the relational layers the
    pattern miner finds, how many there are, and cycles of the quick schedule."""

    found: int
    there: int
    latency_cycles: int


class RelationalPerceptron(nn.Module):
    """Dense stem, relational layers with normalisation, dense head."""

    def __init__(self, graph: nx.Graph, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(SIDE * SIDE, width, bias=False)]
        layers += [RelationalLinear(graph, width, width, bias=False) for _ in range(LAYERS)]
        self.layers = nn.ModuleList(layers)
        self.scales = nn.ModuleList(nn.BatchNorm1d(width) for _ in layers)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for layer, scale in zip(self.layers, self.scales, strict=True):
            x = F.relu(scale(layer(x)))
        result: Tensor = self.head(x)
        return result


def trained_accuracy(graph: nx.Graph, width: int, seed: int, epochs: int = _EPOCHS) -> float:
    """Share of a fifth of the digits that a perceptron tells after learning from the others.

    PyTorch's global random state is left as it was.
    """
    digits = load_split(seed, (SIDE, SIDE))
    x = torch.from_numpy(digits.train_images).flatten(1)
    labels = torch.from_numpy(digits.train_labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RelationalPerceptron(graph, width)
        optimiser = torch.optim.SGD(
            model.parameters(), _RATE, _MOMENTUM, weight_decay=_DECAY, nesterov=True
        )
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(x)), _BATCH):
                optimiser.zero_grad()
                torch.autograd.backward(F.cross_entropy(model(x[rows]), labels[rows]))
                optimiser.step()
            plan.step()
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(digits.test_images).flatten(1)).numpy()
    return accuracy(logits, digits.test_labels)


def learnt(wiring: Wiring, width: int, seeds: Sequence[int], epochs: int = _EPOCHS) -> Learnt:
    """Accuracies of a wiring, at ``width`` and with as many weights as the complete graph has."""
    graphs = [wiring.graph(seed) for seed in seeds]
    found = [measures(graph) for graph in graphs]
    widths = tuple(matched_width(graph, width) for graph in graphs)
    pairs = list(zip(graphs, seeds, widths, strict=True))
    narrow = tuple(trained_accuracy(graph, width, seed, epochs) for graph, seed, _ in pairs)
    wide = tuple(
        accuracy_at_width if matched == width else trained_accuracy(graph, matched, seed, epochs)
        for (graph, seed, matched), accuracy_at_width in zip(pairs, narrow, strict=True)
    )
    mean = Measures(
        float(np.mean([m.clustering for m in found])),
        float(np.mean([m.path_length for m in found])),
        float(np.mean([m.density for m in found])),
    )
    return Learnt(mean, narrow, widths, wide)


def blocks(graph: nx.Graph, width: int, chip: str) -> Blocks:
    """The relational layers in blocks, scheduled on a chip.

    Raises:
        InfeasibleError: the network does not run on the chip.
    """
    with torch.device("meta"):
        network = BlockNetwork(graph, SIDE * SIDE, width, LAYERS, CLASSES)
    problem = Problem(from_torch(network, (SIDE * SIDE,), "relational"), chip)
    nest = LoopNest(k=width // len(graph), c=width // len(graph))
    single = [m for m in mine(problem.graph, 1) if m.pattern.kinds == (OpKind.GEMM,)]
    products = {name for m in single for place in m.occurrences for name in place.operators}
    found = sum(problem.graph.op(name).nest == nest for name in products)
    there = LAYERS * (2 * graph.number_of_edges() + len(graph))
    return Blocks(found, there, quick_schedule(problem).latency_cycles)
