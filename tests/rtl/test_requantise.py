"""fe_requantise against integer arithmetic."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from cell import Cell, pack, unpack

LANES = 4
pytestmark = pytest.mark.rtl


def requantise() -> Cell:
    return Cell(
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


class Bench:
    """Feeds lanes of (sum, bias, multiplier, shift), new constants in every cycle."""

    def __init__(self, zero: int, low: int, high: int) -> None:
        self.cell, self.zero, self.low, self.high = requantise(), zero, low, high
        self.cell.set(zero_i=zero, min_i=low, max_i=high, valid_i=0)
        self.expected: list[list[int]] = []
        self.seen: list[list[int]] = []

    def feed(self, lanes: Iterable[tuple[int, int, int, int]]) -> None:
        lanes = list(lanes)
        words = [b & 0xFFFFFFFF | m << 32 | s << 56 for _, b, m, s in lanes]
        # floor(x / 2^s + 1/2), in integers
        scaled = [((a + b) * m * 2 + (1 << s)) >> (s + 1) for a, b, m, s in lanes]
        self.expected.append([min(self.high, max(self.low, v + self.zero)) for v in scaled])
        self.cell.set(
            valid_i=1, sum_i=pack([a for a, *_ in lanes], 32), constants_i=pack(words, 64)
        )
        self.tick()

    def tick(self) -> None:
        self.cell.tick()
        self.cell.set(valid_i=0, sum_i=0, constants_i=0)
        if self.cell.get("valid_o"):
            self.seen.append(unpack(self.cell.get("data_o"), 8, LANES))

    def finish(self) -> None:
        for _ in range(12):
            self.tick()
        assert self.seen == self.expected


@pytest.mark.parametrize("shift", [0, 1, 7, 8, 23, 30, 40, 62])
def test_requantise__equals_integer_arithmetic(shift: int) -> None:
    rng = np.random.default_rng(shift)
    bench = Bench(int(rng.integers(-128, 128)), -100, 90)
    scale = 2 ** min(30, max(1, shift - 17))
    for _ in range(200):
        bench.feed(
            (
                int(rng.integers(-scale, scale)),
                int(rng.integers(-(2**8), 2**8)),
                int(rng.integers(2**23, 2**24)),
                shift,
            )
            for _ in range(LANES)
        )
        if rng.integers(0, 2):
            bench.tick()
    bench.finish()


def test_requantise__extremes_and_halves() -> None:
    bench = Bench(-32768, -128, 127)
    ends = (-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1)
    for total in ends:
        for multiplier in (0, 1, 2**23, 2**24 - 1):
            bench.feed((total, 0, multiplier, s) for s in (0, 17, 37, 62))
            bench.feed((0, total, multiplier, s) for s in (1, 31, 55, 61))
    bench.finish()
    halves = Bench(0, -128, 127)
    for numerator in range(-300, 300):  # quarters and halves, both signs
        halves.feed((numerator, 0, 1, s) for s in (1, 2, 3, 5))
        halves.feed((numerator, -7, 3, s) for s in (1, 2, 8, 9))
    halves.finish()


def test_requantise__limits_hold_for_every_zero_point() -> None:
    """A large quotient is limited before the zero point is added, and stays beyond the limits."""
    for zero in (-32768, -1, 0, 32767):
        bench = Bench(zero, -128, 127)
        for total in (-(2**31), -(2**18), -(2**17), -(2**16), 2**16, 2**17 - 1, 2**17, 2**31 - 1):
            bench.feed((total, 0, 1, s) for s in (0, 1, 2, 3))
        bench.finish()
