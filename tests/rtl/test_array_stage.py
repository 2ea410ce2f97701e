"""fe_array_stage against convolutions by plain loops, with stalls on every handshake."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from cell import Cell, declared, unpack
from convolution import Lanes, Run, random_convolution, random_runs
from ports import Ports, Reader
from windows import RUN_BITS, SOURCE_BITS, Space, record, sources_record

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl
PIXELS = 16


class Stage:
    """The cell with its two reader ports."""

    def __init__(self, lanes: Lanes, parts: int, depthwise: bool) -> None:
        self.lanes = lanes
        self.x = Reader("x_read", max(lanes.inputs, lanes.outputs), "x_data_i", "x_valid_i")
        self.w = Reader("w_read", lanes.outputs, "w_data_i", "w_valid_i")
        controls = ("clk_i", "rst_ni", "start_i", "room_i", "tail_idle_i")
        self.cell = Cell(
            "fe_array_stage",
            {
                **dict.fromkeys(controls, 1),
                "run_i": RUN_BITS,
                "sources_i": SOURCE_BITS * parts,
                **self.x.inputs(),
                **self.w.inputs(),
            },
            {
                **{"done_o": 1, "out_start_o": 1, "out_valid_o": 1},
                **{"sums_o": 32 * lanes.outputs, "constants_o": 64 * lanes.outputs},
                **self.x.outputs(),
                **self.w.outputs(),
            },
            LanesIn=lanes.inputs,
            LanesOut=lanes.outputs,
            HasDepthwise=int(depthwise),
            Parts=parts,
            Pixels=PIXELS,
            RunBits=RUN_BITS,
            SourceBits=SOURCE_BITS,
        )

    def follow(self, ports: Ports, count: int, room: float) -> list[tuple[list[int], list[int]]]:
        """One RUN to its end: (sums, constants) of its ``count`` outputs, in their order."""
        cell, chance = self.cell, ports.random
        result: list[tuple[list[int], list[int]]] = []
        started: deque[bool] = deque([False] * declared("AccumulatorRead"))
        idle_after = chance.randrange(10)
        ports.settle(start_i=1, tail_idle_i=0, room_i=0)
        ports.tick()
        while not ports.stuck:
            idle_after -= len(result) == count
            idle = idle_after < 0  # the tail needs some cycles after the last output
            ready = chance.random() < room
            ports.settle(start_i=0, tail_idle_i=int(idle), room_i=int(ready))
            arrives = started.popleft()
            assert cell.get("out_valid_o") == int(arrives)
            if arrives:
                sums = unpack(cell.get("sums_o"), 32, self.lanes.outputs)
                constants = unpack(cell.get("constants_o"), 64, self.lanes.outputs, signed=False)
                result.append((sums, constants))
            started.append(bool(cell.get("out_start_o")))
            assert ready or not started[-1]
            done = cell.get("done_o")
            ports.tick()
            if done:
                assert idle
                assert len(result) == count
                return result
        raise AssertionError(f"it is stuck; {len(result)} of {count} outputs have come")


def expected(run: Run) -> list[tuple[list[int], list[int]]]:
    """What leaves the stage: all pixels of an output group, then the next group."""
    convolution = run.convolution
    sums = convolution.sums().reshape(-1, convolution.k)
    return [
        (
            [int(v) for v in pixel[first : first + width]],
            [convolution.constants(channel) for channel in range(first, first + width)],
        )
        for first, width in run.done_groups()
        for pixel in sums
    ]


@pytest.mark.parametrize(
    ("lanes_in", "lanes_out", "parts", "depthwise"),
    [(1, 3, 2, True), (3, 4, 3, True), (8, 2, 1, False), (12, 5, 1, True)],
)
def test_array_stage__convolutions_under_stalls(
    lanes_in: int, lanes_out: int, parts: int, depthwise: bool
) -> None:
    stage = Stage(Lanes(lanes_in, lanes_out), parts, depthwise)
    rng = np.random.default_rng(lanes_in)
    kinds = ["plain", "grouped", *["depthwise"] * depthwise, *["parts"] * (parts > 1)]
    for case in range(100):
        most = int(rng.choice([5, 2 * lanes_in]))
        convolution = random_convolution(rng, kinds[case % len(kinds)], parts, most)
        space = Space(120000, rng)
        rings = tuple(convolution.windows.store(space, x) for x in convolution.inputs)
        runs = random_runs(rng, convolution, stage.lanes, PIXELS)
        w_base = space.put(b"".join(convolution.stream(runs[0].lanes)))
        ports = Ports(stage.cell, space.memory, (stage.x, stage.w), seed=case)
        stage.x.stalls, stage.w.stalls = (float(v) for v in rng.choice([0.0, 0.3, 0.8], 2))
        room = float(rng.choice([0.2, 0.7, 1.0]))
        for run in runs:
            sources = run.source_fields(rings)
            stage.cell.set(run_i=record(isa.RUN_FIELDS, run.fields(sources, w_base)))
            stage.cell.set(sources_i=sources_record(sources))
            wanted = expected(run)
            seen = stage.follow(ports, len(wanted), room)
            for number, ((sums, constants), want) in enumerate(zip(seen, wanted, strict=True)):
                width = len(want[0])
                assert (sums[:width], constants[:width]) == want, (case, number)
