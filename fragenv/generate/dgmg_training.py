"""Training of DGMG: the likelihood of the graphs of a corpus."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fragenv.generate.dgmg_model import Dgmg, DgmgConfig, Graphs, Recorded
from fragenv.generate.model_file import read_model, write_model
from fragenv.generate.training import Trainer, TrainingConfig

SYSTEM = "dgmg"
#: as published, but for the schedule: 2,500 steps on the cycles instead of 10,000
TRAINING = TrainingConfig(steps=2500, learning_rate=1e-2)


def make_trainer(
    model_config: DgmgConfig,
    graphs: Graphs,
    config: TrainingConfig,
    seed: int,
    condition: Tensor | None = None,
    batch: int = 256,
) -> Trainer:
    """A trainer whose loss is the mean of -log p over ``batch`` graphs; over all, with their
    probabilities as weights, where there are no more."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Dgmg(model_config)
    count = len(graphs.sizes)
    whole = Recorded(graphs.sizes, graphs.types, graphs.edges, model_config.node_types)
    weights = graphs.log_probs.exp()

    def loss(step: int) -> Tensor:
        if count <= batch:
            return -(model.build(whole, count, condition).log_probs * weights).sum()
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        picked = torch.multinomial(weights, batch, generator=generator)
        part = Recorded(
            graphs.sizes[picked], graphs.types[picked], graphs.edges[picked], whole.node_types
        )
        wanted = None if condition is None else condition[picked]
        return -model.build(part, batch, wanted).log_probs.mean()

    return Trainer(model, loss, config)


def save_dgmg(path: Path, model: Dgmg, command: str) -> None:
    """Write a model with the command that made it."""
    write_model(path, SYSTEM, model, command)


def load_dgmg(path: Path) -> Dgmg:
    """Read a model.

    Raises:
        WeightsError: the file is missing, damaged or of another system.
    """
    return read_model(path, SYSTEM, lambda config: Dgmg(DgmgConfig(**config)))[0]
