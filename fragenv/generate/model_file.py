"""A network with what it is made of and the command that trained it, as one file of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from fragenv.generate.weights import WeightsError, read_weights, write_weights

Model = TypeVar("Model", bound=nn.Module)


def write_model(
    path: Path, system: str, model: nn.Module, command: str, extra: Mapping[str, Any] | None = None
) -> None:
    """Write a model whose ``config`` is a dataclass, whole or not at all; ``extra`` goes into the
    header.

    Raises:
        FileError: the file cannot be written.
    """
    config = asdict(model.config)  # type: ignore[call-overload]
    header = {"config": config, "command": command, **(extra or {})}
    write_weights(path, system, model.state_dict(), header)


def read_model(
    path: Path, system: str, make: Callable[[Mapping[str, Any]], Model]
) -> tuple[Model, Mapping[str, Any]]:
    """The model that ``make`` makes of the fields of its configuration, and the header.

    Raises:
        WeightsError: the file is missing, damaged or of another system.
    """
    tensors, header = read_weights(path, system)
    try:
        model = make(header["config"])
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise WeightsError(f"the weights in '{path}' do not fit their header") from None
    return model.eval(), header
