"""fe_buffer: random traffic on all ports against numpy, stalls, fairness, no needless stall."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pytest
from cell import Cell, declared, pack, unpack

pytestmark = pytest.mark.rtl

READ_BYTES = (8, 3, 8, 5)
WRITE_BYTES = (8, 5)
WIDEST = 8
LATENCY, FLIGHT = declared("BufferLatency"), declared("BufferFlight")


def _widths(sizes: tuple[int, ...]) -> str:
    return f"{16 * len(sizes)}'h{pack(sizes, 16):x}"


def _buffer(size: int, banks: int, page_rows: int) -> Cell:
    readers, writers = len(READ_BYTES), len(WRITE_BYTES)
    return Cell(
        "fe_buffer",
        {
            "clk_i": 1,
            "rst_ni": 1,
            "read_valid_i": readers,
            "read_address_i": 32 * readers,
            "read_bytes_i": 16 * readers,
            "write_valid_i": writers,
            "write_address_i": 32 * writers,
            "write_bytes_i": 16 * writers,
            "write_data_i": 8 * WIDEST * writers,
        },
        {
            "read_ready_o": readers,
            "read_data_valid_o": readers,
            "read_data_o": 8 * WIDEST * readers,
            "write_ready_o": writers,
            "write_idle_o": writers,
            "error_o": 1,
        },
        Bytes=size,
        Readers=readers,
        Writers=writers,
        MaxBytes=WIDEST,
        Banks=banks,
        PageRows=page_rows,
        ReadBytes=_widths(READ_BYTES),
        WriteBytes=_widths(WRITE_BYTES),
    )


@dataclass
class Read:
    address: int
    count: int


@dataclass
class Write:
    address: int
    data: np.ndarray


@dataclass
class Coming:
    """A read under way: when it moved, what it should bring and which of its bytes are sure."""

    moved: int
    address: int
    want: np.ndarray
    certain: np.ndarray


class Traffic:
    """Drives all ports, holds what waits, and compares with a plain array of bytes."""

    def __init__(self, cell: Cell, size: int) -> None:
        self.cell = cell
        self.memory = np.zeros(size, np.uint8)
        #: bytes whose last write came from a port that was not idle since, by port
        self.pending = np.zeros((len(WRITE_BYTES), size), bool)
        self.reads: list[Read | None] = [None] * len(READ_BYTES)
        self.writes: list[Write | None] = [None] * len(WRITE_BYTES)
        self.coming: list[deque[Coming]] = [deque() for _ in READ_BYTES]
        #: accesses that moved; cycles in which one waited before or behind its port
        self.cycle = self.moved = self.stalled = 0

    def step(self) -> None:
        """One cycle with the accesses in ``reads`` and ``writes``; those that move become None."""
        cell, now = self.cell, self.cycle
        cell.set(
            read_valid_i=pack([a is not None for a in self.reads], 1),
            read_address_i=pack([a.address if a else 0 for a in self.reads], 32),
            read_bytes_i=pack([a.count if a else 1 for a in self.reads], 16),
            write_valid_i=pack([w is not None for w in self.writes], 1),
            write_address_i=pack([w.address if w else 0 for w in self.writes], 32),
            write_bytes_i=pack([len(w.data) if w else 1 for w in self.writes], 16),
            write_data_i=pack(
                np.concatenate([_padded(w.data if w else np.zeros(0)) for w in self.writes]), 8
            ),
        )
        cell.settle()
        read_ready, write_ready = cell.get("read_ready_o"), cell.get("write_ready_o")
        idle = cell.get("write_idle_o")
        for port, read in enumerate(self.reads):
            if read is None:
                continue
            if not read_ready >> port & 1:
                self.stalled += 1
                continue
            part = slice(read.address, read.address + read.count)
            certain = ~self.pending[:, part].any(axis=0)
            self.coming[port].append(Coming(now, read.address, self.memory[part].copy(), certain))
            assert len(self.coming[port]) <= FLIGHT
            self.reads[port] = None
            self.moved += 1
        for port in range(len(WRITE_BYTES)):
            if idle >> port & 1:  # what moves from the next cycle on sees its writes
                self.pending[port] = False
        for port, write in enumerate(self.writes):
            if write is None:
                continue
            if not write_ready >> port & 1:
                self.stalled += 1
                continue
            part = slice(write.address, write.address + len(write.data))
            # a read that is under way may see either value
            for coming in chain(*self.coming):
                inside = np.arange(coming.address, coming.address + len(coming.want))
                coming.certain &= ~((inside >= part.start) & (inside < part.stop))
            self.memory[part] = write.data
            self.pending[port, part] = True
            self.writes[port] = None
            self.moved += 1
        seen, valid = cell.get("read_data_o"), cell.get("read_data_valid_o")
        for port in range(len(READ_BYTES)):
            if valid >> port & 1:
                coming = self.coming[port].popleft()
                part, count = seen >> (8 * WIDEST * port), len(coming.want)
                found = np.array(unpack(part, 8, count, signed=False))
                wrong = (found != coming.want) & coming.certain
                assert not wrong.any(), (now, port, coming.address)
                late = now - coming.moved - LATENCY
                assert late >= 0
                self.stalled += late
        cell.tick()
        assert not cell.get("error_o")
        self.cycle += 1


def _padded(data: np.ndarray) -> np.ndarray:
    return np.concatenate([data, np.zeros(WIDEST - len(data))]).astype(np.uint8)


# whole pages alone; an incomplete page after two whole ones; an incomplete page alone
@pytest.mark.parametrize(("size", "banks"), [(512, 4), (343, 4), (90, 8)])
def test_buffer__random_traffic_equals_an_array(size: int, banks: int) -> None:
    traffic = Traffic(_buffer(size, banks, page_rows=4), size)
    rng = np.random.default_rng(size)
    for address in range(0, size, WIDEST):  # a defined start
        traffic.writes[0] = Write(address, np.zeros(min(WIDEST, size - address), np.uint8))
        while traffic.writes[0]:
            traffic.step()
    halves = ((0, size // 2), (size // 2, size))  # each writer has places of its own
    for _ in range(3000):
        busy = rng.random()
        for port, most in enumerate(READ_BYTES):
            if traffic.reads[port] is None and rng.random() < busy:
                count = int(rng.integers(1, most + 1))
                traffic.reads[port] = Read(int(rng.integers(0, size - count + 1)), count)
        for port, most in enumerate(WRITE_BYTES):
            if traffic.writes[port] is None and rng.random() < busy:
                low, high = halves[port]
                count = int(rng.integers(1, most + 1))
                data = rng.integers(0, 256, count).astype(np.uint8)
                traffic.writes[port] = Write(int(rng.integers(low, high - count + 1)), data)
        traffic.step()
    assert traffic.moved > 3000
    assert traffic.stalled > 0


def _row(bank: int, group: int, banks: int) -> int:
    """The row of a group of ``banks`` rows that lies in a bank; groups begin in other banks."""
    return group * banks + (bank - group - group // banks) % banks


def test_buffer__accesses_to_different_banks_never_wait() -> None:
    banks, size = 4, 512
    traffic = Traffic(_buffer(size, banks, page_rows=4), size)
    rng = np.random.default_rng(1)
    rows = size // WIDEST // banks
    cycles = 400
    for _ in range(cycles):
        order = rng.permutation(banks)
        for port, count in enumerate(READ_BYTES):
            row = _row(order[port], int(rng.integers(0, rows)), banks)
            first = int(rng.integers(0, WIDEST - count + 1))
            traffic.reads[port] = Read(WIDEST * row + first, count)
        order = rng.permutation(banks)
        for port, most in enumerate(WRITE_BYTES):
            row = _row(order[port], 2 * int(rng.integers(0, rows // 2)) + port, banks)
            data = rng.integers(0, 256, most).astype(np.uint8)
            traffic.writes[port] = Write(int(WIDEST * row + rng.integers(0, 9 - most)), data)
        traffic.step()
    assert traffic.stalled == 0
    assert traffic.moved == cycles * (len(READ_BYTES) + len(WRITE_BYTES))


@pytest.mark.parametrize("apart", [4, 8, 16])
def test_buffer__two_streams_of_distant_rows_meet_rarely(apart: int) -> None:
    """Pixels lie a power of two apart: all in one bank if rows went round the banks alone."""
    size, banks = 2048, 4
    traffic = Traffic(_buffer(size, banks, page_rows=16), size)
    rows = size // WIDEST
    for step in range(rows):
        traffic.reads[0] = Read(WIDEST * (step * apart % rows), 2)
        traffic.reads[2] = Read(WIDEST * ((step * apart + 5) % rows), 2)
        traffic.step()
    assert traffic.stalled <= rows // 8


def test_buffer__neighbouring_rows_of_a_stream_use_all_banks() -> None:
    """An unaligned stream alone on its side is never stalled."""
    size = 343
    traffic = Traffic(_buffer(size, 4, page_rows=4), size)
    for address in range(3, size - WIDEST, WIDEST):
        traffic.reads[0] = Read(address, WIDEST)
        traffic.writes[1] = Write(size - 5 - address % 300, np.arange(5, dtype=np.uint8))
        traffic.step()
    assert traffic.stalled == 0


def test_buffer__a_short_read_leaves_the_next_row_alone() -> None:
    """Two ports, rows 0 and 1: they meet only where the first asks for bytes of row 1."""
    size = 512
    for count in range(1, READ_BYTES[0] + 1):
        traffic = Traffic(_buffer(size, 4, page_rows=4), size)
        traffic.reads[0], traffic.reads[2] = Read(WIDEST - 3, count), Read(WIDEST, WIDEST)
        for _ in range(LATENCY + 3):
            traffic.step()
        assert (traffic.stalled > 0) == (count > 3)
        assert not any(traffic.coming)


def test_buffer__no_port_starves() -> None:
    """All ports read two rows of one bank by turns, so that no row follows itself."""
    size, banks = 512, 4
    cell = _buffer(size, banks, page_rows=4)
    readers = len(READ_BYTES)
    cell.set(read_valid_i=(1 << readers) - 1, write_valid_i=0)
    cell.set(read_bytes_i=pack([1] * readers, 16))
    turns = np.zeros(readers, int)
    served = np.zeros(readers, int)
    for cycle in range(25 * readers + LATENCY + 8):
        cell.set(read_address_i=pack(turns % 2 * WIDEST * _row(0, 1, banks), 32))
        cell.settle()
        turns += [cell.get("read_ready_o") >> port & 1 for port in range(readers)]
        valid = cell.get("read_data_valid_o")
        if cycle >= LATENCY + 8:
            assert valid.bit_count() == 1
            served[valid.bit_length() - 1] += 1
        cell.tick()
    assert (served == 25).all()


def test_buffer__reports_accesses_outside() -> None:
    size = 343
    cell = _buffer(size, 4, page_rows=4)
    cell.set(read_valid_i=0, write_valid_i=0)
    for values, error in (
        ({"read_valid_i": 1, "read_address_i": size}, 1),
        ({"read_valid_i": 1, "read_address_i": size - 1}, 0),
        ({"write_valid_i": 1, "write_address_i": size - 3, "write_bytes_i": 4}, 1),
        ({"write_valid_i": 1, "write_address_i": size - 4, "write_bytes_i": 4}, 0),
    ):
        cell.set(**({"read_valid_i": 0, "write_valid_i": 0} | values))
        cell.tick()
        assert cell.get("error_o") == error
