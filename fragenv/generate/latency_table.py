"""The latencies of all runnable NAS-Bench-201 cells on some chips, as a file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fragenv.generate import canonical, nb201
from fragenv.generate.architecture import Architecture
from fragenv.generate.weights import WeightsError, read_weights, write_weights

SYSTEM = "nb201-latency"

Cycles = npt.NDArray[np.int64]


def column(chip: str) -> str:
    """The name under which ``table.cell_scores`` has the latencies on a chip."""
    return f"latency_cycles_{chip}"


@lru_cache(maxsize=1)
def functions() -> tuple[tuple[Architecture, ...], npt.NDArray[np.int64]]:
    """The first cell of each of the 5,424 distinct functions, and the function of every cell in the
    order of ``nb201.runnable_choices``."""
    first: dict[str, int] = {}
    found: list[Architecture] = []
    numbers = []
    for choices in nb201.runnable_choices():
        architecture = nb201.from_choices(choices)
        number = first.setdefault(canonical.key(architecture), len(found))
        if number == len(found):
            found.append(architecture)
        numbers.append(number)
    return tuple(found), np.array(numbers)


def save_latencies(path: Path, cycles: Mapping[str, Cycles], made: Mapping[str, Any]) -> None:
    """Write the cycles of all cells by column, and what made each column.

    Raises:
        FileError: the file cannot be written.
    """
    tensors = {name: torch.from_numpy(values).int() for name, values in cycles.items()}
    write_weights(path, SYSTEM, tensors, dict(made))


def load_latencies(path: Path) -> tuple[dict[str, Cycles], dict[str, Any]]:
    """What ``save_latencies`` wrote.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    tensors, made = read_weights(path, SYSTEM)
    count = len(nb201.runnable_choices())
    for name, values in tensors.items():
        if values.shape != (count,):
            raise WeightsError(
                f"'{path}' is damaged: column {name} is not of {count} cells; make it again with "
                "scripts/latency_cells.py"
            )
    return {name: values.long().numpy() for name, values in tensors.items()}, made
