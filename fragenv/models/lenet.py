"""LeNet-5 (LeCun et al., 1998) with ReLU, for 1x32x32 images and ten classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

INPUT_SHAPE = (1, 32, 32)


class LeNet(nn.Module):
    """conv 6@5x5, pool 2x2, conv 16@5x5, pool 2x2, fully connected 120, 84, 10.

    ``forward`` maps images (n, 1, 32, 32) to logits (n, 10).
    """

    def __init__(self, pool: Literal["max", "average"] = "max") -> None:
        super().__init__()
        make_pool = nn.MaxPool2d if pool == "max" else nn.AvgPool2d
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5),
            nn.ReLU(),
            make_pool(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            make_pool(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return logits
