"""fe_pool_stage against plain loops, with stalls: maximum, sum, single elements, normalisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cell import Cell, unpack
from ports import Ports, Reader
from test_lrn import Constants
from test_lrn import expected as lrn_factor
from windows import (
    RUN_BITS,
    SOURCE_BITS,
    Array,
    Ring,
    Space,
    Windows,
    random_tensor,
    random_windows,
    record,
)

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl


class Stage:
    """The cell with its reader port."""

    def __init__(self, lanes: int, has_lrn: bool) -> None:
        self.lanes = lanes
        self.reader = Reader("read", lanes, "data_i", "data_valid_i")
        controls = ("clk_i", "rst_ni", "start_i", "room_i", "tail_idle_i")
        self.cell = Cell(
            "fe_pool_stage",
            {
                **dict.fromkeys(controls, 1),
                **{"run_i": RUN_BITS, "source_i": SOURCE_BITS},
                **self.reader.inputs(),
            },
            {
                **{"done_o": 1, "out_start_o": 1, "out_valid_o": 1},
                **{"sums_o": 32 * lanes, "constants_o": 64 * lanes},
                **self.reader.outputs(),
            },
            Lanes=lanes,
            HasLrn=int(has_lrn),
            RunBits=RUN_BITS,
            SourceBits=SOURCE_BITS,
        )

    def follow(
        self, ports: Ports, run: dict[str, int], source: dict[str, int], count: int
    ) -> list[tuple[list[int], list[int]]]:
        """One RUN to its end: (sums, constants) of its ``count`` outputs, in their order."""
        cell, chance = self.cell, ports.random
        room = chance.choice([0.2, 0.7, 1.0])
        cell.set(run_i=record(isa.RUN_FIELDS, run), source_i=record(isa.SOURCE_FIELDS, source))
        result: list[tuple[list[int], list[int]]] = []
        started = 0
        idle_after = chance.randrange(10)
        ports.settle(start_i=1, tail_idle_i=0, room_i=0)
        ports.tick()
        while not ports.stuck:
            idle_after -= len(result) == count
            idle = idle_after < 0  # the tail needs some cycles after the last output
            ready = chance.random() < room
            ports.settle(start_i=0, tail_idle_i=int(idle), room_i=int(ready))
            if cell.get("out_valid_o"):
                sums = unpack(cell.get("sums_o"), 32, self.lanes)
                constants = unpack(cell.get("constants_o"), 64, self.lanes, signed=False)
                result.append((sums, constants))
                assert len(result) <= started
            if cell.get("out_start_o"):
                assert ready
                started += 1
            done = cell.get("done_o")
            ports.tick()
            if done:
                assert idle
                assert len(result) == started == count
                return result
        raise AssertionError(f"it is stuck; {len(result)} of {count} outputs have come")


def in_order(lanes: int, sums: Array, constants: Array) -> list[tuple[list[int], list[int]]]:
    """Results (frames, rows, columns, channels) as they leave: all channels of a pixel, then the
    next pixel."""
    channels = sums.shape[3]
    flat = zip(sums.reshape(-1, channels), constants.reshape(-1, channels), strict=True)
    return [
        ([int(v) for v in s[c : c + lanes]], [int(v) for v in k[c : c + lanes]])
        for s, k in flat
        for c in range(0, channels, lanes)
    ]


def compare(
    seen: list[tuple[list[int], list[int]]], wanted: list[tuple[list[int], list[int]]]
) -> None:
    for (sums, constants), (want_sums, want_constants) in zip(seen, wanted, strict=True):
        assert sums[: len(want_sums)] == want_sums
        assert constants[: len(want_sums)] == want_constants


def window_run(
    rng: np.random.Generator, windows: Windows, op: int, pad: int, channels: int
) -> tuple[dict[str, int], int]:
    """A RUN of a maximum or sum, and the constants of its outputs."""
    bias, multiplier = int(rng.integers(-(2**31), 2**31)), int(rng.integers(0, 2**24))
    shift = int(rng.integers(0, 63))
    run = windows.run_fields() | {"op": op, "pad_value": pad, "out_channels": channels}
    run |= {"bias": bias, "multiplier": multiplier, "shift": shift}
    return run, bias & 0xFFFFFFFF | multiplier << 32 | shift << 56


@pytest.mark.parametrize(("lanes", "has_lrn"), [(3, False), (5, True)])
def test_pool_stage__reduces_windows_under_stalls(lanes: int, has_lrn: bool) -> None:
    stage = Stage(lanes, has_lrn)
    rng = np.random.default_rng(lanes)
    for case in range(40):
        op = isa.OP_MAX if case % 2 else isa.OP_SUM
        windows = random_windows(rng, kernel=1 if case % 5 == 0 else 3)
        channels, pad = int(rng.integers(1, 3 * lanes)), int(rng.integers(-128, 128))
        x = random_tensor(rng, windows, channels)
        space = Space(20000, rng)
        ring = windows.store(space, x)
        elements = windows.elements(x, pad)
        results = elements.max(axis=(3, 4)) if op == isa.OP_MAX else elements.sum(axis=(3, 4))
        run, constants = window_run(rng, windows, op, pad, channels)
        ports = Ports(stage.cell, space.memory, (stage.reader,), seed=case)
        stage.reader.stalls = float(rng.choice([0.0, 0.3, 0.8]))
        wanted = in_order(lanes, results, np.full(results.shape, constants, object))
        compare(stage.follow(ports, run, windows.source_fields(ring), len(wanted)), wanted)


def lrn_case(
    rng: np.random.Generator, windows: Windows, ring: Ring, x: Array, constants: Constants
) -> tuple[dict[str, int], dict[str, int], Array, Array]:
    """Run and source of a normalisation; the middle elements; each output's constants."""
    channels, size = x.shape[3], int(rng.integers(1, 6))
    zero, before = int(rng.integers(-128, 128)), (size - 1) // 2
    run = windows.run_fields() | {
        "op": isa.OP_LRN,
        "pad_value": zero,
        "out_channels": channels,
        "k_cols": size,
        "k_x_step": 0,
        "first_x": before,
        "w_base": constants.offset & 0xFFFFFFFF,
        "first_col": constants.offset >> 32,
        "passes": constants.beta,
        "first_row": constants.gain,
        "bias": -zero,
    }
    source = windows.source_fields(ring) | {"k_col_step": 1}
    source["base"] -= before
    middle = windows.elements(x, 0)[:, :, :, 0, 0]
    words = np.zeros(middle.shape, object)
    for index in np.ndindex(middle.shape[:3]):
        squares = (middle[index] - zero) ** 2
        for channel in range(channels):
            window = squares[max(0, channel - before) : channel - before + size]
            shift, multiplier = lrn_factor(constants, int(window.sum()))
            words[index][channel] = -zero & 0xFFFFFFFF | multiplier << 32 | shift << 56
    return run, source, middle, words


def test_pool_stage__normalises_under_stalls() -> None:
    lanes = 5
    stage = Stage(lanes, True)
    rng = np.random.default_rng(2)
    for case in range(24):
        windows = replace(random_windows(rng, kernel=1), stride=(1, 1), padding=(0, 0))
        # every window lies inside
        windows = replace(windows, in_rows=windows.rows[1], in_cols=windows.cols[1])
        x = random_tensor(rng, windows, int(rng.integers(1, 3 * lanes)))
        space = Space(20000, rng)
        space.take(4)  # a window begins before the first channel
        ring = windows.store(space, x)
        offset, beta = int(rng.integers(1, 2**40)), int(rng.integers(0, 2**18))
        constants = Constants(offset, beta, int(rng.integers(0, 23 << 20)))
        run, source, middle, words = lrn_case(rng, windows, ring, x, constants)
        ports = Ports(stage.cell, space.memory, (stage.reader,), seed=case)
        stage.reader.stalls = float(rng.choice([0.0, 0.3, 0.8]))
        wanted = in_order(lanes, middle, words)
        compare(stage.follow(ports, run, source, len(wanted)), wanted)
