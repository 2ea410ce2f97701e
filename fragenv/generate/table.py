"""The training-free scores of all runnable NAS-Bench-201 cells, as a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fragenv.generate import latency_table, nb201
from fragenv.generate.dense import DenseSpace
from fragenv.generate.generator import Attributes
from fragenv.generate.weights import read_weights, shipped, write_weights
from fragenv.generate.zero_cost import ProxyConfig, ZeroCost

SYSTEM = "nb201-scores"
COLUMNS = ("naswot", "log_synflow")

Table = npt.NDArray[np.float32]


def compute(config: ProxyConfig, seeds: int, progress: Callable[[], None] = lambda: None) -> Table:
    """(cells, columns): the mean over ``seeds`` initialisations, in the order of
    ``nb201.runnable_choices``. ``progress`` is called after each cell and seed."""
    cells = [nb201.from_choices(choices) for choices in nb201.runnable_choices()]
    total = np.zeros((len(cells), len(COLUMNS)))
    for seed in range(seeds):
        scorer = ZeroCost(DenseSpace(), replace(config, seed=config.seed + seed))
        for row, scores in enumerate(scorer.scores(cells)):
            total[row] += scores.naswot, scores.log_synflow
            progress()
    return (total / seeds).astype(np.float32)


def save_table(path: Path, table: Table, config: ProxyConfig, seeds: int, command: str) -> None:
    """Write a table with what made it.

    Raises:
        FileError: the file cannot be written.
    """
    header = {"config": asdict(config), "seeds": seeds, "columns": COLUMNS, "command": command}
    write_weights(path, SYSTEM, {"scores": torch.from_numpy(table)}, header)


@lru_cache(maxsize=1)
def cell_scores() -> dict[nb201.Choices, Attributes]:
    """The scores that come with the package, by cell: ``COLUMNS``, and ``latency_cycles_CHIP`` of
    each chip that was measured (see ``latency_table``).

    Raises:
        WeightsError: a file is missing or damaged.
    """
    tensors, header = read_weights(shipped(SYSTEM), SYSTEM)
    measured = shipped(latency_table.SYSTEM)
    cycles = latency_table.load_latencies(measured)[0] if measured.exists() else {}
    names = (*header["columns"], *cycles)
    values = np.column_stack([tensors["scores"].double(), *cycles.values()])
    return {
        choices: dict(zip(names, row, strict=True))
        for choices, row in zip(nb201.runnable_choices(), values.tolist(), strict=True)
    }
