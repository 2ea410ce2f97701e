"""Cycles of an array's RUN, from its release to its end, as the circuits have them.

The weight-stationary array takes weight blocks one after the other; the pixels of a tile pass once
per block. What may make a block wait, beside the pixels before it:

* its own rows of weights, one per cycle, and before an output group's first block the rows of its
  constants;
* one of the two sets of constants: until the group before the last one has left the accumulators;
* one of the two halves of the accumulators: until the tile before the last one has left.

``tests/rtl/test_cycles.py`` compares the circuits with the same rules.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

#: rows of requantisation constants before a group's first block
CONSTANT_ROWS = 8
#: from the release to the first row; from the issue of a pixel to its sums, beside the adder tree
_START, _SUM = 1, 11
#: from the last sum that is read to the last byte written and the end of the RUN
_WRITE = 12
_NEVER = -(10**9)


class _Tile(NamedTuple):
    """The last pixel tile: when its last block was taken, its pixels, when the sums of the tile
    before and its own are read."""

    taken: int
    pixels: int
    read_before: int
    read: int


def _after(tile: _Tile, ready: int, blocks: int, pixels: int, rows: int, latency: int) -> _Tile:
    """The tile after ``tile``, whose first block has its weights at ``ready``."""
    taken = max(ready, tile.taken + tile.pixels, tile.read_before + 1)
    taken += (blocks - 1) * max(pixels, rows)
    read = max(taken + pixels - 1 + latency, tile.read + 1) + pixels - 1
    return _Tile(taken, pixels, tile.read, read)


def _later(tile: _Tile, cycles: int) -> _Tile:
    return _Tile(tile.taken + cycles, tile.pixels, tile.read_before + cycles, tile.read + cycles)


def _group(
    tile: _Tile, ready: int, blocks: int, tiles: tuple[int, int, int], rows: int, latency: int
) -> tuple[_Tile, _Tile]:
    """The last tile of an output group and the one before it."""
    full, pixels, rest = tiles
    before, count = tile, full
    while count:
        now = _after(tile, ready, blocks, pixels, rows, latency)
        count -= 1
        step = now.taken - tile.taken
        if 0 < count < full - 1 and _later(tile, step) == now:  # it goes on like that
            now, count = _later(now, step * count), 0
            before = _later(now, -step)
        else:
            before = tile
        tile, ready = now, now.taken + rows
    if rest:
        before, tile = tile, _after(tile, ready, blocks, rest, rows, latency)
    return before, tile


def multiply_cycles(lanes_in: int) -> int:
    """From activations to sums: three registers, then one per two levels of the adder tree."""
    return 4 if lanes_in <= 2 else 3 + ((lanes_in - 1).bit_length() + 1) // 2


@lru_cache(maxsize=1 << 16)
def array_cycles(
    first: int, last: int, per_group: int, tiles: tuple[int, int, int], lanes_in: int, rows: int
) -> int:
    """Cycles of a RUN that nothing else hinders.

    Args:
        first, last: weight blocks [first, last) of the task.
        per_group: blocks of an output group; a RUN that ends inside a group leaves its sums.
        tiles: (full pixel tiles, pixels of each, pixels of the last one or 0).
        lanes_in: of the fragment.
        rows: of a weight block: ``lanes_in``, 1 where it is depthwise.
    """
    latency = _SUM + multiply_cycles(lanes_in)
    begins = first % per_group == 0
    ready = _START + (CONSTANT_ROWS if begins else 0) + rows
    end = min(last, first - first % per_group + per_group)
    tile = _Tile(0, 0, _NEVER, _NEVER)
    before, tile = _group(tile, ready, end - first, tiles, rows, latency)
    done = [_NEVER, tile.read]  # when the last two groups' sums are read
    number, count = end, (last - end) // per_group
    previous: _Tile | None = None
    while count or number < last:
        blocks = per_group if count else last - number
        ready = max(tile.taken, done[0] + 2) + CONSTANT_ROWS + rows
        start = tile
        before, tile = _group(start, ready, blocks, tiles, rows, latency)
        done = [done[1], tile.read]
        number, count = number + blocks, max(0, count - 1)
        step = tile.taken - start.taken
        alike = tile == _later(start, step) and done[1] - done[0] == step
        if count and alike and previous == _later(start, -step):  # it goes on like that
            tile, before = _later(tile, step * count), _later(before, step * count)
            done = [d + step * count for d in done]
            number, count = number + per_group * count, 0
        previous = start
    if last % per_group:
        return max(tile.taken + tile.pixels + latency, before.read + _WRITE)
    return tile.read + _WRITE
