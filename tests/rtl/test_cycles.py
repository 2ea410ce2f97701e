"""Cycles of a record where nothing stalls, from start_i to done_o.

The rules here are those of the cells' pipelines, stated again: a recurrence over the pixel tiles
of the output groups, whose sums go to the two halves of the accumulators in turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from arithmetic import random_addition
from convolution import Convolution, Lanes, Run
from test_fragment import Fields, Fragment
from windows import Space, Windows, random_windows_over, run_target

from fragenv.hardware import timing
from fragenv.hardware.array_timing import array_cycles as planned_cycles
from fragenv.rtl import isa

pytestmark = pytest.mark.rtl
PIXELS = 256
CONSTANT_ROWS = 8
#: from the last read of the accumulators to done_o: read, requantiser, write, done
WRITE = 11
ADD = 6


def sum_latency(lanes_in: int) -> int:
    """Cycles from the issue of a pixel to the cycle in which its sum can be read."""
    levels = (lanes_in - 1).bit_length()
    multiply = 4 if lanes_in <= 2 else 3 + -(-levels // 2)
    return 4 + multiply + 7


@dataclass(frozen=True)
class Tile:
    """``blocks`` weight blocks over ``pixels`` pixels; whether an output group begins with it."""

    begins: bool
    blocks: int
    pixels: int


def tiles_of(run: Run) -> list[Tile]:
    """What a RUN does, in its order."""
    windows, size = run.convolution.windows, run.tile_pixels
    length = windows.pixels
    pixels = [min(size, length - i) for i in range(0, length, size)]
    result = []
    for start in range(run.first - run.first % run.per_group, run.last, run.per_group):
        blocks = min(run.last, start + run.per_group) - max(run.first, start)
        for number, count in enumerate(pixels):
            result.append(Tile(number == 0 and start >= run.first, blocks, count))
    return result


def array_cycles(run: Run, lanes_in: int, added: bool) -> int:
    """The recurrence. ``take``: the cycle in which the first pixel of a block is issued; ``reads``:
    in which the last sum of each tile is read."""
    rows, latency, tiles = run.lanes.inputs, sum_latency(lanes_in), tiles_of(run)
    take = before = 0
    reads: list[int] = []
    group_reads: list[int] = []  # the last ones of each group
    for number, tile in enumerate(tiles):
        wait = CONSTANT_ROWS if tile.begins else 0  # the group's constants come before the block
        if number == 0:
            take = 1 + wait + rows
        else:
            weights = take + wait + rows
            if tile.begins:
                group_reads.append(reads[-1])
                if len(group_reads) > 1:  # there are two sets of constants
                    weights = max(weights, group_reads[-2] + 2 + wait + rows)
            take = max(weights, take + before)
            if number > 1:  # there are two halves
                take = max(take, reads[-2] + 1)
        take += (tile.blocks - 1) * max(tile.pixels, rows)
        before = tile.pixels
        start = take + before - 1 + latency
        reads.append(max(start, reads[-1] + 1 if reads else 0) + before - 1)
    tail = WRITE + (ADD if added else 0)
    if run.last % run.per_group == 0:
        return reads[-1] + tail
    end = take + before - 1 + latency  # the sums stay
    return max(end, reads[-2] + tail) if len(reads) > 1 else end


@lru_cache(maxsize=8)
def fragment(lanes: Lanes, lrn: bool = False) -> Fragment:
    return Fragment(lanes, PIXELS, 1, HasLrn=int(lrn))


def _tensor(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-128, 128, shape)


def _random_run(rng: np.random.Generator, lanes: Lanes) -> Run:
    """A RUN whose pixels may be few or fill the accumulators several times."""
    rows, cols = int(rng.integers(1, 6)), int(rng.choice([1, 2, 5, 14, 100, 256, 300]))
    kernel = (1, 1) if rows * cols > 80 else (int(rng.integers(1, 4)), 1)
    depthwise = bool(rng.integers(0, 4) == 0)
    k = int(rng.integers(1, 5 * lanes.outputs + 1))
    c = k if depthwise else int(rng.integers(1, 3 * lanes.inputs + 1))
    groups = k if depthwise else 1
    one = (1, 1)
    windows = Windows(1, rows, cols, kernel, one, (1, 0), one, (0, rows), (0, cols))
    weights = _tensor(rng, k, c // groups, *kernel)
    zeros = np.zeros(k, np.int64)
    inputs = (_tensor(rng, 1, rows, cols, c),)
    convolution = Convolution(windows, inputs, weights, groups, depthwise, 0, zeros, zeros, zeros)
    if depthwise:
        lanes = Lanes(1, lanes.outputs)
    # the tiles of the schedule: as even as they can be
    tile = -(-windows.pixels // -(-windows.pixels // PIXELS))
    total = len(convolution.blocks(lanes)) * len(convolution.output_groups(lanes))
    return Run(convolution, lanes, 0, total, tile)


@pytest.mark.parametrize("lanes", [Lanes(1, 2), Lanes(4, 3), Lanes(18, 2)])
def test_array__cycles_without_stalls(lanes: Lanes) -> None:
    rng = np.random.default_rng(lanes.inputs)
    cell = fragment(lanes)
    for _ in range(20):
        run = _random_run(rng, lanes)
        convolution, space = run.convolution, Space(400000, rng)
        rings = tuple(convolution.windows.store(space, x) for x in convolution.inputs)
        w_base = space.put(b"".join(convolution.stream(run.lanes)))
        shape = (1, convolution.windows.height, convolution.windows.width, convolution.k)
        target, other = (space.ring(*shape) for _ in range(2))
        sources = run.source_fields(rings)
        residual = random_addition(rng) | other.target(0) if rng.integers(0, 2) else {}
        cuts = [0, run.last]
        if run.tiles == 1 and run.last > 1:
            cuts.insert(1, int(rng.integers(1, run.last)))
        ports = cell.on(space.memory, 0)
        for first, last in pairwise(cuts):
            part = Run(convolution, run.lanes, first, last, run.tile_pixels)
            channel = part.groups()[0][0]
            fields = part.fields(sources, w_base) | run_target(target, 0, channel)
            cycles = cell.follow(ports, fields, sources, residual)
            assert cycles == array_cycles(part, lanes.inputs, bool(residual)), (first, last)
            if not residual:  # a command ends with the cycle after done_o
                tiles = timing.pixel_tiles(convolution.windows.pixels)
                blocks = (first, last, run.per_group)
                planned = planned_cycles(*blocks, tiles, lanes.inputs, run.lanes.inputs)
                assert cycles + 1 == planned, (first, last)


def _window_case(
    rng: np.random.Generator, channels: int, normalises: bool
) -> tuple[Windows, Fields]:
    rows, cols = (int(v) for v in rng.integers(1, 9, 2))
    windows = random_windows_over(rng, 1, rows, cols)
    run = {"op": isa.OP_MAX, **windows.run_fields()}
    if normalises:
        one = (1, 1)
        windows = Windows(1, rows, cols, one, one, (0, 0), one, (0, rows), (0, cols))
        run = {"op": isa.OP_LRN, **windows.run_fields()}
        run |= {"k_cols": int(rng.integers(2, 6)), "k_x_step": 0, "w_base": 1}
    run |= dict.fromkeys(("out_channels", "done_channels"), channels)
    return windows, run | dict.fromkeys(("group_channels", "first_left"), channels)


def test_window_operations__cycles_without_stalls() -> None:
    """One element per cycle, then the pipeline: 20 cycles; 15 more for a normalisation; 15 more for
    an addition, whose tensor is fetched first."""
    lanes = 3
    cell = fragment(Lanes(1, lanes), lrn=True)
    rng = np.random.default_rng(0)
    for case in range(24):
        normalises, adds = case % 3 == 0, bool(case % 2)
        channels = int(rng.integers(1, 3 * lanes))
        windows, run = _window_case(rng, channels, normalises)
        space = Space(40000, rng)
        ring = space.ring(1, windows.in_rows, windows.in_cols, channels)
        target, other = (space.ring(1, windows.height, windows.width, channels) for _ in range(2))
        residual = random_addition(rng) | other.target(0) if adds else {}
        ports = cell.on(space.memory, 0)
        source = windows.source_fields(ring) | ({"k_col_step": 1} if normalises else {})
        cycles = cell.follow(ports, run | run_target(target, 0), [source], residual)
        elements = windows.pixels * -(-channels // lanes) * run["k_rows"] * run["k_cols"]
        assert cycles == elements + 20 + 15 * normalises + 15 * adds
