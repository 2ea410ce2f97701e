"""The weight reader and the pool stage, driven by records."""

from __future__ import annotations

import numpy as np
import pytest
from cell import Cell, pack, unpack

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl
RUN_BITS = 64 * isa.field_words(isa.RUN_FIELDS)


def _record(**values: int) -> int:
    fields = dict.fromkeys((f.name for f in isa.RUN_FIELDS), 0) | values
    return pack(isa.pack(isa.RUN_FIELDS, fields), 64)


@pytest.mark.parametrize(("lanes_in", "lanes_out"), [(1, 3), (4, 2)])
def test_blocks__reads_the_stream_in_order_however_slowly_blocks_are_taken(
    lanes_in: int, lanes_out: int
) -> None:
    cell = Cell(
        "fe_blocks",
        {
            "clk_i": 1,
            "rst_ni": 1,
            "start_i": 1,
            "run_i": RUN_BITS,
            "block_taken_i": 1,
            "group_done_i": 1,
        },
        {
            "read_valid_o": 1,
            "read_address_o": 32,
            "is_constant_o": 1,
            "is_weight_o": 1,
            "bank_o": 1,
            "block_valid_o": 1,
            "block_o": 116,
            "idle_o": 1,
        },
        LanesIn=lanes_in,
        LanesOut=lanes_out,
    )
    rng = np.random.default_rng(lanes_in)
    for patience in (0, 0, 3, 9):
        k, c, r, s, tiles = (int(v) for v in rng.integers(1, 6, 5))
        groups = -(-c // lanes_in)
        reads: list[int] = []
        blocks: list[tuple[int, ...]] = []
        address = 1000
        for first in range(0, k, lanes_out):
            width = min(lanes_out, k - first)
            reads += [address + width * i for i in range(8)]
            address += 8 * width
            for tile in range(tiles):
                place = address
                for group in range(groups):
                    lanes = min(lanes_in, c - group * lanes_in)
                    for y in range(r):
                        for x in range(s):
                            reads += [place + width * i for i in range(lanes)]
                            place += width * lanes
                            begins = (group, y, x) == (0, 0, 0)
                            ends = (group, y, x) == (groups - 1, r - 1, s - 1)
                            last = ends and tile == tiles - 1
                            offset = 2 * x * 5 + group * lanes_in
                            blocks.append((lanes, offset, 70 * y, 2 * x, 3 * y, last, ends, begins))
            address = place
        passes = len(blocks)
        run = _record(
            w_base=1000,
            passes=passes,
            tiles=tiles,
            in_groups=groups,
            in_lanes_last=c - (groups - 1) * lanes_in,
            out_channels=k,
            k_rows=r,
            k_cols=s,
            k_y_step=3,
            k_x_step=2,
            k_row_step=70,
            k_col_step=10,
        )
        cell.set(run_i=run, start_i=1, block_taken_i=0, group_done_i=0)
        cell.tick()
        cell.set(start_i=0)
        seen_reads: list[int] = []
        seen_blocks: list[tuple[int, ...]] = []
        done = 0
        for _ in range(60 + 40 * passes * (lanes_in + 8 + patience)):
            cell.set(block_taken_i=0, group_done_i=done)
            cell.settle()
            take = cell.get("block_valid_o") and not rng.integers(0, patience + 1)
            cell.set(block_taken_i=int(take))
            cell.settle()
            done = 0
            if take:
                block = cell.get("block_o")
                parts = [(block >> low) & mask for low, mask in _BLOCK_FIELDS]
                seen_blocks.append(tuple(parts))
                done = parts[5]  # a group's end frees its set of constants
            if cell.get("read_valid_o"):
                seen_reads.append(cell.get("read_address_o"))
            cell.tick()
            if cell.get("idle_o") and not done:
                break
        cell.set(block_taken_i=0, group_done_i=0)
        assert seen_reads == reads
        assert seen_blocks == blocks


#: (lowest bit, mask): lanes, pixel, row, x, y, group_end, last, first
_BLOCK_FIELDS = (
    (0, 0xFFFF),
    (16, 0xFFFFFFFF),
    (48, 0xFFFFFFFF),
    (80, 0xFFFF),
    (96, 0xFFFF),
    (113, 1),
    (114, 1),
    (115, 1),
)


@pytest.mark.parametrize("op", [isa.OP_MAX, isa.OP_SUM])
def test_pool_stage__reduces_windows(op: int) -> None:
    lanes = 3
    cell = Cell(
        "fe_pool_stage",
        {"clk_i": 1, "rst_ni": 1, "start_i": 1, "run_i": RUN_BITS, "data_i": 8 * lanes},
        {
            "done_o": 1,
            "read_valid_o": 1,
            "read_address_o": 32,
            "write_valid_o": 1,
            "write_address_o": 32,
            "write_bytes_o": 16,
            "write_data_o": 8 * lanes,
        },
        Lanes=lanes,
    )
    rng = np.random.default_rng(op)
    for channels in (1, 3, 7):
        rows, cols, kernel, stride, pad = 6, 5, 3, 2, 1
        p, q = (rows + 2 * pad - kernel) // stride + 1, (cols + 2 * pad - kernel) // stride + 1
        x = rng.integers(-128, 128, (rows, cols, channels))
        border = -128 if op == isa.OP_MAX else 9
        padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)), constant_values=border)
        expected = np.zeros((p, q, channels), np.int64)
        for i in range(p):
            for j in range(q):
                window = padded[stride * i : stride * i + kernel, stride * j : stride * j + kernel]
                if op == isa.OP_MAX:
                    expected[i, j] = window.max(axis=(0, 1))
                else:  # a fourth of the sum, halves up
                    expected[i, j] = np.clip((window.sum(axis=(0, 1)) * 2 + 4) // 8, -128, 127)
        memory = np.zeros(400, np.int64)
        memory[10 : 10 + x.size] = x.reshape(-1)
        run = _record(
            op=op,
            pad_value=border,
            clamp_min=-128,
            clamp_max=127,
            in_rows=rows,
            in_cols=cols,
            src_base=10,
            src_ring=rows * cols * channels,
            src_row0=(-pad % rows) * cols * channels,
            src_row_step=stride * cols * channels,
            src_col0=-pad * channels,
            src_col_step=stride * channels,
            y0=-pad,
            x0=-pad,
            y_step=stride,
            x_step=stride,
            k_rows=kernel,
            k_cols=kernel,
            k_y_step=1,
            k_x_step=1,
            k_row_step=cols * channels,
            k_col_step=channels,
            cols=q,
            rows=p,
            frames=1,
            out_channels=channels,
            dst_base=5,
            dst_ring=p * q * channels,
            dst_row_step=q * channels,
            dst_col_step=channels,
            multiplier=2**23,
            shift=23 if op == isa.OP_MAX else 25,
        )
        cell.set(run_i=run, start_i=1)
        written = np.full(p * q * channels, 999)
        cycles = 0
        while True:
            cell.settle()
            read = cell.get("read_address_o") if cell.get("read_valid_o") else None
            if cell.get("write_valid_o"):
                place, count = cell.get("write_address_o") - 5, cell.get("write_bytes_o")
                written[place : place + count] = unpack(cell.get("write_data_o"), 8, lanes)[:count]
            if cell.get("done_o"):
                break
            cell.tick()
            cycles += 1
            cell.set(start_i=0)
            if read is not None:
                cell.set(data_i=pack(memory[read : read + lanes], 8))
        cell.tick()
        assert np.array_equal(written.reshape(p, q, channels), expected)
        assert cycles == p * q * -(-channels // lanes) * kernel**2 + 8
