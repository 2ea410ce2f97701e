"""The networks that come with fragenv, by name: LeNet, AlexNet as published, torchvision's."""

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
from fragenv.models.alexnet import AlexNet

_VISION = torchvision.models
_IMAGE = (3, 224, 224)
_SCALING_IMAGES = 4


@dataclass(frozen=True, slots=True)
class ZooEntry:
    """How to make a network; ``input_shape`` is (channels, rows, columns) of a frame."""

    make: Callable[[], nn.Module]
    input_shape: tuple[int, ...] = _IMAGE


_ZOO: dict[str, ZooEntry] = {
    # torchvision's has one group and no response normalisation; the other is the paper's
    "alexnet": ZooEntry(lambda: _VISION.alexnet(weights=None)),
    "alexnet_lrn": ZooEntry(AlexNet),
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


def scaled_module(name: str, seed: int) -> nn.Module:
    """``module`` with weights scaled so that every layer's results vary by about 1.

    Default weights let activations fade or grow from layer to layer without trained normalisation;
    these stay in a range that int8 covers through any depth. Each convolution and matrix product
    is divided by the standard deviation of its results for a few random images, first to last
    (Mishkin and Matas: All you need is a good init, ICLR 2016).

    Raises:
        ModelError: the zoo has no such network.
    """
    network = module(name, seed)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(_SCALING_IMAGES, *entry(name).input_shape, generator=generator)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(_divide_by_deviation) for layer in layers]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return network


def _divide_by_deviation(
    layer: nn.Module, _inputs: tuple[torch.Tensor, ...], result: torch.Tensor
) -> torch.Tensor:
    deviation = result.std()
    for parameter in layer.parameters():
        parameter.div_(deviation)
    return result / deviation
