"""fe_lrn and its tables: exact against integers of Python, close to real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from math import log2

import numpy as np
import pytest
from cell import Cell, pack, unpack
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fragenv.rtl.lrn_tables import exp_table, log_table, tables_include
from fragenv.verify.build import cells_folder

LANES = 3
#: cycles from valid_i to valid_o, as the cell documents
LATENCY = 15


@dataclass(frozen=True)
class Constants:
    """offset, beta with 16 and gain with 20 binary digits."""

    offset: int
    beta: int
    gain: int


@lru_cache(maxsize=1)
def _points() -> tuple[list[int], list[int]]:
    """Both tables from decimal arithmetic of 40 digits."""
    with localcontext() as context:
        context.prec = 40
        step = Decimal(1) / 256
        logs = [(1 + i * step).ln() / Decimal(2).ln() for i in range(257)]
        powers = [(i * step * Decimal(2).ln()).exp() for i in range(257)]
        return [round(v * 2**20) for v in logs], [round(v * 2**23) for v in powers]


def expected(constants: Constants, total: int) -> tuple[int, int]:
    """(shift, multiplier) of one lane."""
    logs, powers = _points()
    u = constants.offset + total
    whole = u.bit_length() - 1
    fraction = (u << 20 >> whole) - (1 << 20)
    i, d = divmod(fraction, 4096)
    logarithm = (whole << 20) + logs[i] + ((logs[i + 1] - logs[i]) * d >> 12)
    power = constants.gain - (constants.beta * logarithm >> 16)
    exponent, rest = divmod(power, 1 << 20)
    i, d = divmod(rest, 4096)
    multiplier = powers[i] + ((powers[i + 1] - powers[i]) * d >> 12)
    return min(62, 23 - exponent), multiplier


def test_tables__are_rounded_correctly() -> None:
    assert (log_table(), exp_table()) == _points()


def test_tables__are_those_of_the_include_file() -> None:
    assert (cells_folder() / "fe_lrn_tables.svh").read_text() == tables_include()


@lru_cache(maxsize=2)
def _cell(beta_bits: int) -> Cell:
    return Cell(
        "fe_lrn",
        {
            "clk_i": 1,
            "rst_ni": 1,
            "valid_i": 1,
            "sum_i": 24 * LANES,
            "offset_i": 40,
            "beta_i": 32,
            "gain_i": 32,
        },
        {"valid_o": 1, "shift_o": 8 * LANES, "multiplier_o": 24 * LANES},
        Lanes=LANES,
        BetaBits=beta_bits,
    )


def _run(cell: Cell, constants: Constants, totals: Sequence[int], gaps: int = 0) -> None:
    """Every total through each lane, a vector per cycle but for the gaps."""
    cell.set(offset_i=constants.offset, beta_i=constants.beta, gain_i=constants.gain)
    padded = [*totals, *[0] * (-len(totals) % LANES)]
    vectors = [padded[i : i + LANES] for i in range(0, len(padded), LANES)]
    rng = np.random.default_rng(gaps)
    due: dict[int, list[tuple[int, int]]] = {}
    cycle = 0
    while vectors or due:
        valid = bool(vectors) and not (gaps and rng.integers(0, gaps))
        cell.set(valid_i=int(valid))
        if valid:
            vector = vectors.pop(0)
            cell.set(sum_i=pack(vector, 24))
            due[cycle + LATENCY] = [expected(constants, total) for total in vector]
        cell.tick()
        cycle += 1
        assert cell.get("valid_o") == int(cycle in due)
        if cycle in due:
            shifts = unpack(cell.get("shift_o"), 8, LANES, signed=False)
            multipliers = unpack(cell.get("multiplier_o"), 24, LANES, signed=False)
            assert list(zip(shifts, multipliers, strict=True)) == due.pop(cycle)


#: around every power of two, both ends of the range
CORNERS = sorted(
    {max(0, min(2**24 - 1, (1 << p) + d)) for p in range(25) for d in (-2, -1, 0, 1, 2)}
)


@pytest.mark.rtl
@pytest.mark.parametrize("offset", [1, 2, 2**20 - 1, 2**24, 2**39, 2**40 - 1])
def test_lrn__corners(offset: int) -> None:
    for beta in (0, 1, 49152, 2**16, 2**18 - 1):
        for gain in (23 << 20, (23 << 20) - 1, 0, -1, -(39 << 20), -(2**31)):
            _run(_cell(18), Constants(offset, beta, gain), CORNERS)


@pytest.mark.rtl
def test_lrn__every_interval_of_both_tables() -> None:
    """Fractions sweep the logarithm's table; a beta of 1 then sweeps the power's table too."""
    rng = np.random.default_rng(0)
    totals = [(256 + i) * 2**15 + d for i in range(256) for d in (0, 1, 2**15 - 1)]
    totals += [int(v) for v in rng.integers(0, 2**24, 3000)]
    for gain in (0, 12345, -(20 << 20)):
        _run(_cell(18), Constants(1, 2**16, gain), totals)
    _run(_cell(18), Constants(1, 2**16, 777), totals[:300], gaps=3)


@pytest.mark.rtl
@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 2**40 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**31), (24 << 20) - 1),
    st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=40),
)
def test_lrn__any_beta_where_the_cell_has_the_bits(
    offset: int, beta: int, gain: int, totals: list[int]
) -> None:
    _run(_cell(32), Constants(offset, beta, gain), totals)


@settings(deadline=None, max_examples=200)
@given(
    st.floats(2.0**-8, 1.0),
    st.floats(0.5, 2.0),
    st.sampled_from([1e-4, 1e-3, 2e-5, 0.05, 1.0]),
    st.sampled_from([0.5, 0.75, 1.0]),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from([3, 5]),
    st.integers(0, 2**32),
)
def test_arithmetic__is_within_one_unit_of_real_numbers(
    scale: float, ratio: float, alpha: float, beta: float, bias: float, size: int, seed: int
) -> None:
    """The whole integer normalisation against float64, rounded at the very end. An offset that is
    rounded to an integer is wrong by up to half of one part in ``offset``, a result then by up to
    ``rounding`` units; below 128 a result may differ by more than one unit. The rest is exact to 17
    bits: only what lies that close to the middle between two integers is rounded to the other."""
    offset = round(bias * size / (alpha * scale**2))
    assume(128 <= offset < 2**40)
    rounding = 127 * beta / (2 * offset)
    rng = np.random.default_rng(seed)
    zero, zero_out = (int(v) for v in rng.integers(-128, 128, 2))
    x = rng.integers(-128, 128, (400, 16)) - zero
    wanted = _normalise(x * scale, size, alpha, beta, bias)
    out_scale = ratio * float(np.abs(wanted).max()) / 127
    gain = round(2**20 * log2(scale / out_scale * (alpha * scale**2 / size) ** -beta))
    constants = Constants(offset, round(beta * 2**16), gain)
    found = _integer(x, size, constants, zero_out)
    real = wanted / out_scale
    rounded = np.clip(np.floor(real + 0.5) + zero_out, -128, 127)
    assert np.abs(found - rounded).max() <= 1
    from_middle = np.abs(real - np.floor(real) - 0.5)
    assert from_middle[found != rounded].max(initial=0) <= rounding + 127 * 2.0**-17


def _window(channel: int, channels: int, size: int) -> slice:
    """The window of ONNX's LRN, cut at the ends."""
    return slice(max(0, channel - (size - 1) // 2), min(channels, channel + size // 2 + 1))


def _normalise(x: np.ndarray, size: int, alpha: float, beta: float, bias: float) -> np.ndarray:
    """ONNX's LRN in float64 for values of (n, channels)."""
    windows = (_window(c, x.shape[1], size) for c in range(x.shape[1]))
    sums = np.stack([(x[:, w] ** 2).sum(axis=1) for w in windows], axis=1)
    result: np.ndarray = x * (bias + alpha / size * sums) ** -beta
    return result


def _integer(x: np.ndarray, size: int, constants: Constants, zero: int) -> np.ndarray:
    result = np.zeros_like(x)
    for channel in range(x.shape[1]):
        sums = (x[:, _window(channel, x.shape[1], size)] ** 2).sum(axis=1)
        for n, total in enumerate(sums):
            shift, multiplier = expected(constants, int(total))
            half = 1 << shift >> 1
            value = (int(x[n, channel]) * multiplier + half >> shift) + zero
            result[n, channel] = max(-128, min(127, value))
    return result
