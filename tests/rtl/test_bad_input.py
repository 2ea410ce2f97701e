"""Damaged programs and hand-edited schedules: a clear error, never a hang, never a wrong result."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell import Cell, pack
from hypothesis import given, settings
from hypothesis import strategies as st

from fragenv.errors import FragenvError
from fragenv.hardware.chip import Chip
from fragenv.models.load import load_graph
from fragenv.rtl import isa
from fragenv.rtl.crc import crc_include
from fragenv.rtl.emit import emit_folder
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Program
from fragenv.schedule.schedule import Schedule, load_schedule, save_schedule
from fragenv.schedule.state import State
from fragenv.schedule.trusted import trusted_program
from fragenv.verify.build import cells_folder
from fragenv.verify.run import VerifyError, read_manifest, simulate_emission

#: LeNet is cut into many commands here, and the chip is quickly built
TINY = Chip(
    name="tiny",
    multipliers=32,
    lut=60_000,
    buffer_bytes=20_000,
    local_bytes=65_536,
    dram_bytes_per_cycle=4,
    dram_latency_cycles=20,
    config_bytes=8_192,
    config_bytes_per_cycle=2.5,
    clock_mhz=100.0,
)
ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
UNITS, LENGTHS = 3, (4, 1, 3)
WORD_MASK = (1 << isa.WORD_BITS) - 1


def _small_program() -> list[int]:
    rng = np.random.default_rng(0)
    words: list[int] = []
    for unit in (0, 2, 1, 0):
        payload = [int(v) for v in rng.integers(0, 2**63, LENGTHS[unit])]
        words += [isa.header(unit, payload), *payload]
    waits = isa.pack_waits({0: 1}, UNITS)
    return [*words, isa.header(isa.END_UNIT, waits), *waits]


@lru_cache(maxsize=1)
def _sequencer() -> Cell:
    return Cell(
        "fe_sequencer",
        {"clk_i": 1, "rst_ni": 1, "program_i": 64, "word_ready_i": UNITS, "completed_i": 48},
        {
            "address_o": 32,
            "word_valid_o": UNITS,
            "word_last_o": 1,
            "word_o": 64,
            "over_o": 1,
            "error_o": 1,
        },
        WaitWords=1,
        Units=UNITS,
        UnitWords=pack(LENGTHS, 8),
    )


def _dispatched(program: list[int], seed: int) -> tuple[list[tuple[int, int]], bool, bool]:
    """(unit, last word) of each record that is handed over whole, whether the program ends, and
    whether it ends in an error; beyond its end a program reads as 0."""
    cell, rng = _sequencer(), np.random.default_rng(seed)
    cell.set(rst_ni=0)
    cell.tick()
    cell.set(rst_ni=1, completed_i=pack([1, 1, 1], 16))
    seen: list[tuple[int, int]] = []
    for _ in range(200):
        address = cell.get("address_o")
        ready = int(rng.integers(0, 8)) if seed else 7
        word = program[address] if address < len(program) else 0
        cell.set(program_i=word, word_ready_i=ready)
        cell.settle()
        moving = cell.get("word_valid_o") & ready
        assert not (moving and cell.get("error_o"))
        if moving and cell.get("word_last_o"):
            seen.append((moving.bit_length() - 1, cell.get("word_o")))
        if cell.get("over_o"):
            break
        cell.tick()
    return seen, bool(cell.get("over_o")), bool(cell.get("error_o"))


def test_crc__include_file_is_that_of_the_generator() -> None:
    assert (cells_folder() / "fe_crc32.svh").read_text() == crc_include()


@pytest.mark.rtl
def test_sequencer__stops_at_every_flipped_bit() -> None:
    good = _small_program()
    records, over, error = _dispatched(good, 0)
    assert (len(records), over, error) == (4, True, False)
    starts = np.cumsum([0, *(1 + LENGTHS[unit] for unit, _ in records)])
    for word in range(len(good)):
        before = records[: int(np.searchsorted(starts, word, "right")) - 1]
        for bit in range(isa.WORD_BITS):
            broken = [w ^ (1 << bit) * (i == word) for i, w in enumerate(good)]
            assert _dispatched(broken, bit) == (before, False, True), (word, bit)


@pytest.mark.rtl
def test_sequencer__stops_where_the_program_is_cut_off() -> None:
    good = _small_program()
    for length in range(len(good)):
        records, over, error = _dispatched(good[:length], length)
        assert (over, error) == (False, True)
        assert len(records) <= 4


@pytest.mark.rtl
@settings(deadline=None)
@given(st.data())
def test_sequencer__stops_at_any_other_words(data: st.DataObject) -> None:
    good = _small_program()
    start = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.lists(st.integers(0, WORD_MASK), min_size=1, max_size=6))
    broken = [*good[:start], *other, *good[start + len(other) :]]
    if broken[: len(good)] != good:
        records, over, error = _dispatched(broken, 1)
        assert (over, error) == (False, True)
        assert records == _dispatched(good, 1)[0][: len(records)]


def _solved(problem: Problem) -> tuple[State, tuple[int, ...]]:
    """The first legal action that makes progress, always."""
    state, actions = problem.initial(), []
    while not state.finished:
        after = ((problem.apply(state, a), a) for a in problem.legal_actions(state))
        state, action = next((s, a) for s, a in after if s.tasks_left < state.tasks_left)
        actions.append(action)
    return state, tuple(actions)


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet with zeros for weights."""
    problem = Problem(load_graph("lenet"), TINY)
    state, _ = _solved(problem)
    folder = tmp_path_factory.mktemp("bad") / "emitted"
    emit_folder(problem, lower(problem, state), None, folder)
    return folder


