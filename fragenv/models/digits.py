"""LeNet-5 trained on scikit-learn's digits: 1797 images of 8x8, scaled to 1x32x32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from fragenv.models.lenet import INPUT_SHAPE, LeNet

_TEST_FRACTION = 0.2
_BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Images float32 (n, 1, rows, columns) in [0, 1] and labels int64 (n,), split by a seed."""

    train_images: npt.NDArray[np.float32]
    train_labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.float32]
    test_labels: npt.NDArray[np.int64]


def load_split(seed: int, size: tuple[int, int] = (INPUT_SHAPE[1], INPUT_SHAPE[2])) -> Digits:
    """A random fifth of the digits for testing, the rest for training; bilinear scaling from 8x8 to
    ``size``."""
    data: Any = load_digits()
    small = torch.from_numpy(data.images.astype(np.float32) / 16).unsqueeze(1)  # (n, 1, 8, 8)
    images = F.interpolate(small, size, mode="bilinear", align_corners=False).numpy()
    labels = data.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(labels))
    count = int(len(labels) * _TEST_FRACTION)
    test, train = order[:count], order[count:]
    return Digits(images[train], labels[train], images[test], labels[test])


def train_lenet(seed: int, pool: Literal["max", "average"] = "max", epochs: int = 12) -> nn.Module:
    """LeNet-5 in evaluation mode, trained with Adam on ``load_split(seed)``.

    The same seed gives the same weights on the same machine; PyTorch's global random state is left
    as it was.
    """
    digits = load_split(seed)
    rows = TensorDataset(
        torch.from_numpy(digits.train_images), torch.from_numpy(digits.train_labels)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LeNet(pool)
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
        for _ in range(epochs):
            for x, y in DataLoader(rows, batch_size=_BATCH, shuffle=True):
                optimiser.zero_grad()
                torch.autograd.backward(F.cross_entropy(model(x), y))
                optimiser.step()
    return model.eval()


def accuracy(logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> float:
    """Share of rows of ``logits`` (n, 10) whose largest entry is at the label."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))
