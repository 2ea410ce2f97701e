"""How well a G-VAE does what is asked of it: prediction, reconstruction, order of its codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr

from fragenv.generate.dense_batch import DenseBatch
from fragenv.generate.gvae_model import Gvae

_Numbers = npt.NDArray[np.float64]
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class PredictionError:
    """Of one attribute. The paper's measure is the error by the largest value; that by the range
    is stricter, since NASWOT is far from 0 for every cell."""

    mean_of_largest: float
    most_of_largest: float
    mean_of_range: float
    rank_correlation: float


@torch.no_grad()
def codes_of(model: Gvae, graphs: DenseBatch) -> torch.Tensor:
    """(B, codes) means."""
    return torch.cat([model.encode(part)[0] for part in graphs.parts(_CHUNK)])


@torch.no_grad()
def predicted(model: Gvae, graphs: DenseBatch) -> _Numbers:
    """(B, attributes) in their own units."""
    low = np.array(list(model.config.low.values()))
    high = np.array(list(model.config.high.values()))
    parts = model.predict(codes_of(model, graphs)).double().numpy()
    values: _Numbers = low + parts * (high - low)
    return values


def prediction_errors(
    names: Sequence[str], found: _Numbers, wanted: _Numbers, largest: _Numbers, span: _Numbers
) -> dict[str, PredictionError]:
    """Of (B, attributes) values; ``largest`` and ``span`` are (attributes,) of all cells."""
    result = {}
    for column, name in enumerate(names):
        error = np.abs(found[:, column] - wanted[:, column])
        result[name] = PredictionError(
            mean_of_largest=float(error.mean() / largest[column]),
            most_of_largest=float(error.max() / largest[column]),
            mean_of_range=float(error.mean() / span[column]),
            rank_correlation=float(spearmanr(found[:, column], wanted[:, column]).statistic),
        )
    return result


@torch.no_grad()
def reconstructed(model: Gvae, graphs: DenseBatch) -> torch.Tensor:
    """(B,) whether the most probable graph of a graph's code is that graph."""
    built = model.graphs(codes_of(model, graphs))
    # an edge of an absent node is none
    there = built.types != len(model.config.space.node_types) - 1
    edges = built.edges & there[:, :, None] & there[:, None, :]
    return (built.types == graphs.types).all(1) & (edges == graphs.edges).flatten(1).all(1)


def neighbour_spread(
    codes: torch.Tensor, values: _Numbers, neighbours: int = 10, sample: int = 1000
) -> _Numbers:
    """(attributes,) mean distances of a cell's values to those of its nearest codes, in parts of
    the mean distance of any two cells; of ``sample`` cells spread over all.

    Cells of equal values (one function in several forms) are no neighbours: what is asked is
    whether near codes have near attributes.
    """
    rows = np.linspace(0, len(values) - 1, min(sample, len(values))).astype(int)
    result = []
    for row in rows:
        others = np.flatnonzero((values != values[row]).any(1))
        far = (codes[others] - codes[row]).norm(dim=1)
        near = others[far.topk(neighbours, largest=False).indices.numpy()]
        result.append(np.abs(values[near] - values[row]).mean(0))
    anywhere = np.abs(values[rows][:, None] - values[rows][None]).mean((0, 1))
    spread: _Numbers = np.mean(result, axis=0) / anywhere
    return spread
