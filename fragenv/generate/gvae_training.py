"""Training of the G-VAE: reconstruction of any graph, attributes of the labelled ones.

The loss is the paper's: reconstruction, distance of the codes from a standard normal distribution,
error of the predicted attributes, and a triplet loss, by which of two architectures the one with
the more similar attributes shall have the nearer code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fragenv.generate.architecture import Architecture
from fragenv.generate.attributes import cell_attributes, cells_to_label
from fragenv.generate.dense import DenseSpace
from fragenv.generate.dense_batch import DenseBatch, disguised, drawn, joined, mutated, to_batch
from fragenv.generate.generator import Attributes, Feasible
from fragenv.generate.gvae_model import Gvae, GvaeConfig
from fragenv.generate.nb201 import from_choices, runnable_choices
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.weights import WeightsError, read_weights, write_weights

SYSTEM = "gvae"
TRAINING = TrainingConfig(steps=5000, learning_rate=4e-3, clip=5.0)
#: part of the cells whose labels are used, and which
LABELLED_SHARE, LABELLED_SEED = 0.1, 0
#: the predictor's errors count by their size (smoothed below the first) and by the second's times
#: their square: latencies jump between cells that are alike, and a jump is not to be passed over
_SMALL_ERROR, _SQUARE = 0.02, 20.0
#: changes of a known graph for its neighbours in the extended space
MUTATIONS = 4


@dataclass(frozen=True, slots=True)
class GvaeLoss:
    """Weights of the parts of the loss beside the reconstruction's 1; none is in the paper.

    Args:
        prior: of the Kullback-Leibler divergence. At 1 neighbouring graphs share codes; cells are
            to be told apart.
        attributes: of the predictor's error, in parts of the ranges.
        triplets: of the triplet loss; 0 leaves it out.
        margin: by how much the nearer code is to be nearer.
        rows: graphs of a step: a half labelled, a quarter known, an eighth each mutated and drawn.
    """

    prior: float = 0.01
    attributes: float = 200.0
    triplets: float = 1.0
    margin: float = 0.5
    rows: int = 256


@dataclass(frozen=True)
class Labelled:
    """Graphs with their attributes as parts of the ranges, (B, attributes), and (B,) how often each
    is to be learnt from, by the others."""

    graphs: DenseBatch
    values: Tensor
    often: Tensor


def labels_of(
    config: GvaeConfig, architectures: Sequence[Architecture], scores: Sequence[Attributes]
) -> Labelled:
    """Labelled architectures of a space; without attributes ``scores`` may be empty."""
    values = [config.scaled(score) for score in scores] or [[]] * len(architectures)
    graphs = to_batch(config.space, architectures)
    return Labelled(graphs, torch.tensor(values), torch.ones(len(graphs)))


def cell_task() -> tuple[GvaeConfig, DenseBatch, Labelled]:
    """The published task: all cells without labels, and a tenth of them with."""
    space = DenseSpace()
    groups = cells_to_label(LABELLED_SHARE, LABELLED_SEED)
    attributes = cell_attributes()
    feasible = Feasible.of([attributes[group[0]] for group in groups])
    config = GvaeConfig(space.nodes, space.operators, dict(feasible.low), dict(feasible.high))
    forms = [(from_choices(choices), attributes[group[0]]) for group in groups for choices in group]
    labelled = labels_of(config, [a for a, _ in forms], [score for _, score in forms])
    # half by forms, half by functions: most forms are those of a few small functions
    sizes = torch.tensor([len(group) for group in groups for _ in group])
    often = 1 / len(forms) + 1 / (len(groups) * sizes)
    return config, all_cells(), replace(labelled, often=often)


def all_cells() -> DenseBatch:
    """The runnable cells of NAS-Bench-201 in their order."""
    return to_batch(DenseSpace(), [from_choices(choices) for choices in runnable_choices()])


def make_trainer(
    config: GvaeConfig,
    known: DenseBatch,
    labelled: Labelled,
    training: TrainingConfig,
    seed: int,
    weights: GvaeLoss = GvaeLoss(),
) -> Trainer:
    """A trainer of a G-VAE.

    Args:
        config: sizes, space and attributes.
        known: graphs without labels; their mutations and random graphs of the space join them.
        labelled: graphs with labels; every second is disguised as an equal function.
        training: steps and learning rate.
        seed: of weights and batches.
        weights: of the parts of the loss.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Gvae(config)
    part = weights.rows // 2

    def batch(generator: torch.Generator) -> tuple[DenseBatch, Tensor]:
        """Graphs, the labelled ones last, and their labels."""
        plain = known[torch.randint(len(known), (part,), generator=generator)]
        changed = torch.arange(part) < part // 4
        same = torch.arange(part) >= part // 2
        rows = torch.multinomial(labelled.often, part, replacement=True, generator=generator)
        named = labelled.graphs[rows]
        half = torch.arange(part) < part // 2
        masked = disguised(config.space, named[half], generator)
        graphs = joined(
            plain[same],
            mutated(config.space, plain[changed], MUTATIONS, generator),
            drawn(config.space, part // 4, generator),
            masked,
            named[~half],
        )
        return graphs, labelled.values[rows]

    def loss(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        graphs, wanted = batch(generator)
        mean, log_deviation = model.encode(graphs)
        noise = torch.randn(mean.shape, generator=generator)
        codes = mean + log_deviation.exp() * noise
        total = model.reconstruction(graphs, codes).mean()
        total = total + weights.prior * divergence(mean, log_deviation).mean()
        if config.names:
            predicted = model.predict(codes[-part:])
            total = total + weights.attributes * attribute_loss(predicted, wanted)
            if weights.triplets:
                far = triplet_loss(mean[-part:], wanted, weights.margin, generator)
                total = total + weights.triplets * far
        return total

    return Trainer(model, loss, training)


def divergence(mean: Tensor, log_deviation: Tensor) -> Tensor:
    """(B,) Kullback-Leibler divergences of Gaussians from the standard one."""
    return 0.5 * (mean**2 + (2 * log_deviation).exp() - 1 - 2 * log_deviation).sum(1)


def attribute_loss(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Error of (B, attributes) predictions; an attribute counts by its own error, so that the
    hardest gets most of the gradient."""
    error = F.smooth_l1_loss(predicted, wanted, beta=_SMALL_ERROR, reduction="none")
    errors = (error + _SQUARE * (predicted - wanted) ** 2).mean(0)
    part = errors.detach() / errors.detach().mean().clamp(min=1e-12)
    return (part * errors).mean()


def triplet_loss(
    codes: Tensor, attributes: Tensor, margin: float, generator: torch.Generator
) -> Tensor:
    """For every code, of two others drawn at random, the one with the nearer attributes is the
    positive."""
    first, second = (torch.randperm(len(codes), generator=generator) for _ in range(2))
    distances = [(attributes - attributes[other]).abs().mean(1) for other in (first, second)]
    nearer = distances[0] < distances[1]
    positive = torch.where(nearer, first, second)
    negative = torch.where(nearer, second, first)
    return F.triplet_margin_loss(codes, codes[positive], codes[negative], margin=margin)


def save_gvae(path: Path, model: Gvae, command: str) -> None:
    """Write a model with the command that made it."""
    header = {"config": asdict(model.config), "command": command}
    write_weights(path, SYSTEM, model.state_dict(), header)


def load_gvae(path: Path) -> Gvae:
    """Read a model.

    Raises:
        WeightsError: the file is missing, damaged or of another system.
    """
    tensors, header = read_weights(path, SYSTEM)
    try:
        fields = header["config"]
        model = Gvae(GvaeConfig(**{**fields, "operators": tuple(fields["operators"])}))
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise WeightsError(f"the weights in '{path}' do not fit their header") from None
    return model.eval()


def fingerprint(model: nn.Module) -> str:
    """Equal for equal weights: codes mean nothing to another model."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
