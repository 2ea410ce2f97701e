"""fe_walker and fe_source: the walk over pixels of several tensors, marks, and addresses."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from cell import Cell, unpack
from windows import (
    RUN_BITS,
    SOURCE_BITS,
    Space,
    random_tensor,
    random_windows,
    record,
    sources_record,
)

from fragenv.rtl import isa

#: of addresses; a cycle in which none is asked for
LATENCY, PAUSE = 3, -1
pytestmark = pytest.mark.rtl
PARTS = 3
EXTENT = ("cols", "rows", "frames", "y0", "x0", "y_step", "x_step")


def _walker() -> Cell:
    controls = dict.fromkeys(("load_i", "step_i", "leave_i", "mark_i"), 1)
    return Cell(
        "fe_walker",
        {
            "clk_i": 1,
            **controls,
            "part_i": 2,
            "sources_i": SOURCE_BITS * PARTS,
            **{f"{name}_i": 16 for name in EXTENT},
        },
        {"row_o": 32, "col_o": 32, "frame_o": 32, "y_o": 16, "x_o": 16, "row_end_o": 1, "end_o": 1},
        Parts=PARTS,
        SourceBits=SOURCE_BITS,
    )


def _random_source(rng: np.random.Generator, stride: int) -> dict[str, int]:
    rows, row_bytes = int(rng.integers(1, 7)), int(rng.integers(1, 50))
    return {
        "ring": rows * row_bytes,
        "row0": int(rng.integers(0, rows)) * row_bytes,
        "row_step": stride % rows * row_bytes,
        "col0": -int(rng.integers(0, 9)),
        "col_step": int(rng.integers(1, 9)),
        "frame_step": int(rng.integers(0, 1000)),
    }


def test_walker__visits_the_pixels_of_all_parts_and_returns_to_marks() -> None:
    cell = _walker()
    rng = np.random.default_rng(3)
    marked = 0
    for _ in range(25):
        cols, rows, frames = (int(v) for v in rng.integers(1, 6, 3))
        stride = int(rng.integers(1, 4))
        sources = [_random_source(rng, stride) for _ in range(PARTS)]
        order = [(f, p, q) for f in range(frames) for p in range(rows) for q in range(cols)]
        extent = {"cols": cols, "rows": rows, "frames": frames, "y_step": stride, "x_step": 2}
        cell.set(**{f"{n}_i": v for n, v in (extent | {"y0": -2, "x0": -1}).items()})
        cell.set(sources_i=sources_record(sources), load_i=1, step_i=0)
        cell.tick()
        # positions in the order: where the walk stands, the marked pixel, what each part keeps
        position, mark, part = 0, 0, 0
        kept = [0] * PARTS
        first = True  # a part's walk begins at its mark
        for _ in range(3 * len(order)):
            if first:
                position, part = mark, int(rng.integers(0, PARTS))
            cell.set(load_i=0, part_i=part)
            cell.settle()
            f, p, q = order[position]
            source = sources[part]
            place = (source["row0"] + p * source["row_step"]) % source["ring"]
            assert cell.get("row_o") == place
            assert unpack(cell.get("col_o"), 32, 1) == [source["col0"] + q * source["col_step"]]
            assert cell.get("frame_o") == f * source["frame_step"]
            coordinates = unpack(cell.get("y_o") | cell.get("x_o") << 16, 16, 2)
            assert coordinates == [p * stride - 2, 2 * q - 1]
            assert cell.get("row_end_o") == int(q == cols - 1)
            assert cell.get("end_o") == int(position == len(order) - 1)
            step, leave = int(rng.integers(0, 4) > 0), int(rng.integers(0, 3) == 0)
            after = (position + 1) % len(order)
            # all parts have to have left at the same pixel before it becomes the mark
            others = {kept[i] for i in range(PARTS) if i != part}
            marks = int(bool(leave) and others == {after})
            cell.set(step_i=step, leave_i=leave, mark_i=marks)
            cell.tick()
            if step:
                position, first = after, bool(leave)
                kept[part] = after if leave else kept[part]
                mark = after if marks else mark
                marked += marks
                if leave and not marks:  # the other parts follow to the same pixel
                    _follow(cell, sources, part, mark, after, len(order), kept, rng)
    assert marked > 20


def _follow(
    cell: Cell,
    sources: list[dict[str, int]],
    part: int,
    mark: int,
    target: int,
    count: int,
    kept: list[int],
    rng: np.random.Generator,
) -> None:
    """Some of the other parts walk from the mark to where ``part`` left."""
    for other in range(PARTS):
        if other == part or rng.integers(0, 3) == 0:
            continue
        steps = (target - mark) % count or count
        for i in range(steps):
            cell.set(part_i=other, step_i=1)
            cell.set(leave_i=int(i == steps - 1), mark_i=0)
            cell.tick()
        kept[other] = target


def test_source__addresses_and_padding_of_window_elements_with_pauses() -> None:
    cell = Cell(
        "fe_source",
        {
            **dict.fromkeys(("clk_i", "load_i", "step_i"), 1),
            **{"leave_i": 1, "mark_i": 1, "part_i": 2, "k_y_i": 16, "k_x_i": 16},
            **{"k_row_i": 32, "k_pixel_i": 32},
            "run_i": RUN_BITS,
            "sources_i": SOURCE_BITS,
        },
        {"address_o": 32, "inside_o": 1, "row_end_o": 1, "end_o": 1},
        RunBits=RUN_BITS,
        SourceBits=SOURCE_BITS,
    )
    rng = np.random.default_rng(5)
    for _ in range(12):
        windows = random_windows(rng)
        space = Space(20000, rng)
        ring = windows.store(space, random_tensor(rng, windows, 2))
        fields = windows.source_fields(ring)
        cell.set(run_i=record(isa.RUN_FIELDS, windows.run_fields()))
        cell.set(sources_i=sources_record([fields]), load_i=1, step_i=0)
        cell.tick()
        cell.set(load_i=0)
        expected: deque[int | None] = deque()  # addresses, None in the padding, PAUSE where any
        for f, p, q in np.ndindex(windows.frames, windows.height, windows.width):
            last = q == windows.width - 1
            assert cell.get("row_end_o") == int(last)
            assert cell.get("end_o") == int(
                (f, p) == (windows.frames - 1, windows.height - 1) and last
            )
            for r, s in np.ndindex(windows.kernel):
                cell.set(k_y_i=r * windows.dilation[0], k_x_i=s * windows.dilation[1])
                cell.set(k_row_i=r * fields["k_row_step"], k_pixel_i=s * fields["k_col_step"] + 1)
                cell.set(step_i=0)
                while rng.integers(0, 3) == 0:
                    _tick(cell, expected, PAUSE)
                cell.set(step_i=int((r + 1, s + 1) == windows.kernel))
                _tick(cell, expected, windows.address(ring, (f, p, q, r, s), 1))
        cell.set(step_i=0)
        for _ in range(LATENCY):
            _tick(cell, expected, PAUSE)


def _tick(cell: Cell, expected: deque[int | None], asked: int | None) -> None:
    """A cycle in which an address is asked for; what was asked for before is compared."""
    cell.tick()
    expected.append(asked)
    if len(expected) == LATENCY:
        found = expected.popleft()
        if found != PAUSE:
            _compare(cell, found)


def _compare(cell: Cell, address: int | None) -> None:
    assert cell.get("inside_o") == int(address is not None)
    if address is not None:
        assert cell.get("address_o") == address
