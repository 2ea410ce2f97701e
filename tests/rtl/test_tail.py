"""fe_tail against plain integers: outputs that arrive late, residuals, a writer that stalls."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from arithmetic import added, random_addition, random_limits, requantised
from cell import Cell, pack
from ports import Ports, Reader, Writer
from test_places import groups_of
from windows import (
    RESIDUAL_BITS,
    RUN_BITS,
    SOURCE_BITS,
    Space,
    random_windows,
    record,
    run_target,
)

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl


def _feed(
    ports: Ports, vectors: list[tuple[int, int]], rng: np.random.Generator, lanes: int
) -> None:
    """Starts an output where there is room; each arrives, in order, at a random time later."""
    cell = ports.cell
    latest = int(rng.choice([1, 3, 20]))
    haste = float(rng.choice([0.3, 1.0]))
    under_way: deque[tuple[int, int, int]] = deque()
    waiting = deque(vectors)
    while not ports.stuck:
        arrives = bool(under_way) and under_way[0][0] <= ports.cycle
        inputs = {"load_i": 0, "reserve_i": 0, "valid_i": int(arrives)}
        garbage = ports.random.getrandbits(64 * lanes)
        sums, constants = under_way.popleft()[1:] if arrives else (garbage, garbage)
        ports.settle(**inputs, sums_i=sums, constants_i=constants)
        start = bool(waiting) and cell.get("room_o") and rng.random() < haste
        if start:
            last = under_way[-1][0] if under_way else 0
            due = max(last, ports.cycle) + 1 + int(rng.integers(0, latest))
            under_way.append((due, *waiting.popleft()))
            ports.moved = ports.cycle
        cell.set(reserve_i=int(start))
        idle = cell.get("idle_o")
        ports.tick()
        if idle:
            break
    assert not waiting
    assert not under_way


@pytest.mark.parametrize(("lanes", "has_residual"), [(3, True), (2, False)])
def test_tail__writes_what_arrives(lanes: int, has_residual: bool) -> None:
    reader = Reader("r_read", lanes, "r_data_i", "r_valid_i")
    writer = Writer(lanes, watched=True)
    controls = ("clk_i", "rst_ni", "pixels_first_i", "load_i", "reserve_i", "valid_i")
    cell = Cell(
        "fe_tail",
        {
            **dict.fromkeys(controls, 1),
            **{"run_i": RUN_BITS, "residual_i": RESIDUAL_BITS},
            **{"sums_i": 32 * lanes, "constants_i": 64 * lanes},
            **reader.inputs(),
            **writer.inputs(),
        },
        {"room_o": 1, "idle_o": 1, **reader.outputs(), **writer.outputs()},
        Lanes=lanes,
        HasResidual=int(has_residual),
        RunBits=RUN_BITS,
        SourceBits=SOURCE_BITS,
        ResidualBits=RESIDUAL_BITS,
    )
    rng = np.random.default_rng(lanes)
    for case in range(40):
        windows = random_windows(rng, 6)
        total = int(rng.integers(0, 3 * lanes))
        shape = (windows.frames, windows.height, windows.width, total)
        space = Space(40000, rng)
        target, other = (space.ring(*shape[:3], max(1, total)) for _ in range(2))
        b = rng.integers(-128, 128, shape)
        space.fill(other, b, (0, windows.height))
        sums = rng.integers(-(2**20), 2**20, shape)
        constants = [
            (int(v) & 0xFFFFFFFF) | int(m) << 32 | int(s) << 56
            for v, m, s in rng.integers(
                (-(2**20), 2**23, 34), (2**20, 2**24, 40), (max(1, total), 3)
            )
        ]
        fields = random_limits(rng) | {"done_channels": total}
        fields |= {"first_left": max(1, total), "group_channels": max(1, total)}
        addition = random_addition(rng) | {"on": int(has_residual and case % 3 > 0)}
        expected = np.zeros(shape, np.int64)
        for index in np.ndindex(shape):
            value = requantised(int(sums[index]), constants[index[-1]], fields)
            expected[index] = added(addition, value, int(b[index])) if addition["on"] else value
        groups = groups_of(total, max(1, total), max(1, total), lanes)
        pixels = list(np.ndindex(shape[:3]))
        pairs = (
            [(pixel, group) for group in groups for pixel in pixels]
            if case % 2
            else [(pixel, group) for pixel in pixels for group in groups]
        )
        vectors = [
            (pack(sums[pixel][c : c + n], 32), pack(constants[c : c + n], 64))
            for pixel, (c, n) in pairs
        ]
        run = windows.run_fields() | fields | run_target(target, 0)
        cell.set(run_i=record(isa.RUN_FIELDS, run), pixels_first_i=case % 2)
        cell.set(residual_i=record(isa.RESIDUAL_FIELDS, addition | other.target(0)))
        ports = Ports(cell, space.memory, (reader,), writer, seed=case)
        reader.stalls, writer.stalls = (float(v) for v in rng.choice([0.0, 0.3, 0.8], 2))
        ports.settle(load_i=1, reserve_i=0, valid_i=0)
        ports.tick()
        _feed(ports, vectors, rng, lanes)
        assert np.array_equal(space.read(target, shape, 0), expected)
        assert ports.written.sum() == expected.size
