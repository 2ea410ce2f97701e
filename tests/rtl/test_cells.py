"""Cells of the data path against numpy, cycle by cycle."""

from __future__ import annotations

import numpy as np
import pytest
from cell import Cell, pack, unpack

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
    for filled, half in enumerate((0, 1, 0, 1)):
        first = np.ones(pixels, bool)
        order = [*range(pixels), *rng.integers(0, pixels, 60), 3, 3, 5, 3, 3, 3]
        for pixel in order:
            sums = rng.integers(-(2**20), 2**20, lanes)
            while rng.integers(0, 5) == 0:  # a cycle without an addition
                cell.set(add_valid_i=0, sum_i=pack(late.pop(0), 32))
                cell.tick()
                late.append(rng.integers(-(2**20), 2**20, lanes))
            begins = bool(first[pixel]) or bool(rng.integers(0, 8) == 0)
            cell.set(add_valid_i=1, add_half_i=half, add_pixel_i=int(pixel))
            cell.set(add_first_i=int(begins), sum_i=pack(late.pop(0), 32))
            other = int(rng.integers(0, pixels))
            cell.set(read_valid_i=1, read_half_i=1 - half, read_pixel_i=other)
            cell.tick()
            model[half, pixel] = sums + (0 if begins else model[half, pixel])
            first[pixel] = False
            late.append(sums)
            if filled > half:  # the other half holds finished sums
                assert unpack(cell.get("data_o"), 32, lanes) == list(model[1 - half, other])
        cell.set(add_valid_i=0, read_valid_i=0)
        for sums in late:
            cell.set(sum_i=pack(sums, 32))
            cell.tick()


def test_walker__visits_pixels_in_order_with_ring_and_mark() -> None:
    names = ("cols", "rows", "frames", "y0", "x0", "y_step", "x_step")
    wide = ("ring", "row0", "row_step", "col0", "col_step", "frame_step")
    inputs = {"clk_i": 1, "load_i": 1, "step_i": 1, "back_i": 1, "mark_i": 1}
    inputs |= {f"{n}_i": 16 for n in names} | {f"{n}_i": 32 for n in wide}
    outputs = {"row_o": 32, "pixel_o": 32, "y_o": 16, "x_o": 16, "row_end_o": 1, "end_o": 1}
    cell = Cell("fe_walker", inputs, outputs)
    rng = np.random.default_rng(3)
    for _ in range(20):
        cols, rows, frames = (int(v) for v in rng.integers(1, 6, 3))
        ring_rows, row_bytes = int(rng.integers(1, 7)), int(rng.integers(1, 50))
        stride, first = int(rng.integers(1, 4)), int(rng.integers(0, ring_rows))
        values = {
            "cols": cols,
            "rows": rows,
            "frames": frames,
            "ring": ring_rows * row_bytes,
            "row0": first * row_bytes,
            "row_step": stride % ring_rows * row_bytes,
            "col0": -7,
            "col_step": 3,
            "frame_step": 1000,
            "y0": -2,
            "x0": -1,
            "y_step": stride,
            "x_step": 2,
        }
        cell.set(**{f"{n}_i": v for n, v in values.items()})
        cell.set(load_i=1, step_i=0, back_i=0, mark_i=0)
        cell.tick()
        cell.set(load_i=0, step_i=1)
        order = [(f, p, q) for f in range(frames) for p in range(rows) for q in range(cols)]
        mark = position = 0
        for _ in range(3 * len(order)):
            f, p, q = order[position]
            assert cell.get("row_o") == (first + p * stride) % ring_rows * row_bytes
            pixel = 1000 * f + 3 * q - 7
            assert unpack(cell.get("pixel_o"), 32, 1) == [pixel]
            coordinates = unpack(cell.get("y_o") | cell.get("x_o") << 16, 16, 2)
            assert coordinates == [p * stride - 2, 2 * q - 1]
            assert cell.get("row_end_o") == int(q == cols - 1)
            assert cell.get("end_o") == int(position == len(order) - 1)
            step, back, marks = (int(v) for v in rng.integers(0, 2, 3))
            cell.set(step_i=step, back_i=back, mark_i=marks)
            cell.tick()
            if step:
                position = mark if back else (position + 1) % len(order)
                mark = position if marks else mark
