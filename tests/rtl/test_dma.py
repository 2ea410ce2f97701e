"""fe_dma between a DRAM and a buffer that both may stall."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from cell import Cell, declared, pack

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl

BEAT = 4
QUEUE = 8
#: cycles of a transfer beside the DRAM's latency and its beats
LOAD_OVERHEAD, STORE_OVERHEAD = 5, declared("BufferLatency") + 2
BUFFER_LATENCY = declared("BufferLatency")


def _dma() -> Cell:
    return Cell(
        "fe_dma",
        {
            "clk_i": 1,
            "rst_ni": 1,
            "start_i": 1,
            "dma_i": 64 * isa.field_words(isa.DMA_FIELDS),
            "request_ready_i": 1,
            "answer_valid_i": 1,
            "answer_data_i": 8 * BEAT,
            "read_ready_i": 1,
            "read_data_valid_i": 1,
            "read_data_i": 8 * BEAT,
            "write_ready_i": 1,
            "write_idle_i": 1,
        },
        {
            "done_o": 1,
            "request_valid_o": 1,
            "request_write_o": 1,
            "request_address_o": 32,
            "request_bytes_o": 16,
            "request_data_o": 8 * BEAT,
            "read_valid_o": 1,
            "read_address_o": 32,
            "write_valid_o": 1,
            "write_address_o": 32,
            "write_bytes_o": 16,
            "write_data_o": 8 * BEAT,
        },
        BeatBytes=BEAT,
        QueueBeats=QUEUE,
        RecordBits=64 * isa.field_words(isa.DMA_FIELDS),
    )


@dataclass
class Bench:
    """One transfer: a DRAM of ``latency`` cycles on one side, a buffer on the other."""

    cell: Cell
    dram: np.ndarray
    buffer: np.ndarray
    latency: int
    #: None: nothing stalls
    rng: np.random.Generator | None
    answers: deque[tuple[int, int]] = field(default_factory=deque)
    #: (earliest cycle, data) of the buffer's reads under way
    reads: deque[tuple[int, int]] = field(default_factory=deque)
    #: cycle in which the buffer's last write leaves its port
    busy_until: int = -1
    held: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def transfer(self, fields: dict[str, int]) -> int:
        """Cycles from start_i to done_o, both included."""
        cell = self.cell
        words = isa.pack(isa.DMA_FIELDS, fields)
        cell.set(dma_i=pack(words, 64), start_i=1)
        for cycle in range(5000):
            if self.step(cycle):
                assert not self.answers and not self.reads and cycle > self.busy_until
                return cycle + 1
        raise AssertionError("the transfer does not end")

    def step(self, cycle: int) -> bool:
        cell = self.cell
        request_ready, read_ready, write_ready = (self.ready() for _ in range(3))
        due = bool(self.answers) and self.answers[0][0] <= cycle and bool(self.ready())
        cell.set(request_ready_i=request_ready, read_ready_i=read_ready, write_ready_i=write_ready)
        brings = bool(self.reads) and self.reads[0][0] <= cycle and bool(self.ready())
        # data are there in the promised cycle alone
        cell.set(answer_valid_i=int(due), answer_data_i=0xDEAD)
        cell.set(read_data_valid_i=int(brings), read_data_i=0xBAD)
        cell.set(write_idle_i=int(cycle > self.busy_until))
        if due:
            cell.set(answer_data_i=self.answers.popleft()[1])
        if brings:
            cell.set(read_data_i=self.reads.popleft()[1])
        cell.settle()
        if self.port("request", "write", "address", "bytes", "data") and request_ready:
            self.request(cycle)
        if self.port("write", "address", "bytes", "data") and write_ready:
            address, count = cell.get("write_address_o"), cell.get("write_bytes_o")
            self.buffer[address : address + count] = _bytes(cell.get("write_data_o"))[:count]
            self.busy_until = cycle + 1 + (0 if self.ready() else int(self.rng.integers(5)))
        if self.port("read", "address") and read_ready:
            address = cell.get("read_address_o")
            data = pack(self.buffer[address : address + BEAT], 8)
            self.reads.append((cycle + BUFFER_LATENCY, data))
        done = bool(cell.get("done_o"))
        cell.tick()
        cell.set(start_i=0)
        return done

    def ready(self) -> int:
        return int(self.rng is None or self.rng.random() < 0.6)

    def port(self, name: str, *signals: str) -> bool:
        """Whether a port is valid; what waited is still the same."""
        cell = self.cell
        valid = bool(cell.get(f"{name}_valid_o"))
        ready = {"request": "request_ready_i", "read": "read_ready_i", "write": "write_ready_i"}
        now = tuple(cell.get(f"{name}_{s}_o") for s in signals)
        if name == "request" and not cell.get("request_write_o"):
            now = now[:-1]  # a request to read has no data
        if name in self.held:
            assert valid
            assert now == self.held.pop(name)
        if valid and not cell.get(ready[name]):
            self.held[name] = now
        return valid

    def request(self, cycle: int) -> None:
        cell = self.cell
        address, count = cell.get("request_address_o"), cell.get("request_bytes_o")
        assert 1 <= count <= BEAT
        if cell.get("request_write_o"):
            self.dram[address : address + count] = _bytes(cell.get("request_data_o"))[:count]
        self.answers.append((cycle + self.latency, pack(self.dram[address : address + BEAT], 8)))


def _bytes(value: int) -> np.ndarray:
    return np.frombuffer(value.to_bytes(BEAT, "little"), np.uint8)


@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize("store", [0, 1])
def test_dma__moves_pieces_through_a_ring(store: int, stalls: bool) -> None:
    cell, rng = _dma(), np.random.default_rng(store)
    for _ in range(40):
        size, pieces = int(rng.integers(1, 20)), int(rng.integers(1, 5))
        ring = size + int(rng.integers(0, 30))
        step = int(rng.integers(0, ring))
        latency = int(rng.integers(1, QUEUE - 1))
        fields = {
            "store": store,
            "counts": 1,
            "pieces": pieces,
            "piece_bytes": size,
            "dram_base": 7,
            "dram_step": 23,
            "buffer_base": 11,
            "buffer_ring": ring,
            "buffer_first": int(rng.integers(0, ring)),
            "buffer_step": step,
        }
        dram = rng.integers(0, 256, 200, dtype=np.uint8)
        buffer = rng.integers(0, 256, 200, dtype=np.uint8)
        want_dram, want_buffer = dram.copy(), buffer.copy()
        for piece in range(pieces):
            for i in range(size):
                there = 7 + 23 * piece + i
                here = 11 + (fields["buffer_first"] + piece * step + i) % ring
                if store:
                    want_dram[there] = buffer[here]
                else:
                    want_buffer[here] = dram[there]
        cycles = Bench(cell, dram, buffer, latency, rng if stalls else None).transfer(fields)
        assert np.array_equal(dram, want_dram)
        assert np.array_equal(buffer, want_buffer)
        if not stalls and fields["buffer_first"] + pieces * (size + step) < ring:
            beats = pieces * -(-size // BEAT)
            assert cycles == (STORE_OVERHEAD if store else LOAD_OVERHEAD) + latency + beats


@pytest.mark.parametrize("latency", [1, QUEUE - 2, QUEUE - 1, 3 * QUEUE])
@pytest.mark.parametrize("store", [0, 1])
def test_dma__a_beat_per_cycle(store: int, latency: int) -> None:
    beats, size = 100, 100 * BEAT
    fields = {
        "store": store,
        "counts": 1,
        "pieces": 1,
        "piece_bytes": size,
        "dram_base": 0,
        "dram_step": size,
        "buffer_base": 0,
        "buffer_ring": size,
        "buffer_first": 0,
        "buffer_step": 0,
    }
    dram = np.arange(size).astype(np.uint8)
    cycles = Bench(_dma(), dram, dram.copy(), latency, None).transfer(fields)
    unhindered = (STORE_OVERHEAD if store else LOAD_OVERHEAD) + latency + beats
    if store or latency + 2 <= QUEUE:
        assert cycles == unhindered
    else:  # a load's queue must take what is on its way
        assert cycles > unhindered
