"""A graph network that foretells an attribute of cells, such as their scheduled latency.

The scheduler takes tens of milliseconds for a network; the surrogate learns from some cells and
answers for thousands at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from fragenv.generate import latency_table
from fragenv.generate.architecture import NODE_TYPES, Architecture
from fragenv.generate.graph_network import (
    GraphNetwork,
    GraphNetworkConfig,
    both_ways,
    load_graph_network,
    make_graph_network,
    mean_loss,
    save_graph_network,
)
from fragenv.generate.table import cell_scores
from fragenv.generate.training import Trainer, TrainingConfig

SYSTEM = "latency-surrogate"
#: node: its type; edge: along or against the flow; the graph as a whole: the attribute
CONFIG = GraphNetworkConfig(nodes=(len(NODE_TYPES), 1), edges=(2, 1), steps=4)
TRAINING = TrainingConfig(steps=600, learning_rate=5e-3)
#: the chip of the shipped network
CHIP = "cgra512"
#: functions of NAS-Bench-201 to learn from
LABELLED = 500
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Scale:
    """The network works on values of mean 0 and deviation 1."""

    mean: float
    deviation: float

    @staticmethod
    def of(values: Sequence[float]) -> Scale:
        return Scale(float(np.mean(values)), max(float(np.std(values)), 1e-12))


def cell_data(architecture: Architecture) -> Data:
    """The live part of a cell; every edge in both directions, so that messages go both ways."""
    live = sorted(architecture.live)
    place = {node: number for number, node in enumerate(live)}
    types = torch.tensor([NODE_TYPES.index(architecture.ops[node]) for node in live])
    pairs = [(place[s], place[d]) for s, d in architecture.edges if s in place and d in place]
    edges, ways = both_ways(torch.tensor(pairs).t())
    x = nn.functional.one_hot(types, len(NODE_TYPES)).float()
    return Data(x=x, edge_index=edges, edge_attr=ways)


@dataclass(frozen=True, slots=True)
class Measured:
    """Architectures with the scheduled latency of each in cycles."""

    cells: tuple[Architecture, ...]
    cycles: tuple[float, ...]


def measured() -> tuple[Measured, Measured]:
    """The distinct functions of NAS-Bench-201 with their latencies on ``CHIP`` from the table:
    ``LABELLED`` of them, drawn at random, to learn from, and all others to judge by.

    Raises:
        WeightsError: the table is missing or damaged.
    """
    functions, numbers = latency_table.functions()
    column, rows = latency_table.column(CHIP), list(cell_scores().values())
    # any cell of a function has the function's latency
    cell = np.unique(numbers, return_index=True)[1].tolist()
    order = np.random.default_rng(0).permutation(len(functions)).tolist()
    train, held_out = (
        Measured(
            tuple(functions[number] for number in part),
            tuple(rows[cell[number]][column] for number in part),
        )
        for part in (order[:LABELLED], order[LABELLED:])
    )
    return train, held_out


def make_trainer(
    cells: Sequence[Architecture], values: Sequence[float], training: TrainingConfig, seed: int
) -> tuple[Trainer, Scale]:
    """A trainer on cells with known values; the scale belongs to the trained network."""
    scale = Scale.of(values)
    data = [cell_data(cell) for cell in cells]
    wanted = (torch.tensor(values, dtype=torch.float64) - scale.mean) / scale.deviation
    model = make_graph_network(CONFIG, seed)

    def loss(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        picked = torch.randint(len(data), (min(_BATCH, len(data)),), generator=generator)
        batch = Batch.from_data_list([data[number] for number in picked.tolist()])
        target = wanted[picked].float()
        return mean_loss(
            model(batch),
            lambda found: nn.functional.smooth_l1_loss(found.graphs[:, 0], target, beta=0.1),
        )

    return Trainer(model, loss, training), scale


def save_surrogate(path: Path, model: GraphNetwork, scale: Scale, made: Mapping[str, str]) -> None:
    """Write a network with its scale and what made it."""
    save_graph_network(path, SYSTEM, model, {**asdict(scale), **made})


def load_surrogate(path: Path) -> tuple[GraphNetwork, Scale]:
    """Read what ``save_surrogate`` wrote.

    Raises:
        WeightsError: the file is missing, damaged or of another system.
    """
    model, made = load_graph_network(path, SYSTEM)
    return model, Scale(made["mean"], made["deviation"])


@torch.no_grad()
def foretell(model: GraphNetwork, scale: Scale, cells: Sequence[Architecture]) -> list[float]:
    """The values of cells, in their unit."""
    found: list[float] = []
    for start in range(0, len(cells), 512):
        batch = Batch.from_data_list([cell_data(cell) for cell in cells[start : start + 512]])
        values = model(batch)[-1].graphs[:, 0].double()
        found += (values * scale.deviation + scale.mean).tolist()
    return found


def spearman(
    model: GraphNetwork, scale: Scale, cells: Sequence[Architecture], values: Sequence[float]
) -> float:
    """The rank correlation of what is foretold with ``values``."""
    return float(spearmanr(foretell(model, scale, cells), values).statistic)
