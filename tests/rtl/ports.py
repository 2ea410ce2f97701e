"""The buffer as a cell sees it: bytes behind reader ports and a writer port, which stall."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from cell import Cell, declared

#: cycles from the transfer of a read to its data where nothing stalls; reads under way at most
LATENCY, FLIGHT = declared("BufferLatency"), declared("BufferFlight")


@dataclass
class Reader:
    """A reader port of a cell: the beginning of its names, bytes, names of its data ("" where they
    go to another cell) and of their valid bit.

    ``stalls`` is the share of cycles in which the port is not ready, and in which data that could
    come do not.
    """

    name: str
    bytes: int
    data: str = ""
    valid: str = ""
    stalls: float = 0.0
    #: it says how many bytes it reads; otherwise all
    counted: bool = False
    #: address and bytes that wait for ready
    waiting: tuple[int, int] | None = None
    #: (earliest cycle of its data, address, bytes) of what is under way
    coming: deque[tuple[int, int, int]] = field(default_factory=deque)
    #: what the data are in this cycle; whether there are any
    seen: int = 0
    brings: bool = False

    def inputs(self) -> dict[str, int]:
        data = {self.data: 8 * self.bytes} if self.data else {}
        return {f"{self.name}_ready_i": 1, self.valid: 1, **data}

    def outputs(self) -> dict[str, int]:
        count = {f"{self.name}_bytes_o": 16} if self.counted else {}
        return {f"{self.name}_valid_o": 1, f"{self.name}_address_o": 32, **count}


@dataclass
class Writer:
    """The writer port of a cell, ``bytes`` wide."""

    bytes: int
    stalls: float = 0.0
    #: (address, bytes, data) that waits for ready
    waiting: tuple[int, int, int] | None = None

    #: whether the cell asks if writes wait in the buffer
    watched: bool = False
    #: cycle in which the last write leaves the port for its bank
    busy_until: int = -1

    def inputs(self) -> dict[str, int]:
        return {"write_ready_i": 1, **({"write_idle_i": 1} if self.watched else {})}

    def outputs(self) -> dict[str, int]:
        return {
            "write_valid_o": 1,
            "write_address_o": 32,
            "write_bytes_o": 16,
            "write_data_o": 8 * self.bytes,
        }


class Ports:
    """Serves the ports of a cell from ``memory`` and checks that requests wait unchanged.

    Data come in order, ``LATENCY`` cycles after their transfer or later; in all other cycles they
    are garbage. Every byte may be written once.
    """

    def __init__(
        self,
        cell: Cell,
        memory: npt.NDArray[np.uint8],
        readers: tuple[Reader, ...],
        writer: Writer | None = None,
        seed: int = 0,
    ) -> None:
        self.cell, self.memory, self.readers, self.writer = cell, memory, readers, writer
        self.random = random.Random(seed)
        self.written = np.zeros(len(memory), bool)
        self.cycle = self.moved = 0
        if writer is not None:
            writer.busy_until = -1

    @property
    def stuck(self) -> bool:
        """Nothing has moved for longer than any stall lasts."""
        return self.cycle - self.moved > 2000

    def settle(self, **inputs: int) -> None:
        """The first half of a cycle: inputs are set, outputs follow, what is ready moves."""
        self.cell.set(**inputs)
        ready = [
            self.random.random() >= port.stalls and len(port.coming) < FLIGHT
            for port in self.readers
        ]
        for port, moves in zip(self.readers, ready, strict=True):
            port.seen = self._data(port)
            self.cell.set(**{f"{port.name}_ready_i": int(moves), port.valid: int(port.brings)})
            if port.data:
                self.cell.set(**{port.data: port.seen})
        accepts = self.writer is not None and self.random.random() >= self.writer.stalls
        if self.writer is not None:
            self.cell.set(write_ready_i=int(accepts))
            if self.writer.watched:
                self.cell.set(write_idle_i=int(self.cycle > self.writer.busy_until))
        self.cell.settle()
        for port, moves in zip(self.readers, ready, strict=True):
            self._read(port, moves)
        if self.writer is not None:
            self._write(self.writer, accepts)

    def tick(self) -> None:
        """The second half: the clock's edge."""
        self.cell.tick()
        self.cycle += 1

    def _data(self, port: Reader) -> int:
        garbage = self.random.getrandbits(8 * port.bytes)
        port.brings = bool(
            port.coming and port.coming[0][0] <= self.cycle and self.random.random() >= port.stalls
        )
        if not port.brings:
            return garbage
        _, address, count = port.coming.popleft()
        found = self.memory[address : address + count].tobytes()
        return int.from_bytes(found, "little") | garbage >> (8 * len(found)) << (8 * len(found))

    def _read(self, port: Reader, moves: bool) -> None:
        request = None
        if self.cell.get(f"{port.name}_valid_o"):
            count = self.cell.get(f"{port.name}_bytes_o") if port.counted else port.bytes
            request = (self.cell.get(f"{port.name}_address_o"), count)
        if port.waiting is not None:
            assert request == port.waiting, f"{port.name} moves on before it is served"
        port.waiting = None if moves else request
        if moves and request is not None:
            address, count = request
            assert address < len(self.memory), f"{port.name} reads byte {address}"
            assert 1 <= count <= port.bytes
            port.coming.append((self.cycle + LATENCY, address, count))
            self.moved = self.cycle

    def _write(self, port: Writer, moves: bool) -> None:
        get = self.cell.get
        request = None
        if get("write_valid_o"):
            request = (get("write_address_o"), get("write_bytes_o"), get("write_data_o"))
        if port.waiting is not None:
            assert request == port.waiting, "the writer moves on before it is served"
        port.waiting = None if moves else request
        if moves and request is not None:
            address, count, data = request
            assert 1 <= count <= port.bytes
            waits = 1 + (self.random.randrange(4) if self.random.random() < port.stalls else 0)
            port.busy_until = self.cycle + waits
            place = slice(address, address + count)
            assert not self.written[place].any(), f"bytes {place} are written twice"
            self.written[place] = True
            self.moved = self.cycle
            whole = data.to_bytes(port.bytes, "little")
            self.memory[place] = np.frombuffer(whole[:count], np.uint8)
