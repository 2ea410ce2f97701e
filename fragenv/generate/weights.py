"""Trained systems as files: safetensors with what they are in the header. Loading runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fragenv.errors import FragenvError
from fragenv.serialize import write_bytes

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
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {"format": FORMAT, "system": system, "header": json.dumps(header)}
    write_bytes(path, save(whole, metadata=metadata))


def read_weights(path: Path, system: str) -> tuple[dict[str, Tensor], Any]:
    """The tensors and the header that ``write_weights`` wrote.

    Raises:
        WeightsError: the file is missing, damaged or of another system.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file '{path}'; {_AGAIN}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(metadata.get("header", "null"))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise WeightsError(f"'{path}' is damaged: {error}; {_AGAIN}") from None
    if metadata.get("format") != FORMAT or metadata.get("system") != system:
        found = metadata.get("system", "something else")
        raise WeightsError(f"'{path}' holds {found}, not {system}; {_AGAIN}")
    return tensors, header
