"""Queue, sequencer and configuration port, with stalls where there are handshakes."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from cell import Cell, pack, unpack

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl


def _word(words: list[int]) -> int:
    return pack(words, 64)


def test_queue__releases_in_order_when_waits_are_met() -> None:
    units, fields = 3, 2
    cell = Cell(
        "fe_queue",
        {
            "clk_i": 1,
            "rst_ni": 1,
            "word_valid_i": 1,
            "word_last_i": 1,
            "word_i": 64,
            "completed_i": 16 * units,
            "done_i": 1,
        },
        {"word_ready_o": 1, "start_o": 1, "record_o": 64 * fields, "complete_o": 1},
        WaitWords=1,
        FieldWords=fields,
        Units=units,
        Depth=2,
        Counted=1,
    )
    rng = np.random.default_rng(9)
    records = []
    for number in range(40):
        waits = {1: number // 2, 2: number // 3}
        counts = int(rng.integers(0, 2))
        records.append((waits, [counts << 16 | number << 32, int(rng.integers(0, 2**60))], counts))
    words = deque(
        (w, last)
        for waits, body, _ in records
        for w, last in zip([*isa.pack_waits(waits, units), *body], (0, 0, 1), strict=True)
    )
    completed, started, busy = [0, 0, 0], 0, False
    for _ in range(3000):
        offered = bool(words) and bool(rng.integers(0, 2))
        if offered:
            cell.set(word_i=words[0][0], word_last_i=words[0][1])
        done = busy and bool(rng.integers(0, 3) == 0)
        cell.set(word_valid_i=int(offered), done_i=int(done), completed_i=pack(completed, 16))
        cell.settle()
        if offered and cell.get("word_ready_o"):
            words.popleft()
        if busy:
            assert unpack(cell.get("record_o"), 64, 2, signed=False) == records[started - 1][1]
        assert cell.get("complete_o") == int(done and records[started - 1][2])
        start = cell.get("start_o")
        if start:
            assert not busy
            waits = records[started][0]
            assert all(completed[u] >= n for u, n in waits.items())
        cell.tick()
        busy = bool(start) or (busy and not done)
        started += start
        for unit in (1, 2):
            completed[unit] += int(rng.integers(0, 5) == 0)
    assert started == len(records)
    assert not words
    assert not busy


def test_sequencer__hands_records_to_their_units() -> None:
    units, lengths = 3, (4, 1, 9)
    cell = Cell(
        "fe_sequencer",
        {"clk_i": 1, "rst_ni": 1, "program_i": 64, "word_ready_i": units, "completed_i": 48},
        {
            "address_o": 32,
            "word_valid_o": units,
            "word_last_o": 1,
            "word_o": 64,
            "over_o": 1,
            "error_o": 1,
        },
        WaitWords=1,
        Units=units,
        UnitWords=pack(lengths, 8),
    )
    rng = np.random.default_rng(2)
    program: list[int] = []
    expected: list[list[tuple[int, int]]] = [[] for _ in range(units)]
    for _ in range(30):
        unit = int(rng.integers(0, units))
        count = lengths[unit]
        payload = [int(v) for v in rng.integers(0, 2**62, count)]
        program += [isa.header(unit, payload), *payload]
        expected[unit] += [(w, int(i == count - 1)) for i, w in enumerate(payload)]
    waits = isa.pack_waits({0: 1, 2: 5}, units)
    program += [isa.header(isa.END_UNIT, waits), *waits]
    seen: list[list[tuple[int, int]]] = [[] for _ in range(units)]
    for _ in range(1000):
        address = cell.get("address_o")
        ready = int(rng.integers(0, 8))
        cell.set(program_i=program[min(address, len(program) - 1)], word_ready_i=ready)
        cell.set(completed_i=pack([1, 0, 4], 16))
        cell.settle()
        valid = cell.get("word_valid_o")
        for unit in range(units):
            if valid >> unit & ready >> unit & 1:
                seen[unit].append((cell.get("word_o"), cell.get("word_last_o")))
        assert not cell.get("over_o")
        cell.tick()
    assert seen == expected
    assert not cell.get("error_o")
    cell.set(completed_i=pack([1, 0, 5], 16))
    cell.settle()
    assert cell.get("over_o")


def test_config__binds_after_the_last_byte() -> None:
    cell = Cell(
        "fe_config",
        {
            "clk_i": 1,
            "rst_ni": 1,
            "start_i": 1,
            "config_i": 128,
            "answer_valid_i": 1,
            "answer_bytes_i": 16,
        },
        {"done_o": 1, "request_o": 1, "request_address_o": 32, "request_bytes_o": 32, "bound_o": 3},
        Fragments=3,
        PowerUp=0b011,
    )
    fields = {"fragment": 2, "evicted": 0b001, "address": 640, "bytes": 10}
    cell.set(config_i=_word(isa.pack(isa.CONFIG_FIELDS, fields)), start_i=0, answer_valid_i=0)
    cell.tick()
    assert cell.get("bound_o") == 0b011
    cell.set(start_i=1)
    cell.settle()
    assert (cell.get("request_o"), cell.get("request_address_o")) == (1, 640)
    assert cell.get("request_bytes_o") == 10
    cell.tick()
    cell.set(start_i=0)
    for beat in (4, 0, 4, 2):
        assert cell.get("bound_o") == 0b010
        cell.set(answer_valid_i=int(beat > 0), answer_bytes_i=beat)
        cell.settle()
        assert cell.get("done_o") == int(beat == 2)
        cell.tick()
    assert cell.get("bound_o") == 0b110
