"""fe_blocks: the weight stream is read in order, and every block comes with its description."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import pytest
from cell import Cell
from convolution import CONSTANT_ROWS, Lanes, Run, random_convolution, random_runs
from ports import LATENCY, Ports, Reader
from windows import RUN_BITS, SOURCE_BITS, Space, record, sources_record

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl
ROWS_AHEAD = 8


class Described(NamedTuple):
    """block_t of the cell, from its highest bit on."""

    first: int
    last: int
    group_end: int
    bank: int
    part: int
    y: int
    x: int
    row: int
    pixel: int
    lanes: int


_BITS = Described(1, 1, 1, 1, 2, 16, 16, 32, 32, 16)


def _described(value: int) -> Described:
    fields = []
    for bits in reversed(_BITS):
        fields.append(value & ((1 << bits) - 1))
        value >>= bits
    return Described(*reversed(fields))


class Row(NamedTuple):
    """A row as it is read: set of constants or parity of its block; None: it has no data."""

    constant: bool
    number: int
    data: bytes | None


class Expected:
    """What RUNs one after the other should give: banks and parity go on from RUN to RUN."""

    def __init__(self) -> None:
        self.bank = self.odd = 0

    def follow(self, run: Run, sources: list[dict[str, int]]) -> tuple[list[Row], list[Described]]:
        convolution, lanes = run.convolution, run.lanes
        blocks, stream = convolution.blocks(lanes), convolution.stream(lanes)
        rows: list[Row] = []
        described: list[Described] = []
        base = self._channel(run, run.groups()[0][0])
        for group, (start, width) in enumerate(run.groups(), run.first // run.per_group):
            for tile in range(run.tiles):
                for number, block in enumerate(blocks):
                    index = group * run.per_group + number
                    if not run.first <= index < run.last:
                        continue
                    data = stream[index]
                    if number == 0:
                        constants, data = data[: 8 * width], data[8 * width :]
                        if tile == 0:
                            for i in range(CONSTANT_ROWS):
                                part = constants[width * i : width * (i + 1)]
                                rows.append(Row(True, self.bank, part))
                    for i in range(lanes.inputs):
                        part = data[width * i : width * (i + 1)]
                        rows.append(Row(False, self.odd, part or None))
                    self.odd ^= 1
                    last = number == len(blocks) - 1
                    source = sources[block.part]
                    channel = self._channel(run, start) - base + block.group * lanes.inputs
                    described.append(
                        Described(
                            int(number == 0),
                            int(last),
                            int(last and tile == run.tiles - 1),
                            self.bank,
                            block.part,
                            block.r * convolution.windows.dilation[0],
                            block.s * convolution.windows.dilation[1],
                            block.r * source["k_row_step"],
                            block.s * source["k_col_step"] + channel,
                            block.lanes,
                        )
                    )
            if run.last >= (group + 1) * run.per_group:
                self.bank ^= 1
        return rows, described

    @staticmethod
    def _channel(run: Run, output: int) -> int:
        """The first input channel that an output channel's group reads."""
        convolution = run.convolution
        if convolution.depthwise:
            return output
        return output // (convolution.k // convolution.groups) * convolution.depth


def _cell(lanes_in: int, lanes_out: int, parts: int, reader: Reader) -> Cell:
    controls = ("clk_i", "rst_ni", "start_i", "depthwise_i", "shifted_i", "block_taken_i")
    return Cell(
        "fe_blocks",
        {
            **dict.fromkeys((*controls, "group_done_i"), 1),
            "run_i": RUN_BITS,
            "sources_i": SOURCE_BITS * parts,
            **reader.inputs(),
        },
        {
            **dict.fromkeys(("is_constant_o", "is_weight_o", "bank_o"), 1),
            **dict.fromkeys(("row_valid_o", "row_odd_o", "row_real_o"), 1),
            **{"block_valid_o": 1, "block_o": sum(_BITS), "idle_o": 1},
            **reader.outputs(),
        },
        LanesIn=lanes_in,
        LanesOut=lanes_out,
        Parts=parts,
        RowsAhead=ROWS_AHEAD,
        RunBits=RUN_BITS,
        SourceBits=SOURCE_BITS,
    )


