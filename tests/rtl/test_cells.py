"""Cells of the data path against numpy, cycle by cycle."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import pytest
from cell import Cell, declared, pack, unpack

pytestmark = pytest.mark.rtl


def test_accumulator__adds_and_reads_at_once() -> None:
    lanes, pixels = 2, 8
    cell = Cell(
        "fe_accumulator",
        {
            "clk_i": 1,
            "rst_ni": 1,
            "add_valid_i": 1,
            "add_half_i": 1,
            "add_pixel_i": 3,
            "add_first_i": 1,
            "sum_i": 32 * lanes,
            "read_valid_i": 1,
            "read_half_i": 1,
            "read_pixel_i": 3,
        },
        {"data_o": 32 * lanes},
        Lanes=lanes,
        Pixels=pixels,
    )
    rng = np.random.default_rng(0)
    model = np.zeros((2, pixels, lanes), np.int64)
    late = [np.zeros(lanes, np.int64)] * 2  # sums come two cycles after their address
    reads: deque[list[int] | None] = deque([None] * (declared("AccumulatorRead") - 1))
    for filled, half in enumerate((0, 1, 0, 1)):
        first = np.ones(pixels, bool)
        order = [*range(pixels), *rng.integers(0, pixels, 60), 3, 3, 5, 3, 3, 3]
        for pixel in order:
            sums = rng.integers(-(2**20), 2**20, lanes)
            while rng.integers(0, 5) == 0:  # a cycle without an addition
                cell.set(add_valid_i=0, read_valid_i=0, sum_i=pack(late.pop(0), 32))
                cell.tick()
                late.append(rng.integers(-(2**20), 2**20, lanes))
                reads.append(None)
                _arrived(cell, reads.popleft(), lanes)
            begins = bool(first[pixel]) or bool(rng.integers(0, 8) == 0)
            cell.set(add_valid_i=1, add_half_i=half, add_pixel_i=int(pixel))
            cell.set(add_first_i=int(begins), sum_i=pack(late.pop(0), 32))
            other = int(rng.integers(0, pixels))
            cell.set(read_valid_i=1, read_half_i=1 - half, read_pixel_i=other)
            cell.tick()
            model[half, pixel] = sums + (0 if begins else model[half, pixel])
            first[pixel] = False
            late.append(sums)
            # the other half may hold finished sums
            reads.append(list(model[1 - half, other]) if filled > half else None)
            _arrived(cell, reads.popleft(), lanes)
        cell.set(add_valid_i=0, read_valid_i=0)
        for sums in late:
            cell.set(sum_i=pack(sums, 32))
            cell.tick()


def _arrived(cell: Cell, sums: list[int] | None, lanes: int) -> None:
    """The sums of a read are there; None: nothing was read."""
    if sums is not None:
        assert unpack(cell.get("data_o"), 32, lanes) == sums


@pytest.mark.parametrize("depth", [2, 16])
def test_fifo__keeps_the_order_and_lets_an_entry_pass_by(depth: int) -> None:
    cell = Cell(
        "fe_fifo",
        {"clk_i": 1, "rst_ni": 1, "push_i": 1, "data_i": 20, "ready_i": 1},
        {"valid_o": 1, "data_o": 20},
        Bits=20,
        Depth=depth,
    )
    rng = np.random.default_rng(depth)
    inside: deque[int] = deque()
    passed = full = 0
    for cycle in range(3000):
        haste = 0.8 if cycle // 100 % 2 else 0.2  # fuller and emptier by turns
        ready, data = bool(rng.random() > haste), int(rng.integers(0, 2**20))
        push = len(inside) < depth and bool(rng.random() < haste)
        cell.set(push_i=int(push), data_i=data, ready_i=int(ready))
        cell.settle()
        passed += push and ready and not inside
        if push:
            inside.append(data)
        full += len(inside) == depth
        assert cell.get("valid_o") == int(bool(inside))
        if inside:
            assert cell.get("data_o") == inside[0]
            if ready:
                inside.popleft()
        cell.tick()
    assert passed > 50
    assert full > 50


class Drained(NamedTuple):
    """A finished half: number of pixels, set of constants, whether it is the last of its group."""

    half: int
    pixels: int
    bank: int
    end: int


def test_drain__reads_halves_in_turns_where_there_is_room() -> None:
    lanes, pixels = 2, 8
    cell = Cell(
        "fe_drain",
        {
            **dict.fromkeys(("clk_i", "rst_ni", "room_i", "c_valid_i", "c_bank_i"), 1),
            **dict.fromkeys(("finish_valid_i", "finish_half_i", "finish_bank_i"), 1),
            **{"finish_end_i": 1, "finish_pixel_i": 3, "c_data_i": 8 * lanes},
        },
        {
            **dict.fromkeys(("group_done_o", "busy_o", "read_valid_o", "read_half_o"), 1),
            **{"valid_o": 1, "half_free_o": 2, "read_pixel_o": 3, "constants_o": 64 * lanes},
        },
        Lanes=lanes,
        Pixels=pixels,
    )
    rng = np.random.default_rng(4)
    constants = [0, 0]
    for bank in (0, 1):
        rows = rng.integers(0, 256, (8, lanes))
        constants[bank] = pack([pack(rows[:, lane], 8) for lane in range(lanes)], 64)
        for row in rows:
            cell.set(c_valid_i=1, c_bank_i=bank, c_data_i=pack(row, 8), finish_valid_i=0, room_i=0)
            cell.tick()
    cell.set(c_valid_i=0)
    pending: deque[Drained] = deque()
    half = position = read = 0
    # what was read in the cycles before, the latest last
    before: deque[Drained | None] = deque([None] * declared("AccumulatorRead"))
    gives_back = False  # the last read was the last one of an output group
    for _ in range(3000):
        room = int(rng.integers(0, 3) > 0)
        finish = len(pending) < 2 and rng.integers(0, 4) == 0
        new = Drained(half, int(rng.integers(1, pixels + 1)), *map(int, rng.integers(0, 2, 2)))
        cell.set(finish_valid_i=int(finish), finish_half_i=half, finish_bank_i=new.bank)
        cell.set(finish_end_i=new.end, finish_pixel_i=new.pixels - 1, room_i=room)
        cell.settle()
        now = pending[0] if pending and room else None
        assert cell.get("read_valid_o") == int(now is not None)
        assert cell.get("busy_o") == int(bool(pending) or any(before))
        assert cell.get("group_done_o") == int(gives_back)
        arrives = before.popleft()
        assert cell.get("valid_o") == int(arrives is not None)
        if arrives is not None:
            assert cell.get("constants_o") == constants[arrives.bank]
        frees = now is not None and position + 1 == now.pixels
        gives_back = bool(now and frees and now.end)
        assert cell.get("half_free_o") == (1 << now.half if now and frees else 0)
        if now is not None:
            assert (cell.get("read_half_o"), cell.get("read_pixel_o")) == (now.half, position)
            position = 0 if frees else position + 1
            read += 1
            if frees:
                pending.popleft()
        before.append(now)
        if finish:
            pending.append(new)
            half = 1 - half
        cell.tick()
    assert read > 500
