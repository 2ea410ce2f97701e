"""Convolutions by plain loops, and what an array needs for them: weight stream and records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from windows import Array, Ring, Windows, random_tensor, random_windows

from fragenv.rtl import isa

CONSTANT_ROWS = 8


@dataclass(frozen=True)
class Lanes:
    """Of an array: input channels per block (1 in a depthwise one), output channels."""

    inputs: int
    outputs: int


@dataclass(frozen=True, eq=False)
class Convolution:
    """``inputs`` are tensors side by side along the channels; weights (k, c / groups, r, s)."""

    windows: Windows
    inputs: tuple[Array, ...]
    weights: Array
    groups: int
    depthwise: bool
    pad: int
    bias: Array
    multiplier: Array
    shift: Array

    @property
    def k(self) -> int:
        return int(self.weights.shape[0])

    @property
    def depth(self) -> int:
        """Input channels of a group."""
        return int(self.weights.shape[1])

    @property
    def part_channels(self) -> tuple[int, ...]:
        """Input channels of each part that one group of the convolution reads."""
        if self.groups > 1:
            return (self.depth,)
        return tuple(x.shape[3] for x in self.inputs)

    def sums(self) -> Array:
        """(frames, rows, cols, k)."""
        elements = self.windows.elements(np.concatenate(self.inputs, axis=3), self.pad)
        depth, size = self.depth, self.k // self.groups
        result = np.zeros((*elements.shape[:3], self.k), np.int64)
        for channel in range(self.k):
            first = channel // size * depth
            x = elements[..., first : first + depth]  # ... r, s, c
            weights = self.weights[channel].transpose(1, 2, 0)
            result[..., channel] = (x * weights).sum(axis=(3, 4, 5))
        return result

    def constants(self, channel: int) -> int:
        """The 64 bits of an output channel."""
        multiplier, shift = int(self.multiplier[channel]), int(self.shift[channel])
        return int(self.bias[channel]) & 0xFFFFFFFF | multiplier << 32 | shift << 56

    def output_groups(self, lanes: Lanes) -> list[tuple[int, int]]:
        """(first channel, channels) that the array makes at a time."""
        size = self.k if self.depthwise else self.k // self.groups
        return [
            (first, min(lanes.outputs, start + size - first))
            for start in range(0, self.k, size)
            for first in range(start, start + size, lanes.outputs)
        ]

    def blocks(self, lanes: Lanes) -> list[Block]:
        """The weight blocks of an output group, in their order."""
        result = []
        start = 0
        for part, channels in enumerate(self.part_channels):
            for lane in range(0, channels, lanes.inputs):
                count = min(lanes.inputs, channels - lane)
                for r, s in np.ndindex(self.windows.kernel):
                    result.append(Block(part, lane // lanes.inputs, r, s, start + lane, count))
            start += channels
        return result

    def stream(self, lanes: Lanes) -> list[bytes]:
        """The weight stream, cut into blocks; the first of a group has the constants too."""
        result = []
        for first, width in self.output_groups(lanes):
            channels = range(first, first + width)
            for number, block in enumerate(self.blocks(lanes)):
                data: list[int] = []
                if number == 0:
                    for i in range(CONSTANT_ROWS):
                        data += [self.constants(k) >> (8 * i) & 255 for k in channels]
                for lane in range(block.channel, block.channel + block.lanes):
                    data += [int(self.weights[k, lane, block.r, block.s]) & 255 for k in channels]
                result.append(bytes(data))
        return result


@dataclass(frozen=True)
class Block:
    """A weight block: its source, group of input channels there, kernel element; first input
    channel of its weights and how many there are."""

    part: int
    group: int
    r: int
    s: int
    channel: int
    lanes: int


@dataclass(frozen=True)
class Run:
    """A RUN over weight blocks [first, last) of a convolution, counted over all output groups."""

    convolution: Convolution
    lanes: Lanes
    first: int
    last: int
    tile_pixels: int

    @property
    def per_group(self) -> int:
        return len(self.convolution.blocks(self.lanes))

    @property
    def tiles(self) -> int:
        windows = self.convolution.windows
        return -(-windows.pixels // self.tile_pixels)

    def groups(self) -> list[tuple[int, int]]:
        """Output groups (first channel, channels) that it works on."""
        every = self.convolution.output_groups(self.lanes)
        return every[self.first // self.per_group : -(-self.last // self.per_group)]

    def done_groups(self) -> list[tuple[int, int]]:
        """Those of them that are complete at its end."""
        every = self.convolution.output_groups(self.lanes)
        return every[self.first // self.per_group : self.last // self.per_group]

    def source_fields(self, rings: tuple[Ring, ...]) -> list[dict[str, int]]:
        convolution, lanes = self.convolution, self.lanes
        channel = 0
        if convolution.groups > 1:
            start = self.groups()[0][0]
            # depthwise: as many input as output channels; else those of the group before
            size = convolution.k // convolution.groups
            channel = start if convolution.depthwise else start // size * convolution.depth
        return [
            convolution.windows.source_fields(ring, channel)
            | {
                "in_groups": -(-channels // lanes.inputs),
                "in_lanes_last": channels - (-(-channels // lanes.inputs) - 1) * lanes.inputs,
            }
            for ring, channels in zip(rings, convolution.part_channels, strict=True)
        ]

    def fields(self, sources: list[dict[str, int]], w_base: int) -> dict[str, int]:
        """All fields of the run record but those of the output; ``w_base``: of the stream."""
        convolution, lanes = self.convolution, self.lanes
        block = convolution.blocks(lanes)[self.first % self.per_group]
        groups = self.groups()
        start = groups[0][0]
        channels = sum(width for _, width in groups)
        size = lanes.outputs if convolution.depthwise else convolution.k // convolution.groups
        step = lanes.outputs if convolution.depthwise else convolution.depth
        before = sum(map(len, convolution.stream(lanes)[: self.first]))
        dilation = convolution.windows.dilation
        return convolution.windows.run_fields() | {
            "op": isa.OP_DEPTHWISE if convolution.depthwise else isa.OP_MAC,
            "pad_value": convolution.pad,
            "tile_pixels": self.tile_pixels,
            "tiles": self.tiles,
            "parts": len(sources),
            "out_channels": channels,
            "done_channels": sum(width for _, width in self.done_groups()),
            "group_channels": size,
            "first_left": size - start % size,
            "group_step": step,
            "first_part": block.part,
            "first_group": block.group,
            "first_r": block.r,
            "first_s": block.s,
            "first_y": block.r * dilation[0],
            "first_x": block.s * dilation[1],
            "first_row": block.r * sources[block.part]["k_row_step"],
            "first_col": block.s * sources[block.part]["k_col_step"],
            "w_base": w_base + before,
            "passes": (self.last - self.first) * self.tiles,
        }


def random_convolution(
    rng: np.random.Generator, kind: str, parts: int = 1, most: int = 9, largest: int = 4
) -> Convolution:
    """A convolution of a kind: plain, parts (up to ``parts`` inputs), grouped, depthwise."""
    windows = random_windows(rng, largest)
    groups = int(rng.integers(2, 5)) if kind == "grouped" else 1
    if kind == "depthwise":
        k = c = groups = int(rng.integers(2, most + 4))
    else:
        k, c = (groups * int(rng.integers(1, 1 + -(-most // groups))) for _ in range(2))
    count = int(rng.integers(2, parts + 1)) if kind == "parts" else 1
    channels = [c, *(int(rng.integers(1, most)) for _ in range(count - 1))]
    rng.shuffle(channels)
    weights = rng.integers(-128, 128, (k, sum(channels) // groups, *windows.kernel))
    return Convolution(
        windows,
        tuple(random_tensor(rng, windows, n) for n in channels),
        weights,
        groups,
        kind == "depthwise",
        int(rng.integers(-128, 128)),
        rng.integers(-(2**17), 2**17, k),
        rng.integers(2**23, 2**24, k),
        rng.integers(30, 40, k),
    )


def random_runs(
    rng: np.random.Generator, convolution: Convolution, lanes: Lanes, pixels: int
) -> list[Run]:
    """RUNs that make up a convolution. They end inside output groups only where all pixels fit a
    tile of at most ``pixels``."""
    if convolution.depthwise:
        lanes = replace(lanes, inputs=1)
    windows = convolution.windows
    tile = int(rng.integers(1, pixels + 1))
    if rng.integers(0, 2) and windows.pixels <= pixels:
        tile = pixels
    one = tile >= windows.pixels
    per_group = len(convolution.blocks(lanes))
    total = per_group * len(convolution.output_groups(lanes))
    places = range(1, total) if one else range(per_group, total, per_group)
    count = min(len(places), int(rng.integers(0, 4)))
    cuts = sorted(int(v) for v in rng.choice(places, count, replace=False)) if count else []
    edges = [0, *cuts, total]
    return [Run(convolution, lanes, first, last, tile) for first, last in pairwise(edges)]
