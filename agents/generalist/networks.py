"""Random convolutional networks: width, depth, branching, kernels and image size are drawn."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_torch import from_torch

#: sides of an image; the stem halves large ones, so that the smallest map keeps a few rows
SIDES = (24, 32, 48, 64, 96, 128, 160, 224)
WIDTHS = (8, 16, 24, 32, 48, 64, 64, 96)
CLASSES = (10, 100, 1000)
MAX_BLOCKS = 9
#: channels at most, and how much wider blocks with a narrow middle may be
MAX_CHANNELS, BOTTLENECK_FACTORS = 1024, (1, 2, 4)


class _Residual(nn.Module):
    """``body`` beside a shortcut, added; a 1x1 convolution where the shapes differ."""

    def __init__(self, body: nn.Module, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = body
        same = channels == out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, out, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


class _Branches(nn.Module):
    """Several bodies beside each other, their outputs concatenated."""

    def __init__(self, bodies: list[nn.Module]) -> None:
        super().__init__()
        self.bodies = nn.ModuleList(bodies)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([body(x) for body in self.bodies], dim=1)


def _conv(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups)
    return nn.Sequential(layer, nn.ReLU())


def _plain(rng: random.Random, channels: int, out: int, stride: int) -> nn.Module:
    return _conv(channels, out, rng.choice((1, 3, 3, 5)), stride)


def _basic(rng: random.Random, channels: int, out: int, stride: int) -> nn.Module:
    kernel = rng.choice((3, 3, 5))
    second = nn.Conv2d(out, out, kernel, padding=kernel // 2)
    return _Residual(
        nn.Sequential(_conv(channels, out, kernel, stride), second), channels, out, stride
    )


def _bottleneck(rng: random.Random, channels: int, out: int, stride: int) -> nn.Module:
    inner = max(4, out // rng.choice((2, 4)))
    layers = [_conv(channels, inner, 1), _conv(inner, inner, 3, stride), nn.Conv2d(inner, out, 1)]
    return _Residual(nn.Sequential(*layers), channels, out, stride)


def _separable(rng: random.Random, channels: int, out: int, stride: int) -> nn.Module:
    inner = channels * rng.choice((1, 2, 4))
    depthwise = _conv(inner, inner, rng.choice((3, 3, 5)), stride, groups=inner)
    before = [] if inner == channels else [_conv(channels, inner, 1)]
    return nn.Sequential(*before, depthwise, nn.Conv2d(inner, out, 1))


def _fan(rng: random.Random, channels: int, out: int, stride: int) -> nn.Module:
    """Two to four branches behind an optional squeeze."""
    squeezed = max(4, out // rng.choice((2, 4, 8))) if rng.random() < 0.5 else channels
    before = [] if squeezed == channels else [_conv(channels, squeezed, 1)]
    count = rng.randint(2, 4)
    widths = [out // 2, *[out // (2 * (count - 1))] * (count - 1)]
    widths[-1] += out - sum(widths)
    bodies: list[nn.Module] = []
    for width in widths:
        kernel = rng.choice((1, 3, 5))
        if rng.random() < 0.3:
            inner = max(4, width // 2)
            before_it = _conv(squeezed, inner, 1)
            bodies.append(nn.Sequential(before_it, _conv(inner, width, kernel, stride)))
        else:
            bodies.append(_conv(squeezed, width, kernel, stride))
    return nn.Sequential(*before, _Branches(bodies))


_Block = Callable[[random.Random, int, int, int], nn.Module]
BLOCKS: dict[str, _Block] = {
    "plain": _plain,
    "basic": _basic,
    "bottleneck": _bottleneck,
    "separable": _separable,
    "fan": _fan,
}


def random_network(rng: random.Random) -> tuple[nn.Module, tuple[int, ...]]:
    """A network drawn from ``rng``, and the shape of its frames.

    A stem, two to four stages of blocks of one kind (a second kind now and then), twice as many
    channels at half the size from stage to stage, and a classifier.
    """
    frame = side = rng.choice(SIDES)
    channels = width = rng.choice(WIDTHS)
    stride = 1 if side <= 48 else rng.choice((1, 2, 2, 4))
    layers: list[nn.Module] = [_conv(3, width, rng.choice((3, 5, 7)), stride)]
    side = -(-side // stride)
    if side > 48 and stride > 1 and rng.random() < 0.6:
        layers.append(nn.MaxPool2d(2, 2))
        side //= 2
    kinds = rng.choices(list(BLOCKS), k=2)
    wider = rng.choice(BOTTLENECK_FACTORS) if "bottleneck" in kinds else 1
    blocks, stages = rng.randint(2, MAX_BLOCKS), rng.randint(2, 4)
    for number in range(blocks):
        stage = number * stages // blocks
        begins = number > 0 and stage > (number - 1) * stages // blocks
        halve = begins and side > 6
        pooled = halve and rng.random() < 0.4
        if pooled:
            layers.append(nn.MaxPool2d(2, 2))
        out = min(width * wider << stage, MAX_CHANNELS)
        block = BLOCKS[kinds[0] if rng.random() < 0.8 else kinds[1]]
        layers.append(block(rng, channels, out, 2 if halve and not pooled else 1))
        channels, side = out, (side // 2 if pooled else -(-side // 2) if halve else side)
    return nn.Sequential(*layers, *_classifier(rng, channels, side)), (3, frame, frame)


def _classifier(rng: random.Random, channels: int, side: int) -> list[nn.Module]:
    """Global average or flat features, and one to three fully connected layers."""
    classes = rng.choice(CLASSES)
    if rng.random() < 0.6:
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    features = channels * side * side
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(rng.randint(0, 2)):
        hidden = rng.choice((64, 256, 1024, 4096))
        layers += [nn.Linear(features, hidden), nn.ReLU()]
        features = hidden
    return [*layers, nn.Linear(features, classes)]


def random_graph(rng: random.Random) -> DataflowGraph:
    """The dataflow graph of ``random_network``; no weight is initialised."""
    with torch.device("meta"):
        network, shape = random_network(rng)
    return from_torch(network, shape, "random")
