"""The state of a training: a model, its optimiser (Adam) and the steps done, as named tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_MODEL = "model."


def training_state(
    model: nn.Module, optimiser: torch.optim.Adam, step_number: int
) -> dict[str, Tensor]:
    """All that ``restore_training`` needs."""
    result = {f"{_MODEL}{name}": value for name, value in model.state_dict().items()}
    result["step"] = torch.tensor(step_number)
    for number, moments in optimiser.state_dict()["state"].items():
        result |= {f"adam.{number}.{name}": value for name, value in moments.items()}
    return result


def restore_training(
    model: nn.Module, optimiser: torch.optim.Adam, state: dict[str, Tensor]
) -> int:
    """Put ``state`` into the model and the optimiser; returns the number of steps done.

    Raises:
        KeyError, RuntimeError: the state is of another model.
    """
    model.load_state_dict(
        {k.removeprefix(_MODEL): v for k, v in state.items() if k.startswith(_MODEL)}
    )
    whole = optimiser.state_dict()
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if name.startswith("adam."):
            _, number, kind = name.split(".")
            moments.setdefault(int(number), {})[kind] = value
    whole["state"] = moments
    optimiser.load_state_dict(whole)
    return int(state["step"])
