"""fe_add against plain integers: all shifts, corners, bubbles."""

from __future__ import annotations

import numpy as np
import pytest
from arithmetic import added, random_addition
from cell import Cell, pack, unpack
from windows import RESIDUAL_BITS, record

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl
LANES = 3
#: cycles from valid_i to valid_o, as the cell documents
LATENCY = 6


def _cell() -> Cell:
    return Cell(
        "fe_add",
        {
            **dict.fromkeys(("clk_i", "rst_ni", "valid_i"), 1),
            **{"residual_i": RESIDUAL_BITS, "a_i": 8 * LANES, "b_i": 8 * LANES},
        },
        {"valid_o": 1, "data_o": 8 * LANES},
        Lanes=LANES,
        ResidualBits=RESIDUAL_BITS,
    )


def _check(cell: Cell, fields: dict[str, int], rng: np.random.Generator, corners: bool) -> None:
    cell.set(residual_i=record(isa.RESIDUAL_FIELDS, fields), valid_i=0)
    for _ in range(LATENCY + 1):
        cell.tick()
    due: dict[int, list[int]] = {}
    for cycle in range(40):
        valid = cycle < 40 - LATENCY and rng.integers(0, 4) > 0
        a, b = (
            rng.choice([-128, 127], (2, LANES)) if corners else rng.integers(-128, 128, (2, LANES))
        )
        cell.set(valid_i=int(valid), a_i=pack(a, 8), b_i=pack(b, 8))
        if valid:
            pairs = zip(a, b, strict=True)
            due[cycle + LATENCY] = [added(fields, int(u), int(v)) for u, v in pairs]
        cell.tick()
        wanted = due.get(cycle + 1)
        assert cell.get("valid_o") == int(wanted is not None)
        if wanted is not None:
            assert unpack(cell.get("data_o"), 8, LANES) == wanted


def test_add__all_shifts() -> None:
    cell = _cell()
    rng = np.random.default_rng(0)
    for shift in range(41):
        for _ in range(3):
            _check(cell, random_addition(rng, shift), rng, corners=False)


@pytest.mark.parametrize("shift", [0, 1, 24, 33, 39, 40])
def test_add__largest_sums(shift: int) -> None:
    cell = _cell()
    rng = np.random.default_rng(shift)
    for zero in (-128, 127):
        largest = {"multiplier_a": 2**24 - 1, "multiplier_b": 2**24 - 1, "shift": shift, "on": 1}
        limits = {"zero_a": zero, "zero_b": zero, "clamp_min": -128, "clamp_max": 127}
        _check(cell, {**largest, **limits, "out_zero": -zero}, rng, corners=True)
