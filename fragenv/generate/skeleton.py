"""From a cell to a network: stem, stages of cells, reductions between them, head.

The skeleton is that of NAS-Bench-201 (Dong, Yang: ICLR 2020): a 3x3 stem; per stage some cells;
between stages a residual block of stride 2 that doubles the channels; normalisation, global average
and a matrix product at the end. Convolutions are ReLU, convolution, batch normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import add
from pathlib import Path

import torch
from torch import fx, nn

from fragenv.errors import FragenvError
from fragenv.generate.architecture import OUTPUT, SKIP, Architecture
from fragenv.generate.read_network import read_network
from fragenv.graph.dataflow import DataflowGraph
from fragenv.models.export import export_onnx


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The network around a cell.

    Args:
        channels: of the first stage; every later stage has twice as many as the one before.
        cells_per_stage, stages: how often the cell is repeated.
        input_shape: (channels, rows, columns) of a frame.
        classes: results of the head.

    Raises:
        FragenvError: a size below 1, or an image that the reductions halve too often.
    """

    channels: int = 8
    cells_per_stage: int = 1
    stages: int = 3
    input_shape: tuple[int, int, int] = (3, 16, 16)
    classes: int = 10

    def __post_init__(self) -> None:
        sizes = (self.channels, self.cells_per_stage, self.stages, self.classes, *self.input_shape)
        if min(sizes) < 1:
            raise FragenvError(f"every size of a skeleton must be at least 1, got {self}")
        factor = 2 ** (self.stages - 1)
        if any(size % factor for size in self.input_shape[1:]):
            raise FragenvError(
                f"{self.stages} stages halve an image of {self.input_shape[1:]} "
                f"{self.stages - 1} times; make its sides multiples of {factor}"
            )


#: the published network for CIFAR-10
NAS_BENCH_201 = Skeleton(channels=16, cells_per_stage=5, input_shape=(3, 32, 32))


def build_network(
    architecture: Architecture, skeleton: Skeleton | None = None, seed: int = 0
) -> fx.GraphModule:
    """The network in evaluation mode with initial weights drawn from ``seed``.

    What has no effect on the output is left out. PyTorch's global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        root, graph = _Writer(architecture, skeleton or Skeleton()).write()
    return fx.GraphModule(root, graph, "GeneratedNetwork").eval()


def build_graph(
    architecture: Architecture, skeleton: Skeleton | None = None, name: str = "generated"
) -> DataflowGraph:
    """The dataflow graph of the network; no weight is initialised."""
    skeleton = skeleton or Skeleton()
    root, graph = _Writer(architecture, skeleton, _held).write()
    return read_network(root, graph, skeleton.input_shape, name)


def write_onnx(
    architecture: Architecture, path: str | Path, skeleton: Skeleton | None = None, seed: int = 0
) -> None:
    """Write the network of ``build_network`` as one ONNX file, or nothing.

    Raises:
        ModelError: the file cannot be written.
    """
    skeleton = skeleton or Skeleton()
    export_onnx(build_network(architecture, skeleton, seed), skeleton.input_shape, path)


def _stem(colours: int, channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(colours, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
    )


def _head(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, classes),
    )


def _halving(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        _convolution(3, channels, 2 * channels, stride=2),
        nn.ReLU(),
        _convolution(3, 2 * channels, 2 * channels),
    )


def _shortcut(channels: int) -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(channels, 2 * channels, 1, bias=False))


def _convolution(kernel: int, channels: int, out: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out)
    )


def _square(kernel: int, channels: int) -> nn.Module:
    return _convolution(kernel, channels, channels)


def _depthwise(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
    )


def _average(_channels: int) -> nn.Module:
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def _maximum(_channels: int) -> nn.Module:
    return nn.MaxPool2d(3, 1, 1)


#: what each operator but ``skip`` is made of, given the number of channels; convolutions read the
#: positive part of their sum
MODULES: dict[str, Callable[[int], nn.Module]] = {
    "conv1x1": partial(_square, 1),
    "conv3x3": partial(_square, 3),
    "conv5x5": partial(_square, 5),
    "depthwise3x3": _depthwise,
    "avgpool3x3": _average,
    "maxpool3x3": _maximum,
}

#: operators whose input is rectified
RECTIFIED = frozenset({"conv1x1", "conv3x3", "conv5x5", "depthwise3x3"})


Make = Callable[..., nn.Module]


def _new(make: Make, *sizes: int) -> nn.Module:
    return make(*sizes)


@lru_cache(maxsize=512)
def _held(make: Make, *sizes: int) -> nn.Module:
    """A layer without weights, the same one for the same sizes: making layers takes most of the
    time of writing a network."""
    with torch.device("meta"):
        return make(*sizes)


class _Writer:
    """Writes the graph of one network; ``layer`` makes its layers."""

    def __init__(
        self,
        architecture: Architecture,
        skeleton: Skeleton,
        layer: Make = _new,
    ) -> None:
        self.architecture, self.skeleton, self.layer = architecture, skeleton, layer
        self.root, self.graph = nn.Module(), fx.Graph()

    def write(self) -> tuple[nn.Module, fx.Graph]:
        skeleton = self.skeleton
        colours, channels = skeleton.input_shape[0], skeleton.channels
        x = self.graph.placeholder("image")
        x = self._call("stem", self.layer(_stem, colours, channels), x)
        for stage in range(skeleton.stages):
            if stage:
                x = self._reduction(f"reduction{stage}", channels, x)
                channels *= 2
            for number in range(skeleton.cells_per_stage):
                x = self._cell(f"stage{stage}_cell{number}", channels, x)
        head = self.layer(_head, channels, skeleton.classes)
        self.graph.output(self._call("head", head, x))
        return self.root, self.graph

    def _call(self, name: str, module: nn.Module, x: fx.Node) -> fx.Node:
        self.root.add_module(name, module)
        return self.graph.call_module(name, (x,))

    def _reduction(self, name: str, channels: int, x: fx.Node) -> fx.Node:
        block, shortcut = self.layer(_halving, channels), self.layer(_shortcut, channels)
        return self._sum([self._call(f"{name}_shortcut", shortcut, x), self._call(name, block, x)])

    def _cell(self, name: str, channels: int, x: fx.Node) -> fx.Node:
        architecture = self.architecture
        value = {0: x}
        # nodes that read the same ones share their sum and its positive part
        sums: dict[tuple[int, ...], fx.Node] = {}
        positive: dict[tuple[int, ...], fx.Node] = {}
        for node in sorted(architecture.live - {0}):
            sources = tuple(s for s in architecture.predecessors[node] if s in architecture.live)
            if sources not in sums:
                sums[sources] = self._sum([value[s] for s in sources])
            total, op = sums[sources], architecture.ops[node]
            if op in (SKIP, OUTPUT):
                value[node] = total
                continue
            if op in RECTIFIED and sources not in positive:
                positive[sources] = self._call(f"{name}_{node}_relu", self.layer(nn.ReLU), total)
            argument = positive[sources] if op in RECTIFIED else total
            module = self.layer(MODULES[op], channels)
            value[node] = self._call(f"{name}_{node}_{op}", module, argument)
        return value[len(architecture) - 1]

    def _sum(self, terms: Sequence[fx.Node]) -> fx.Node:
        total = terms[0]
        for term in terms[1:]:
            total = self.graph.call_function(add, (total, term))
        return total
