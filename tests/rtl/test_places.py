"""fe_places: addresses and widths of a RUN's outputs, in both orders, taken at random."""

from __future__ import annotations

import numpy as np
import pytest
from cell import Cell
from windows import RUN_BITS, SOURCE_BITS, Space, random_windows, record

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl


def groups_of(total: int, left: int, size: int, lanes: int) -> list[tuple[int, int]]:
    """(first channel, channels) of the outputs of a pixel: ``total`` channels, the first ``left``
    of which end a group of the convolution, then groups of ``size``, ``lanes`` at a time."""
    result = []
    channel = 0
    while channel < total:
        count = min(lanes, left, total - channel)
        result.append((channel, count))
        channel += count
        left = left - count or size
    return result


@pytest.mark.parametrize("lanes", [1, 4])
def test_places__come_in_order(lanes: int) -> None:
    controls = ("clk_i", "rst_ni", "pixels_first_i", "load_i", "take_i")
    cell = Cell(
        "fe_places",
        {**dict.fromkeys(controls, 1), "run_i": RUN_BITS, "place_i": SOURCE_BITS},
        {"valid_o": 1, "address_o": 32, "bytes_o": 16, "idle_o": 1},
        Lanes=lanes,
        RunBits=RUN_BITS,
        SourceBits=SOURCE_BITS,
    )
    rng = np.random.default_rng(lanes)
    for case in range(60):
        windows = random_windows(rng)
        size = int(rng.integers(1, 10))
        left, total = int(rng.integers(1, size + 1)), int(rng.integers(0, 3 * size + 1))
        rows = windows.height + int(rng.integers(0, 2))
        ring = Space(100000, rng).ring(windows.frames, rows, windows.width, total + 3)
        row0, pixels_first = int(rng.integers(0, 5)), case % 2
        groups = groups_of(total, left, size, lanes)
        pixels = list(np.ndindex(windows.frames, windows.height, windows.width))
        order = (
            [(pixel, group) for group in groups for pixel in pixels]
            if pixels_first
            else [(pixel, group) for pixel in pixels for group in groups]
        )
        expected = [(ring.address(f, row0 + p, q, c), n) for (f, p, q), (c, n) in order]
        fields = {"done_channels": total, "first_left": left, "group_channels": size}
        run = record(isa.RUN_FIELDS, windows.run_fields() | fields)
        place = record(isa.SOURCE_FIELDS, ring.target(row0))
        cell.set(run_i=run, place_i=place, pixels_first_i=pixels_first, load_i=1, take_i=0)
        cell.tick()
        cell.set(load_i=0)
        seen: list[tuple[int, int]] = []
        haste = float(rng.choice([0.2, 0.7, 1.0]))
        for cycle in range(60 + 20 * len(expected)):
            if cell.get("idle_o"):
                break
            take = cell.get("valid_o") and rng.random() < haste
            if take:
                seen.append((cell.get("address_o"), cell.get("bytes_o")))
            if haste == 1 and cycle >= 2:
                assert take  # the first place comes 3 cycles after load_i, then one per cycle
            cell.set(take_i=int(take))
            cell.tick()
        assert cell.get("idle_o")
        assert not cell.get("valid_o")
        assert seen == expected
