"""fe_residual: data come in the order of the outputs, and room is never promised without them."""

from __future__ import annotations

import numpy as np
import pytest
from cell import Cell
from ports import Ports, Reader
from test_places import groups_of
from windows import RESIDUAL_BITS, RUN_BITS, SOURCE_BITS, Space, random_windows, record

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize("lanes", [1, 3])
def test_residual__in_the_order_of_the_outputs_under_stalls(lanes: int) -> None:
    reader = Reader("read", lanes, "data_i", "data_valid_i")
    controls = ("clk_i", "rst_ni", "pixels_first_i", "load_i", "reserve_i", "pop_i")
    cell = Cell(
        "fe_residual",
        {
            **dict.fromkeys(controls, 1),
            **{"run_i": RUN_BITS, "residual_i": RESIDUAL_BITS},
            **reader.inputs(),
        },
        {"room_o": 1, "data_o": 8 * lanes, **reader.outputs()},
        Lanes=lanes,
        RunBits=RUN_BITS,
        SourceBits=SOURCE_BITS,
        ResidualBits=RESIDUAL_BITS,
    )
    rng = np.random.default_rng(lanes)
    for case in range(40):
        windows = random_windows(rng)
        on = case % 5 > 0
        size = int(rng.integers(1, 8))
        left, total = int(rng.integers(1, size + 1)), int(rng.integers(1, 2 * size + 2))
        space = Space(20000, rng)
        ring = space.ring(windows.frames, windows.height + 1, windows.width, total)
        groups = groups_of(total, left, size, lanes)
        pixels = list(np.ndindex(windows.frames, windows.height, windows.width))
        if case % 2:
            places = [(ring.address(f, p, q, c), n) for c, n in groups for f, p, q in pixels]
        else:
            places = [(ring.address(f, p, q, c), n) for f, p, q in pixels for c, n in groups]
        expected = [space.memory[at : at + count].tobytes() for at, count in places]
        fields = {"done_channels": total, "first_left": left, "group_channels": size}
        residual = {f: v for f, v in ring.target(0).items()} | {"on": int(on)}
        cell.set(run_i=record(isa.RUN_FIELDS, windows.run_fields() | fields))
        cell.set(residual_i=record(isa.RESIDUAL_FIELDS, residual))
        ports = Ports(cell, space.memory, (reader,), seed=case)
        reader.stalls = float(rng.choice([0.0, 0.3, 0.8]))
        haste = rng.choice([0.1, 0.5, 1.0], 2)
        ports.settle(load_i=1, pixels_first_i=case % 2, reserve_i=0, pop_i=0)
        ports.tick()
        reserved = popped = 0
        while not ports.stuck and popped < len(expected) and (on or ports.cycle < 50):
            chance = rng.random(2) < haste
            ports.settle(load_i=0, reserve_i=0, pop_i=0)
            reserve = cell.get("room_o") and chance[0]
            reserved += reserve
            pop = popped < reserved and chance[1]
            if pop:
                data = cell.get("data_o").to_bytes(lanes, "little")
                assert data[: len(expected[popped])] == expected[popped]
                popped += 1
            cell.set(reserve_i=int(reserve), pop_i=int(pop))
            ports.tick()
        assert reserved == popped == (len(expected) if on else 0)
        for _ in range(5):  # no room beyond the end
            ports.settle(reserve_i=0, pop_i=0)
            assert not cell.get("room_o")
            ports.tick()