def _simulate(folder: Path) -> None:
    manifest = read_manifest(folder)
    simulate_emission(
        folder,
        {
            p["tensor"]: np.zeros((manifest["batch"], *p["shape"]), np.int8)
            for p in manifest["inputs"]
        },
    )


@pytest.mark.rtl
def test_chip__reports_a_damaged_program(emitted: Path, tmp_path: Path) -> None:
    kinds = {c["kind"] for c in read_manifest(emitted)["commands"]}
    assert {"load", "run", "store"} <= kinds
    _simulate(emitted)
    good = (emitted / "program.bin").read_bytes()
    shutil.copytree(emitted, tmp_path / "e")
    rng = np.random.default_rng(4)
    damaged = [good[:n] for n in (0, 8, len(good) // 2, len(good) - 8, len(good) - 3)]
    for _ in range(20):
        position, bit = int(rng.integers(0, len(good))), int(rng.integers(0, 8))
        flipped = bytes([good[position] ^ 1 << bit])
        damaged.append(good[:position] + flipped + good[position + 1 :])
    for _ in range(20):
        position = 8 * int(rng.integers(0, len(good) // 8))
        word = struct.pack("<Q", int(rng.integers(0, 2**64, dtype=np.uint64)))
        damaged.append(good[:position] + word + good[position + 8 :])
    for program in damaged:
        (tmp_path / "e" / "program.bin").write_bytes(program)
        with pytest.raises(VerifyError, match="the simulated chip fails: the chip reports"):
            _simulate(tmp_path / "e")


def _emit(schedule: Path, output: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "emit.py")]
    return subprocess.run(
        [*command, str(schedule), "--output", str(output)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def _commands(data: Json, **wanted: str) -> list[int]:
    """The commands whose fields are as wanted."""
    columns = data["commands"]["columns"]
    return [
        number
        for number, row in enumerate(data["commands"]["rows"])
        if all(row[columns.index(name)] == value for name, value in wanted.items())
    ]


def _set(data: Json, number: int, name: str, value: object) -> None:
    data["commands"]["rows"][number][data["commands"]["columns"].index(name)] = value


def _forget_waits_of_store(data: Json) -> None:
    _set(data, _commands(data, kind="store")[-1], "waits", [])


def _forget_waits_of_runs(data: Json) -> None:
    for number in _commands(data, kind="run"):
        _set(data, number, "waits", [])


def _wait_for_later(data: Json) -> None:
    _set(data, 2, "waits", [9])


def _wait_for_less(data: Json) -> None:
    """Keeps all rules: some other command is the one that counts."""
    columns, rows = data["commands"]["columns"], data["commands"]["rows"]
    number = max(range(len(rows)), key=lambda i: len(rows[i][columns.index("waits")]))
    _set(data, number, "waits", [*rows[number][columns.index("waits")], 0])


def _work_in_more_memory(data: Json) -> None:
    data["tasks"][1]["working_bytes"] = data["chip"]["buffer_bytes"] + 1


def _smaller_memory(data: Json) -> None:
    data["chip"]["buffer_bytes"] = 6_000


def _drop_store(data: Json) -> None:
    del data["commands"]["rows"][_commands(data, kind="store")[-1]]


def _swap_decisions(data: Json) -> None:
    data["actions"] = data["actions"][::-1]


def _faster_load(data: Json) -> None:
    _set(data, _commands(data, kind="load")[0], "cycles", 1)


def _cut_a_row(data: Json) -> None:
    data["commands"]["rows"][3] = data["commands"]["rows"][3][:-2]


def _unknown_task(data: Json) -> None:
    data["tasks"][0]["fragment"] = 10_000


@pytest.fixture(scope="module")
def schedule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    problem = Problem(load_graph("lenet"), TINY)
    state, actions = _solved(problem)
    path = tmp_path_factory.mktemp("schedule") / "schedule.json"
    save_schedule(Schedule.of(problem, state, actions, "lenet", "first", 0), problem, state, path)
    return path


def _edited(schedule_file: Path, change: Callable[[Json], None], target: Path) -> None:
    data: Json = json.loads(schedule_file.read_text("utf-8"))
    change(data)
    target.write_text(json.dumps(data), "utf-8")


def _trusted(path: Path) -> Program:
    found = load_schedule(path)
    problem = Problem(load_graph(found.model), found.chip, found.batch, found.max_depth)
    return trusted_program(path, found, problem)


def test_trusted_program__is_that_of_the_decisions(schedule_file: Path) -> None:
    problem = Problem(load_graph("lenet"), TINY)
    wanted = lower(problem, _solved(problem)[0])
    assert _trusted(schedule_file).commands == wanted.commands
    assert _trusted(schedule_file.parent).commands == wanted.commands


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_forget_waits_of_store, "STORE before its RUN at command"),
        (_forget_waits_of_runs, "RUN before its weights at command"),
        (_wait_for_later, "waits for a later command at 2"),
        (_wait_for_less, "'waits' of command"),
        (_work_in_more_memory, "buffer exceeded at cycle"),
        (_smaller_memory, "buffer exceeded at cycle"),
        (_drop_store, "output not stored once"),
        (_swap_decisions, "decision 0"),
        (_faster_load, "too fast at command 0"),
        (_cut_a_row, "is damaged"),
        (_unknown_task, "is damaged"),
    ],
)
def test_trusted_program__refuses_an_edited_schedule(
    change: Callable[[Json], None], message: str, schedule_file: Path, tmp_path: Path
) -> None:
    _edited(schedule_file, change, tmp_path / "edited.json")
    with pytest.raises(FragenvError, match=re.escape(message)):
        _trusted(tmp_path / "edited.json")


def test_emit__writes_nothing_for_an_edited_schedule(schedule_file: Path, tmp_path: Path) -> None:
    _edited(schedule_file, _forget_waits_of_runs, tmp_path / "edited.json")
    done = _emit(tmp_path / "edited.json", tmp_path / "out")
    assert done.returncode == 2
    assert "RUN before its weights at command" in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["edited.json"]
