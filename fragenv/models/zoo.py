"""The networks that come with fragenv: LeNet and seven of torchvision's, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchvision
from torch import nn

from fragenv.errors import ModelError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_torch import from_torch
from fragenv.models import lenet

_VISION = torchvision.models
_IMAGE = (3, 224, 224)


@dataclass(frozen=True, slots=True)
class ZooEntry:
    """How to make a network; ``input_shape`` is (channels, rows, columns) of a frame."""

    make: Callable[[], nn.Module]
    input_shape: tuple[int, ...] = _IMAGE


_ZOO: dict[str, ZooEntry] = {
    "alexnet": ZooEntry(lambda: _VISION.alexnet(weights=None)),
    "vgg16": ZooEntry(lambda: _VISION.vgg16(weights=None)),
    "resnet18": ZooEntry(lambda: _VISION.resnet18(weights=None)),
    "resnet50": ZooEntry(lambda: _VISION.resnet50(weights=None)),
    # without the auxiliary classifiers, which only training uses, and without the input's
    # normalisation, which is part of the preprocessing of every other network
    "googlenet": ZooEntry(
        lambda: _VISION.googlenet(
            weights=None, aux_logits=False, transform_input=False, init_weights=False
        )
    ),
    "squeezenet": ZooEntry(lambda: _VISION.squeezenet1_0(weights=None)),
    "mobilenetv2": ZooEntry(lambda: _VISION.mobilenet_v2(weights=None)),
    "lenet": ZooEntry(lambda: lenet.LeNet("max"), lenet.INPUT_SHAPE),
    "lenet_avg": ZooEntry(lambda: lenet.LeNet("average"), lenet.INPUT_SHAPE),
}


def names() -> tuple[str, ...]:
    """The names that ``graph`` and ``module`` take."""
    return tuple(_ZOO)


def entry(name: str) -> ZooEntry:
    """What the zoo knows about ``name``.

    Raises:
        ModelError: the zoo has no such network.
    """
    if name not in _ZOO:
        raise ModelError(name, f"not in the zoo; choose one of {', '.join(_ZOO)} or an ONNX file")
    return _ZOO[name]


def graph(name: str) -> DataflowGraph:
    """The dataflow graph of ``name``; no weight is initialised.

    Raises:
        ModelError: the zoo has no such network.
    """
    found = entry(name)
    with torch.device("meta"):
        network = found.make()
    return from_torch(network, found.input_shape, name)


def module(name: str, seed: int) -> nn.Module:
    """The network in evaluation mode with initial weights drawn from ``seed``.

    The global random state of PyTorch is left as it was.

    Raises:
        ModelError: the zoo has no such network.
    """
    found = entry(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return found.make().eval()
