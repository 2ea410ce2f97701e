"""How well a G-VAE does what is asked of it: prediction, reconstruction, order of its codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr

from fragenv.generate.attributes import cell_attributes, cells_to_label
from fragenv.generate.dense_batch import DenseBatch, to_batch
from fragenv.generate.gvae_model import Gvae
from fragenv.generate.gvae_training import LABELLED_SEED, LABELLED_SHARE
from fragenv.generate.nb201 import Choices, from_choices

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


@dataclass(frozen=True, slots=True)
class CellAccuracy:
    """A G-VAE on all runnable cells.

    Args:
        labels: how many cells' labels it knows.
        others: errors on all other cells.
        other_functions: errors on the cells that are not even equal to a labelled one.
        other_cells, other_function_cells: how many these are.
        reconstructed: part of all cells that are decoded from their codes.
        spread: of each attribute among nearest codes (see ``neighbour_spread``).
    """

    labels: int
    others: dict[str, PredictionError]
    other_functions: dict[str, PredictionError]
    other_cells: int
    other_function_cells: int
    reconstructed: float
    spread: dict[str, float]


def cell_accuracy(model: Gvae) -> CellAccuracy:
    """Measure a model that was trained on ``gvae_training.cell_task``, by those of its attributes
    that the table has."""
    attributes = cell_attributes()
    columns = [
        n for n, name in enumerate(model.config.names) if name in next(iter(attributes.values()))
    ]
    names = [model.config.names[n] for n in columns]
    values = np.array([[scores[name] for name in names] for scores in attributes.values()])
    graphs = to_batch(model.config.space, [from_choices(choices) for choices in attributes])
    found, codes = predicted(model, graphs)[:, columns], codes_of(model, graphs)
    groups = cells_to_label(LABELLED_SHARE, LABELLED_SEED)
    known = {group[0] for group in groups}
    equal = {choices for group in groups for choices in group}

    def errors(without: set[Choices]) -> tuple[dict[str, PredictionError], int]:
        rows = [row for row, choices in enumerate(attributes) if choices not in without]
        largest, span = values.max(0), np.ptp(values, 0)
        return prediction_errors(names, found[rows], values[rows], largest, span), len(rows)

    (others, other_cells), (functions, function_cells) = errors(known), errors(equal)
    return CellAccuracy(
        labels=len(known),
        others=others,
        other_functions=functions,
        other_cells=other_cells,
        other_function_cells=function_cells,
        reconstructed=float(reconstructed(model, graphs).double().mean()),
        spread=dict(zip(names, neighbour_spread(codes, values).tolist(), strict=True)),
    )


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