class User:
    """Takes blocks, shifts rows and gives constants back, each at random."""

    def __init__(self, ports: Ports, rng: np.random.Generator) -> None:
        self.ports, self.rng = ports, rng
        self.rows: deque[bool] = (
            deque()
        )  # that were asked for and not shifted: whether they have data
        self.data = 0  # of such rows, that came
        self.in_use = 0  # sets of constants that are no longer needed
        self.sets = 0  # sets of constants begun and not given back

    def follow(self) -> tuple[list[Row], list[Described]]:
        """One RUN: the constants that came, then the rows of weights, and the blocks."""
        ports, cell, reader = self.ports, self.ports.cell, self.ports.readers[0]
        haste = self.rng.choice([0.03, 0.3, 1.0], 3)
        constants: list[Row] = []
        kinds: list[tuple[int, bool]] = []
        weights: list[bytes] = []
        blocks: list[Described] = []
        quiet = 0
        ports.settle(start_i=1, block_taken_i=0, shifted_i=0, group_done_i=0)
        ports.tick()
        while not ports.stuck:
            chance = self.rng.random(3) < haste
            there = self.rows and (not self.rows[0] or self.data)
            done, shifted = bool(self.in_use and chance[0]), bool(there and chance[1])
            ports.settle(start_i=0, block_taken_i=0, shifted_i=int(shifted), group_done_i=int(done))
            if shifted:
                self.data -= self.rows.popleft()
            self.in_use -= done
            self.sets -= done
            assert reader.brings == cell.get("is_constant_o") + cell.get("is_weight_o")
            found = reader.seen.to_bytes(reader.bytes, "little")
            if cell.get("is_constant_o"):
                constants.append(Row(True, cell.get("bank_o"), found))
                if len(constants) % CONSTANT_ROWS == 1:
                    self.sets += 1
                    assert self.sets <= 2
            if cell.get("is_weight_o"):
                weights.append(found)
                self.data += 1
            if cell.get("row_valid_o"):
                kinds.append((cell.get("row_odd_o"), bool(cell.get("row_real_o"))))
                self.rows.append(kinds[-1][1])
                assert len(self.rows) <= ROWS_AHEAD
            if cell.get("block_valid_o") and chance[2]:
                cell.set(block_taken_i=1)
                cell.settle()
                blocks.append(_described(cell.get("block_o")))
                self.in_use += blocks[-1].group_end
            ports.tick()
            busy = self.rows or self.in_use or reader.coming or reader.waiting
            quiet = quiet + 1 if cell.get("idle_o") and not busy else 0
            if quiet > LATENCY:
                break
        data = iter(weights)
        rows = [Row(False, odd, next(data) if real else None) for odd, real in kinds]
        assert next(data, None) is None
        return constants + rows, blocks


@pytest.mark.parametrize(("lanes_in", "lanes_out", "parts"), [(1, 3, 1), (4, 2, 3)])
def test_blocks__reads_the_stream_in_order_under_stalls(
    lanes_in: int, lanes_out: int, parts: int
) -> None:
    reader = Reader("read", lanes_out, valid="data_valid_i")
    cell = _cell(lanes_in, lanes_out, parts, reader)
    rng = np.random.default_rng(lanes_in)
    expected = Expected()
    kinds = ["plain", "grouped", "depthwise", *["parts"] * (parts > 1)]
    for case in range(40):
        convolution = random_convolution(rng, kinds[case % len(kinds)], parts)
        space = Space(60000, rng)
        rings = tuple(convolution.windows.store(space, x) for x in convolution.inputs)
        runs = random_runs(rng, convolution, Lanes(lanes_in, lanes_out), 16)
        w_base = space.put(b"".join(convolution.stream(runs[0].lanes)))
        ports = Ports(cell, space.memory, (reader,), seed=case)
        user = User(ports, rng)
        reader.stalls = float(rng.choice([0.0, 0.3, 0.8]))
        for run in runs:
            sources = run.source_fields(rings)
            fields = run.fields(sources, w_base)
            cell.set(run_i=record(isa.RUN_FIELDS, fields), sources_i=sources_record(sources))
            cell.set(depthwise_i=int(convolution.depthwise))
            rows, blocks = expected.follow(run, sources)
            rows.sort(key=lambda row: not row.constant)  # as they come: constants, rows of weights
            seen_rows, seen_blocks = user.follow()
            assert seen_blocks == blocks
            assert [_cut(row, want) for row, want in zip(seen_rows, rows, strict=True)] == rows


def _cut(row: Row, want: Row) -> Row:
    """As many bytes of a row as count."""
    assert (row.data is None) == (want.data is None)
    return row._replace(data=None if row.data is None else row.data[: len(want.data)])
