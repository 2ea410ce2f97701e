"""Tensors as safetensors files, with text in their header. Loading runs no code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fragenv.errors import FragenvError
from fragenv.serialize import write_bytes


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors whole or not at all, with text beside them.

    Raises:
        FileError: the folder does not exist or cannot be written.
    """
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_bytes(path, save(whole, metadata=metadata))


def read_tensors(
    path: Path, error: type[FragenvError], way_out: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What ``write_tensors`` wrote.

    Args:
        path: the file.
        error: raised where the file is missing or damaged.
        way_out: ends its message.
    """
    if not path.is_file():
        raise error(f"there is no file '{path}'; {way_out}")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (OSError, SafetensorError) as reason:
        raise error(f"'{path}' is damaged: {reason}; {way_out}") from None
