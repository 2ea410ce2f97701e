"""Training that shows how far it is and goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor, nn

from fragenv.training_state import restore_training, training_state

#: share of the steps that the learning rate rises, and its first and last parts of the highest
_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1e-5


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """``learning_rate`` is the highest; gradients longer than ``clip`` are shortened to it."""

    steps: int
    learning_rate: float
    clip: float = 1.0


class Trainer:
    """A model, its optimiser (Adam) and the number of steps done.

    The learning rate rises and falls by half cosines (Smith, Topin: Super-convergence, 2018).

    Args:
        loss: the loss of a step, given its number; everything random in it must follow from the
            number, so that an interrupted training goes on as if it had not been.
    """

    def __init__(
        self, model: nn.Module, loss: Callable[[int], Tensor], config: TrainingConfig
    ) -> None:
        self.model, self.config, self._loss = model, config, loss
        self.optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        self.step_number = 0

    @property
    def finished(self) -> bool:
        return self.step_number >= self.config.steps

    def step(self) -> float:
        """One step of the optimiser; its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * one_cycle(self.step_number, self.config.steps)
        loss = self._loss(self.step_number)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimiser.step()
        self.step_number += 1
        return loss.item()

    def run(self) -> None:
        """All steps that are left."""
        while not self.finished:
            self.step()

    def state(self) -> dict[str, Tensor]:
        """All that ``restore`` needs."""
        return training_state(self.model, self.optimiser, self.step_number)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where ``state`` was taken.

        Raises:
            KeyError, RuntimeError: the state is of another model.
        """
        self.step_number = restore_training(self.model, self.optimiser, state)


def one_cycle(step: int, steps: int) -> float:
    """The learning rate of a step, as a part of the highest."""
    done = step / steps
    if done < _RISE:
        return _between(_FIRST, 1.0, done / _RISE)
    return _between(1.0, _LAST, (done - _RISE) / (1 - _RISE))


def _between(start: float, end: float, done: float) -> float:
    return end + (start - end) * 0.5 * (1 + cos(pi * done))
