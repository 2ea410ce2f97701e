"""Trained systems as files: safetensors with what they are in the header. Loading runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import Tensor

from fragenv.errors import FragenvError
from fragenv.tensor_file import read_tensors, write_tensors

FORMAT = "fragenv-generator"
_AGAIN = "make it again with scripts/train_generator.py"


class WeightsError(FragenvError):
    """A file of weights is missing, damaged or of another system."""


def shipped(name: str) -> Path:
    """The file of weights that comes with the package under this name."""
    return Path(str(files("fragenv.generate") / "trained" / f"{name}.safetensors"))


def write_weights(path: Path, system: str, tensors: Mapping[str, Tensor], header: Any) -> None:
    """Write tensors whole or not at all; ``header`` is anything that JSON holds.

    Raises:
        FileError: the folder does not exist or cannot be written.
    """
    metadata = {"format": FORMAT, "system": system, "header": json.dumps(header)}
    write_tensors(path, tensors, metadata)


def read_weights(path: Path, system: str) -> tuple[dict[str, Tensor], Any]:
    """The tensors and the header that ``write_weights`` wrote.

    Raises:
        WeightsError: the file is missing, damaged or of another system.
    """
    tensors, metadata = read_tensors(path, WeightsError, _AGAIN)
    try:
        header = json.loads(metadata.get("header", "null"))
    except json.JSONDecodeError as error:
        raise WeightsError(f"'{path}' is damaged: {error}; {_AGAIN}") from None
    if metadata.get("format") != FORMAT or metadata.get("system") != system:
        found = metadata.get("system", "something else")
        raise WeightsError(f"'{path}' holds {found}, not {system}; {_AGAIN}")
    return tensors, header
