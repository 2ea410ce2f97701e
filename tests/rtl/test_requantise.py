"""fe_requantise against numpy integers."""

from __future__ import annotations

import numpy as np
import pytest
from cell import Cell, pack, unpack

LANES = 4


@pytest.mark.rtl
def test_requantise__equals_integer_arithmetic() -> None:
    cell = Cell(
        "fe_requantise",
        {
            "clk_i": 1,
            "rst_ni": 1,
            "valid_i": 1,
            "sum_i": 32 * LANES,
            "constants_i": 64 * LANES,
            "zero_i": 16,
            "min_i": 16,
            "max_i": 16,
        },
        {"valid_o": 1, "data_o": 8 * LANES},
        Lanes=LANES,
    )
    rng = np.random.default_rng(1)
    for shift in (0, 1, 23, 30, 40, 62):
        bias = rng.integers(-(2**20), 2**20, LANES)
        multiplier = rng.integers(2**23, 2**24, LANES)
        zero, low, high = (int(v) for v in (rng.integers(-128, 128), -100, 90))
        words = [
            int(b) & 0xFFFFFFFF | int(m) << 32 | shift << 56
            for b, m in zip(bias, multiplier, strict=True)
        ]
        cell.set(constants_i=pack(words, 64), zero_i=zero, min_i=low, max_i=high)
        scale = 2 ** min(30, max(1, shift - 17))
        expected: list[list[int]] = []
        seen: list[list[int]] = []
        for _ in range(60):
            sums = rng.integers(-scale, scale, LANES)
            valid = int(rng.integers(0, 2))
            if valid:
                scaled = [
                    ((int(s + b) * int(m) << 1) + (1 << shift)) >> (shift + 1)
                    for s, b, m in zip(sums, bias, multiplier, strict=True)
                ]
                expected.append([min(high, max(low, v + zero)) for v in scaled])
            cell.set(valid_i=valid, sum_i=pack(sums, 32))
            cell.tick()
            if cell.get("valid_o"):
                seen.append(unpack(cell.get("data_o"), 8, LANES))
        cell.set(valid_i=0)
        for _ in range(4):
            cell.tick()
            if cell.get("valid_o"):
                seen.append(unpack(cell.get("data_o"), 8, LANES))
        assert seen == expected
