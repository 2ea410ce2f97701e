"""Training of the flow on the codes of a G-VAE, and its file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fragenv.generate.dense_batch import DenseBatch, drawn, joined, mutated
from fragenv.generate.flow_model import ConditionalFlow
from fragenv.generate.gvae_model import Gvae
from fragenv.generate.gvae_training import MUTATIONS, fingerprint
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.weights import WeightsError, read_weights, write_weights

SYSTEM = "flow"
TRAINING = TrainingConfig(steps=4000, learning_rate=2e-3)
#: graphs of the extended space that the flow learns from, half of them near the known ones
_POOL = 60_000
_BATCH = 512
_CHUNK = 2000
#: by what part of a range attributes may lie outside of it
_BEYOND = 0.05


def make_flow_trainer(
    gvae: Gvae, known: DenseBatch, training: TrainingConfig, seed: int, pool: int = _POOL
) -> Trainer:
    """A trainer of a flow on graphs anywhere in the extended space, under the attributes that the
    predictor gives them; graphs beyond the ranges of the labelled ones are left out.

    Args:
        gvae: trained.
        known: graphs whose neighbourhood is of interest; they are mutated.
        training: steps and learning rate.
        seed: of weights, graphs and batches.
        pool: how many graphs.
    """
    generator = torch.Generator().manual_seed(seed)
    graphs = _graphs(gvae, known, pool, generator)
    mean, deviation, attributes = _encoded(gvae, graphs)
    inside = ((attributes > -_BEYOND) & (attributes < 1 + _BEYOND)).all(1)
    if inside.any():
        mean, deviation, attributes = mean[inside], deviation[inside], attributes[inside]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ConditionalFlow(gvae.config.codes, len(gvae.config.names))
    model.prepare(mean, attributes)

    def loss(step: int) -> Tensor:
        of_step = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(len(mean), (_BATCH,), generator=of_step)
        noise = torch.randn(_BATCH, mean.shape[1], generator=of_step)
        codes = mean[rows] + deviation[rows] * noise
        return model.matching_loss(codes, attributes[rows], of_step)

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
def _encoded(gvae: Gvae, graphs: DenseBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Means and deviations of the codes, and the predicted attributes."""
    parts = []
    for part in graphs.parts(_CHUNK):
        mean, log_deviation = gvae.encode(part)
        parts.append((mean, log_deviation.exp(), gvae.predict(mean)))
    mean, deviation, attributes = (torch.cat(column) for column in zip(*parts, strict=True))
    return mean, deviation, attributes
