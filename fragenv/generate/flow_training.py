"""Training of the flow on the codes of a G-VAE, and its file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fragenv.generate import canonical
from fragenv.generate.dense_batch import DenseBatch, drawn, joined, mutated, to_architectures
from fragenv.generate.flow_model import ConditionalFlow
from fragenv.generate.gvae_model import Gvae
from fragenv.generate.gvae_training import MUTATIONS, fingerprint
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.weights import WeightsError, read_weights, write_weights

SYSTEM = "flow"
TRAINING = TrainingConfig(steps=2000, learning_rate=2e-3)
#: graphs of the extended space that the flow learns from, half of them near the known ones
_POOL = 20_000
_BATCH = 256
_CHUNK = 2000
#: by what part of a range attributes may lie outside of it
_BEYOND = 0.05


def make_flow_trainer(
    gvae: Gvae, known: DenseBatch, training: TrainingConfig, seed: int, pool: int = _POOL
) -> Trainer:
    """A trainer of a flow on codes of graphs anywhere in the extended space, under the attributes
    that the predictor gives to what the codes are decoded into; codes of no architecture and of
    attributes beyond the ranges of the labelled ones are left out. Small functions have many forms;
    every function is learnt from as often as any other.

    Args:
        gvae: trained.
        known: graphs whose neighbourhood is of interest; they are mutated.
        training: steps and learning rate.
        seed: of weights, graphs and batches.
        pool: how many graphs, but no more than the steps look at.
    """
    generator = torch.Generator().manual_seed(seed)
    graphs = _graphs(gvae, known, min(pool, _BATCH * training.steps), generator)
    codes, attributes, function = _encoded(gvae, graphs, generator)
    within = ((attributes > -_BEYOND) & (attributes < 1 + _BEYOND)).all(1)
    inside = within & (function >= 0)
    if inside.any():
        codes, attributes, function = codes[inside], attributes[inside], function[inside]
    # + 1: where nothing is inside, all codes are left, those of no architecture (-1) too
    often = 1 / torch.bincount(function + 1)[function + 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ConditionalFlow(gvae.config.codes, len(gvae.config.names))
    shuffled = torch.multinomial(often, len(codes), replacement=True, generator=generator)
    model.prepare(codes[shuffled], attributes[shuffled])

    def loss(step: int) -> Tensor:
        of_step = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.multinomial(often, _BATCH, replacement=True, generator=of_step)
        return model.matching_loss(codes[rows], attributes[rows], of_step)

    return Trainer(model, loss, training)


def save_flow(path: Path, model: ConditionalFlow, gvae: Gvae, command: str) -> None:
    """Write a flow with the command that made it and the mark of its G-VAE."""
    header = {
        "codes": model.codes,
        "conditions": model.conditions,
        "gvae": fingerprint(gvae),
        "command": command,
    }
    write_weights(path, SYSTEM, model.state_dict(), header)


def load_flow(path: Path, gvae: Gvae) -> ConditionalFlow:
    """Read a flow on the codes of ``gvae``.

    Raises:
        WeightsError: the file is missing, damaged, of another system or of another G-VAE.
    """
    tensors, header = read_weights(path, SYSTEM)
    try:
        mark = header["gvae"]
        model = ConditionalFlow(header["codes"], header["conditions"])
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise WeightsError(f"the weights in '{path}' do not fit their header") from None
    if mark != fingerprint(gvae):
        raise WeightsError(
            f"'{path}' was trained on the codes of another G-VAE; train it again with "
            "scripts/train_generator.py flow"
        )
    return model.eval()


def _graphs(gvae: Gvae, known: DenseBatch, count: int, generator: torch.Generator) -> DenseBatch:
    space = gvae.config.space
    rows = torch.randint(len(known), (count // 2,), generator=generator)
    near = mutated(space, known[rows], MUTATIONS, generator)
    return joined(near, drawn(space, count - len(rows), generator))


@torch.no_grad()
def _encoded(
    gvae: Gvae, graphs: DenseBatch, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A code of each graph; of what it is decoded into, the predicted attributes and the number of
    its function, -1 where it is no architecture."""
    columns, numbers = [], dict[str, int]()
    for part in graphs.parts(_CHUNK):
        mean, log_deviation = gvae.encode(part)
        codes = mean + log_deviation.exp() * torch.randn(mean.shape, generator=generator)
        built = gvae.graphs(codes)
        made = to_architectures(gvae.config.space, built, "")
        keys = [None if a is None else canonical.key(a) for a in made]
        function = [-1 if key is None else numbers.setdefault(key, len(numbers)) for key in keys]
        columns.append((codes, gvae.predict(gvae.encode(built)[0]), torch.tensor(function)))
    codes, attributes, functions = (torch.cat(column) for column in zip(*columns, strict=True))
    return codes, attributes, functions
