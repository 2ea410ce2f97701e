"""AlexNet as published, for 3x224x224 images and 1000 classes.

Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks,
NeurIPS 2012, section 3: local response normalisation after the first two layers, overlapping pools,
and convolutions that see half of the channels where the paper's two GPUs do not communicate.
torchvision's AlexNet is the later single-GPU variant without normalisation and groups.
"""

from __future__ import annotations

import torch
from torch import nn

#: neighbouring channels of the normalisation (n in the paper)
_NEIGHBOURS = 5


def _normalise() -> nn.LocalResponseNorm:
    """The paper's response normalisation: x / (2 + 1e-4 * sum of squares)**0.75.

    PyTorch divides alpha by the number of neighbours, the paper does not.
    """
    return nn.LocalResponseNorm(_NEIGHBOURS, alpha=1e-4 * _NEIGHBOURS, beta=0.75, k=2.0)


class AlexNet(nn.Module):
    """Five convolutions, three fully connected layers; ``forward``: (n, 3, 224, 224) to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            # the paper's 55x55 results need a padding of 2 for inputs of 224x224
            nn.Conv2d(3, 96, 11, stride=4, padding=2),
            nn.ReLU(),
            _normalise(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(96, 256, 5, padding=2, groups=2),
            nn.ReLU(),
            _normalise(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(256, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 384, 3, padding=1, groups=2),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1, groups=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 1000),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return logits
