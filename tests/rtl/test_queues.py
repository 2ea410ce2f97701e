"""The cells between the buffer's ports and their users: fe_port, fe_fetch, fe_rows, fe_widths."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from cell import Cell, declared
from ports import Ports, Reader
from test_places import groups_of
from windows import (
    RUN_BITS,
    SOURCE_BITS,
    Ring,
    Space,
    Windows,
    random_tensor,
    random_windows,
    record,
    sources_record,
)

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl


def _banks(address: int, count: int, rows: int, banks: int, page_rows: int) -> tuple[int, ...]:
    """(offset, banks of the first and of the next row, their indices), by fe_bank_address' header;
    rows of 8 bytes."""
    found = []
    for row in (address // 8, address // 8 + 1):
        page, inside = divmod(row, banks * page_rows)
        if page == rows // (banks * page_rows):  # the incomplete one
            bank, index = 2 * (inside // (2 * page_rows)) + inside % 2, inside // 2 % page_rows
        else:
            bank, index = (row + row // banks + row // banks**2) % banks, inside // banks
        found.append((1 << bank, page * page_rows + index))
    (first, first_index), (second, second_index) = found
    crosses = address % 8 + count > 8
    return address % 8, first, second if crosses else 0, first_index, second_index


@pytest.mark.parametrize("keeps", [0, 1])
def test_port__gives_accesses_in_order_decoded(keeps: int) -> None:
    banks, page_rows, pages = 4, 4, 3
    rows = 2 * banks * page_rows + 6
    cell = Cell(
        "fe_port",
        {
            **dict.fromkeys(("clk_i", "rst_ni", "valid_i", "grant_i"), 1),
            **{"address_i": 32, "bytes_i": 16, "more_i": 20},
        },
        {
            **dict.fromkeys(("ready_o", "valid_o", "idle_o", "follows_o"), 1),
            **{"offset_o": 3, "first_o": banks, "second_o": banks, "wants_o": banks},
            "first_index_o": 4,
            **{"second_index_o": 4, "bytes_o": 16, "more_o": 20},
        },
        RowBytes=8,
        Banks=banks,
        PageRows=page_rows,
        Pages=pages,
        Complete=0,
        IndexBits=4,
        Keeps=keeps,
        MoreBits=20,
    )
    rng = np.random.default_rng(0)
    inside: deque[tuple[int, int, int]] = deque()
    offered: tuple[int, int, int] | None = None
    moved = followed = address = 0
    last_row, left = -1, -1  # the last row of the access that left last, and when
    came = -1  # when the access that is out came
    for cycle in range(4000):
        haste = 0.8 if cycle // 50 % 2 else 0.3  # fuller and emptier by turns
        if offered is None and rng.random() < haste:
            count = int(rng.integers(1, 9))
            near = bool(rng.random() < 0.5)  # streams go on where they were
            address = address + count if near else int(rng.integers(0, 8 * rows))
            address = min(address, 8 * rows - count)
            offered = (address, count, int(rng.integers(0, 2**20)))
        grant = int(rng.random() < 1.1 - haste)
        cell.set(valid_i=int(offered is not None))
        if offered is not None:
            cell.set(address_i=offered[0], bytes_i=offered[1], more_i=offered[2])
        cell.set(grant_i=grant)
        cell.settle()
        assert cell.get("idle_o") == int(not inside)
        assert cell.get("valid_o") == int(bool(inside))
        assert cell.get("ready_o") == int(len(inside) < 2)
        if inside:
            start, count, more = inside[0]
            want = _banks(start, count, rows, banks, page_rows)
            follows = keeps and came == left and start // 8 == last_row
            assert cell.get("follows_o") == int(follows)
            followed += follows
            assert cell.get("wants_o") == (want[2] if follows else want[1] | want[2])
            names = ("offset_o", "first_o", "second_o", "first_index_o", "second_index_o")
            known = 5 if want[2] else 4  # the index of a row that is touched
            assert tuple(cell.get(name) for name in names)[:known] == want[:known]
            assert (cell.get("bytes_o"), cell.get("more_o")) == (count, more)
        takes = offered is not None and len(inside) < 2
        if grant and inside:
            start, count, _ = inside.popleft()
            last_row, left = (start + count - 1) // 8, cycle
        if takes:
            inside.append(offered)
            offered, moved = None, moved + 1
        if (len(inside) == 1 and (takes or left == cycle)) or (left == cycle and inside):
            came = cycle
        cell.tick()
    assert moved > 800
    assert (followed > 50) == bool(keeps)


class Fetch:
    """The cell, and the elements of all windows in their order."""

    def __init__(self, lanes: int) -> None:
        self.reader = Reader("read", lanes, "data_i", "data_valid_i")
        self.cell = Cell(
            "fe_fetch",
            {
                **dict.fromkeys(("clk_i", "rst_ni", "load_i", "step_i", "leave_i", "mark_i"), 1),
                **{"part_i": 2, "k_y_i": 16, "k_x_i": 16, "k_row_i": 32, "k_pixel_i": 32},
                **{"valid_i": 1, "tag_i": 12, "ready_i": 1},
                **{"run_i": RUN_BITS, "sources_i": SOURCE_BITS},
                **self.reader.inputs(),
            },
            {
                **dict.fromkeys(("end_o", "full_o", "valid_o", "is_data_o", "idle_o"), 1),
                **{"tag_o": 12, "data_o": 8 * lanes},
                **self.reader.outputs(),
            },
            Lanes=lanes,
            TagBits=12,
            RunBits=RUN_BITS,
            SourceBits=SOURCE_BITS,
        )

    def run(
        self, ports: Ports, windows: Windows, source: dict[str, int], haste: tuple[float, float]
    ) -> tuple[list[tuple[int, bytes | None]], list[int]]:
        """(tag, data or None for padding) of every element, and how many cycles each took."""
        cell, rng = self.cell, ports.random
        pixels = windows.frames * windows.height * windows.width
        elements = [(r, s) for _ in range(pixels) for r, s in np.ndindex(windows.kernel)]
        found: list[tuple[int, bytes | None]] = []
        asked: list[int] = []
        took: list[int] = []
        ports.settle(load_i=1, valid_i=0, step_i=0, leave_i=0, mark_i=0, part_i=0, ready_i=0)
        ports.tick()
        while len(found) < len(elements) and not ports.stuck:
            asks = len(asked) < len(elements) and rng.random() < haste[0] and not cell.get("full_o")
            ready = rng.random() < haste[1]
            r, s = elements[min(len(asked), len(elements) - 1)]
            last = (r + 1, s + 1) == windows.kernel
            ports.settle(
                load_i=0,
                valid_i=int(asks),
                tag_i=len(asked) % 4096,
                step_i=int(asks and last),
                k_y_i=r * windows.dilation[0],
                k_x_i=s * windows.dilation[1],
                k_row_i=r * source["k_row_step"],
                k_pixel_i=s * source["k_col_step"],
                ready_i=int(ready),
            )
            assert cell.get("idle_o") == int(len(asked) == len(found))
            if asks:
                asked.append(ports.cycle)
            if cell.get("valid_o") and ready:
                data = cell.get("data_o").to_bytes(self.reader.bytes, "little")
                took.append(ports.cycle - asked[len(found)])
                found.append((cell.get("tag_o"), data if cell.get("is_data_o") else None))
            ports.tick()
        return found, took


def _expected(windows: Windows, ring: Ring, memory: np.ndarray, lanes: int) -> list[bytes | None]:
    result: list[bytes | None] = []
    for f, p, q in np.ndindex(windows.frames, windows.height, windows.width):
        for r, s in np.ndindex(windows.kernel):
            at = windows.address(ring, (f, p, q, r, s), 0)
            result.append(None if at is None else memory[at : at + lanes].tobytes())
    return result


@pytest.mark.parametrize("stalls", [False, True])
def test_fetch__elements_in_order_with_their_tags(stalls: bool) -> None:
    lanes = 3
    fetch = Fetch(lanes)
    rng = np.random.default_rng(int(stalls))
    for case in range(20):
        windows = random_windows(rng)
        space = Space(30000, rng)
        ring = windows.store(space, random_tensor(rng, windows, lanes))
        source = windows.source_fields(ring)
        cell = fetch.cell
        cell.set(run_i=record(isa.RUN_FIELDS, windows.run_fields()))
        cell.set(sources_i=sources_record([source]))
        ports = Ports(cell, space.memory, (fetch.reader,), seed=case)
        fetch.reader.stalls = float(rng.choice([0.3, 0.8])) if stalls else 0.0
        haste = tuple(rng.choice([0.2, 1.0], 2)) if stalls else (1.0, 1.0)
        found, took = fetch.run(ports, windows, source, haste)
        expected = _expected(windows, ring, space.memory, lanes)
        assert found == [(i % 4096, data) for i, data in enumerate(expected)]
        least = 4 + declared("BufferLatency")
        assert min(took) >= least
        assert stalls or set(took) == {least}


def test_rows__are_shifted_when_the_block_before_them_is_in_use() -> None:
    lanes, depth = 2, 8
    cell = Cell(
        "fe_rows",
        {
            **dict.fromkeys(("clk_i", "rst_ni", "asked_i", "odd_i", "real_i", "swap_i"), 1),
            **{"data_valid_i": 1, "data_i": 8 * lanes, "load_i": 1, "rows_i": 16},
        },
        {"shift_o": 1, "row_o": 8 * lanes, "complete_o": 1},
        Lanes=lanes,
        Depth=depth,
    )
    rng = np.random.default_rng(3)
    parity = 0
    for rows in (1, 3, 4, 1, 5):
        blocks = 30
        cell.set(load_i=1, rows_i=rows, asked_i=0, swap_i=0, data_valid_i=0)
        cell.tick()
        cell.set(load_i=0)
        todo = [(block, i) for block in range(blocks) for i in range(rows)]
        asked = shifted = swapped = 0  # rows, rows, blocks
        coming: deque[int] = deque()  # data of rows that have some
        sent: list[int | None] = []
        there: list[bool] = []
        haste = rng.choice([0.2, 0.6, 1.0], 3)
        for _ in range(20000):
            chance = rng.random(3) < haste
            asks = asked < len(todo) and asked - shifted < depth and bool(chance[0])
            real = bool(rng.random() < 0.7)
            brings = bool(coming) and bool(chance[1])
            if brings:
                cell.set(data_i=coming.popleft())
                there[there.index(False)] = True
            if asks:
                data = int(rng.integers(0, 2 ** (8 * lanes))) if real else None
                sent.append(data)
                there.append(not real)
                if real:
                    coming.append(data)
                cell.set(odd_i=(todo[asked][0] + parity) % 2)
            cell.set(asked_i=int(asks), real_i=int(real), data_valid_i=int(brings), swap_i=0)
            cell.settle()
            complete = shifted == (swapped + 1) * rows
            assert cell.get("complete_o") == int(complete)
            swap = complete and bool(chance[2])
            cell.set(swap_i=int(swap))
            cell.settle()
            swapped += swap
            asked += asks
            allowed = shifted < asked and todo[shifted][0] <= swapped and there[shifted]
            assert cell.get("shift_o") == int(allowed)
            if allowed:
                if sent[shifted] is not None:
                    assert cell.get("row_o") == sent[shifted]
                shifted += 1
            cell.tick()
            if swapped == blocks:
                break
        assert swapped == blocks
        parity = (parity + blocks) % 2


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_widths__of_all_groups(lanes: int) -> None:
    names = ("clk_i", "load_i", "step_i")
    cell = Cell(
        "fe_widths",
        {**dict.fromkeys(names, 1), **dict.fromkeys(("total_i", "first_i", "group_i"), 16)},
        {"width_o": 16, "last_o": 1, "conv_end_o": 1},
        Lanes=lanes,
    )
    rng = np.random.default_rng(lanes)
    for _ in range(200):
        size = int(rng.integers(1, 20))
        first, total = int(rng.integers(1, size + 1)), int(rng.integers(1, 70))
        groups = groups_of(total, first, size, lanes)
        cell.set(total_i=total, first_i=first, group_i=size, load_i=1, step_i=0)
        cell.tick()
        for number in range(2 * len(groups)):  # after the last one it begins again
            start, width = groups[number % len(groups)]
            last = start + width == total
            assert cell.get("width_o") == width
            assert cell.get("last_o") == int(last)
            ends = start + width >= first and (start + width - first) % size == 0
            assert cell.get("conv_end_o") == int(ends and not last)
            cell.set(load_i=0, step_i=0)
            while rng.random() < 0.3:
                cell.tick()
                assert cell.get("width_o") == width
            cell.set(step_i=1)
            cell.tick()
