"""Published figures for AlexNet's convolutions, and what this model says of the same layers.

The convolutions are those of the original network: two groups in the second, fourth and fifth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from fragenv.graph.builder import GraphBuilder
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.windows import Window
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.hardware.timing import CONSTANT_BYTES, ceil_div
from fragenv.schedule.choices import frame_cycles
from fragenv.schedule.shape import task_shape
from fragenv.schedule.tiling import Port, TaskSetting, Tiling
from fragenv.schedule.tiling_search import TilingSearch


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution of AlexNet, on square maps."""

    name: str
    c: int
    k: int
    size: int
    kernel: int
    stride: int
    padding: int
    groups: int

    @property
    def graph(self) -> DataflowGraph:
        """The layer alone, both groups."""
        return _alone(self, self.c, self.k, self.groups)

    @property
    def group_graph(self) -> DataflowGraph:
        """What one half of the network computes: all inputs that it sees, half of the outputs."""
        return _alone(self, self.c // self.groups, self.k // 2, 1)

    @property
    def out_size(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1


LAYERS = (
    Layer("conv1", 3, 96, 227, 11, 4, 0, 1),
    Layer("conv2", 96, 256, 27, 5, 1, 2, 2),
    Layer("conv3", 256, 384, 13, 3, 1, 1, 1),
    Layer("conv4", 384, 384, 13, 3, 1, 1, 2),
    Layer("conv5", 384, 256, 13, 3, 1, 1, 2),
)
#: multiply-accumulate units of Zhang et al. and the unrolling that they find best for all layers
ZHANG_UNITS, ZHANG_OUT, ZHANG_IN = 448, 64, 7


def _alone(layer: Layer, c: int, k: int, groups: int) -> DataflowGraph:
    builder = GraphBuilder()
    x = builder.input("x", (c, layer.size, layer.size))
    window = Window((layer.kernel,) * 2, (layer.stride,) * 2, (layer.padding,) * 4)
    return builder.finish(layer.name, [builder.conv("conv", x, "y", k, window, groups)])


def zhang_cycles(layer: Layer, lanes_in: int, lanes_out: int) -> int:
    """Cycles of one group by the paper's formula: every unit busy in every cycle, but for lanes
    that the channels leave over."""
    nest = layer.group_graph.operators[0].nest
    blocks = ceil_div(nest.c, lanes_in) * ceil_div(nest.k, lanes_out)
    return nest.p * nest.q * nest.r * nest.s * blocks


def our_cycles(layer: Layer, lanes_in: int, lanes_out: int) -> int:
    """Cycles of one group by the model that the circuits are tested against."""
    graph = layer.group_graph
    shape = task_shape(graph, ("conv",), {})
    assert shape is not None
    return frame_cycles(shape, Fragment(lanes_in, lanes_out, (Stage.MAC,)))


def unrollings(units: int) -> Iterator[tuple[int, int]]:
    """Lanes in and out of all arrays of at most ``units`` multipliers that no other such array
    has more of on one side and as many on the other."""
    for lanes_in in range(1, units + 1):
        yield lanes_in, units // lanes_in


class Traffic(NamedTuple):
    """DRAM bytes of a layer at Eyeriss's words and batch: published, least possible, and ours with
    its global buffer, with all of its on-chip memory, and with four times its buffer."""

    published: float
    compulsory: int
    ours: tuple[int, ...]


#: Eyeriss (Chen et al., JSSC 52(1), 2017): bytes of a word, frames, processing elements, and MB of
#: DRAM accesses per layer after compression
EYERISS_WORD, EYERISS_FRAMES, EYERISS_UNITS = 2, 4, 168
#: lanes in of the arrays of as many multipliers that are tried; others move no fewer bytes by much
LANES_IN = (8, 12, 21, 84)
EYERISS_MB = {"conv1": 5.0, "conv2": 4.0, "conv3": 3.0, "conv4": 2.1, "conv5": 1.3}
#: bytes of its global buffer, of that with the elements' scratch pads, and four times the buffer
BUFFERS = {"108 KB": 108 * 1024, "181.5 KB": 181 * 1024 + 512, "432 KB": 432 * 1024}


@cache
def traffic(layer: Layer) -> Traffic:
    """The fewest DRAM bytes of a layer alone, its tensors in DRAM before and after, by any tiling
    on several arrays of as many multipliers.

    Words of 16 bits are words of 8 bits with half the buffer and twice the bytes. Requantisation
    constants are left out: the published bytes have none.
    """
    shape = task_shape(layer.graph, ("conv",), {})
    assert shape is not None
    constants = CONSTANT_BYTES * layer.k
    tilings: list[Tiling] = []
    for lanes_in in LANES_IN:
        array = Fragment(lanes_in, EYERISS_UNITS // lanes_in, (Stage.MAC,))
        setting = TaskSetting(shape, array, EYERISS_FRAMES, on_chip=0, keep_output=False)
        search = TilingSearch(setting, Port(1, 0))
        tilings += [*search.candidates(False), *search.candidates(True)]
    ours = [
        min(t.dram_bytes for t in tilings if t.sram_bytes <= size // EYERISS_WORD)
        for size in BUFFERS.values()
    ]
    compulsory = shape.weight_bytes - constants
    compulsory += EYERISS_FRAMES * (
        sum(s.rows * s.row_bytes for s in shape.sources) + shape.out_bytes
    )
    return Traffic(
        EYERISS_MB[layer.name] * 1e6,
        EYERISS_WORD * compulsory,
        tuple(EYERISS_WORD * (size - constants) for size in ours),
    )
