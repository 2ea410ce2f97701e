"""The emitter without simulation: formats, names, numbers, packing, waits, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fragenv.errors import InfeasibleError
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.models.load import load_graph
from fragenv.rtl import isa
from fragenv.rtl.emit import emit, write
from fragenv.rtl.errors import EmitError
from fragenv.rtl.memory_map import Need, pack
from fragenv.rtl.waits import Access, count_waits
from fragenv.rtl.weights import channel_constants, fixed_point, weight_stream
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Program
from fragenv.schedule.shape import task_shape
from fragenv.verify.build import cells_folder


@pytest.mark.parametrize("name", sorted(isa.RECORDS))
def test_record_structs__are_those_of_the_isa(name: str) -> None:
    text = (cells_folder() / f"fe_{name}_record.svh").read_text()
    assert text == isa.record_struct(name)


def test_cells__are_documented_and_short() -> None:
    for path in sorted(cells_folder().glob("*.sv")):
        lines = path.read_text().splitlines()
        assert lines[0].startswith(f"// {path.stem} - "), path.name
        assert len(lines) <= 200, path.name
        assert "`default_nettype none" in lines and lines[-1] == "`default_nettype wire"
        header = " ".join(line for line in lines if line.startswith("//"))
        for word in ("Reset", "Does not"):
            assert word in header, f"{path.name} does not say '{word}'"
        assert max(map(len, lines)) <= 120, path.name


@given(st.integers(-(2**15), 2**15 - 1), st.integers(0, 2**32 - 1))
def test_pack__puts_fields_where_the_struct_has_them(pad: int, base: int) -> None:
    values = dict.fromkeys((f.name for f in isa.RUN_FIELDS), 0)
    words = isa.pack(isa.RUN_FIELDS, values | {"pad_value": pad, "dst_base": base})
    packed = sum(w << (64 * i) for i, w in enumerate(words))
    position = 0
    for field in isa.RUN_FIELDS:
        value = packed >> position & ((1 << field.bits) - 1)
        wanted = {"pad_value": pad % 2**16, "dst_base": base}.get(field.name, 0)
        assert value == wanted
        position += field.bits


def test_pack__refuses_what_does_not_fit() -> None:
    values = dict.fromkeys((f.name for f in isa.CONFIG_FIELDS), 0)
    with pytest.raises(ValueError, match="cannot hold 65536"):
        isa.pack(isa.CONFIG_FIELDS, values | {"fragment": 65536})
    with pytest.raises(ValueError, match="no field"):
        isa.pack(isa.CONFIG_FIELDS, values | {"colour": 1})
    with pytest.raises(ValueError, match="has no value"):
        isa.pack(isa.CONFIG_FIELDS, {})


@given(st.floats(2.0**-30, 2.0**10))
def test_fixed_point__is_exact_to_24_bits(factor: float) -> None:
    multiplier, shift = fixed_point(factor)
    assert 2**23 <= multiplier < 2**24
    error = abs(Fraction(multiplier, 2**shift) - Fraction(factor))
    assert error <= Fraction(factor) / 2**24


def test_fixed_point__refuses_the_impossible() -> None:
    for factor in (0.0, -1.0, 2.0**30, float("inf")):
        with pytest.raises(EmitError, match="fixed-point"):
            fixed_point(factor)


@settings(deadline=None)
@given(
    st.integers(1, 9),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_weight_stream__is_blocks_in_order(
    k: int, parts: list[int], r: int, pi: int, po: int
) -> None:
    c = sum(parts)
    rng = np.random.default_rng(k * 100 + c)
    weight = rng.integers(-128, 128, (k, c, r, 2), dtype=np.int8)
    bias = rng.integers(-1000, 1000, k, dtype=np.int32)
    constants = channel_constants(weight, bias, 5, np.full(k, 0.01), "conv")
    assert list(constants.bias) == [
        int(b) - 5 * int(w.sum(dtype=int)) for b, w in zip(bias, weight, strict=True)
    ]
    stream = weight_stream(weight, constants, tuple(parts), pi, po)
    lanes: list[range] = []  # input channels of each lane group
    for number, size in enumerate(parts):
        start = sum(parts[:number])
        lanes += [range(i, min(start + size, i + pi)) for i in range(start, start + size, pi)]
    expected: list[int] = []
    starts: list[int] = []
    for first in range(0, k, po):
        channels = range(first, min(k, first + po))
        for block in range(len(lanes) * r * 2):
            starts.append(len(expected))
            if block == 0:
                for byte in range(8):
                    for channel in channels:
                        word = int(constants.bias[channel]) & 0xFFFFFFFF
                        word |= int(constants.multiplier[channel]) << 32
                        word |= int(constants.shift[channel]) << 56
                        expected.append(word >> (8 * byte) & 255)
            lane, kernel = divmod(block, r * 2)
            for row in lanes[lane]:
                expected += [int(weight[n, row, kernel // 2, kernel % 2]) & 255 for n in channels]
    assert list(stream) == expected
    graph = load_graph("lenet")
    shape = task_shape(graph, (graph.operators[0].name,), {})
    assert shape is not None
    shape = replace(shape, k=k, c=c, kernel=2 * r, part_channels=tuple(parts))
    fragment = Fragment(pi, po, (Stage.MAC,))
    assert [shape.weight_prefix(i, fragment) for i in range(len(starts))] == starts
    assert shape.weight_prefix(len(starts), fragment) == len(stream)


def test_channel_constants__refuses_sums_beyond_int32() -> None:
    weight = np.full((1, 200_000, 1, 1), 127, np.int8)
    with pytest.raises(EmitError, match="int32"):
        channel_constants(weight, np.zeros(1, np.int32), 0, np.ones(1), "fc")


NEEDS = st.lists(
    st.tuples(st.integers(1, 50), st.integers(0, 30), st.integers(1, 10)), min_size=1, max_size=12
)


@given(NEEDS)
def test_pack__never_overlaps(sizes: list[tuple[int, int, int]]) -> None:
    needs = [Need(str(i), s, t, t + d) for i, (s, t, d) in enumerate(sizes)]
    place = pack(needs, 10_000, "chip")
    for a in needs:
        for b in needs:
            if a is not b and a.start < b.end and b.start < a.end:
                low, high = place[a.name], place[b.name]
                assert low + a.size <= high or high + b.size <= low
    peak = max(sum(n.size for n in needs if n.start <= t < n.end) for t in {n.start for n in needs})
    with pytest.raises(InfeasibleError, match="cannot be packed"):
        pack(needs, peak - 1, "chip")


def test_waits__order_commands_that_share_bytes() -> None:
    accesses = [
        Access(0, [], [(0, 8)], []),
        Access(2, [(0, 8)], [(8, 16)], [0]),
        Access(0, [], [(4, 6)], []),  # overwrites what unit 2 reads: must wait for it
        Access(0, [(8, 16)], [], [1]),  # ordered by the schedule already
        Access(2, [(20, 30)], [], []),
    ]
    waits, added = count_waits(accesses, 3)
    assert waits == [{}, {0: 1}, {2: 1}, {2: 1}, {}]
    assert added == 1


def _program(name: str, chip: str = "cgra512") -> tuple[Problem, Program]:
    problem = Problem(load_graph(name), chip)
    state = problem.initial()
    while not state.finished:
        legal = [a for a in problem.legal_actions(state)]
        state = problem.apply(state, next(a for a in legal if a >= 8))
    return problem, lower(problem, state)


@pytest.mark.parametrize(
    ("network", "what"),
    [("mobilenetv2", "depthwise"), ("resnet18", "add"), ("squeezenet", "concat")],
)
def test_emit__refuses_operators_without_a_circuit(network: str, what: str) -> None:
    problem, program = _program(network)
    with pytest.raises(EmitError, match=what):
        emit(problem, program, None)


def test_write__is_reproducible_and_whole(tmp_path: Path) -> None:
    problem, program = _program("lenet")
    for name in ("a", "b"):
        write(emit(problem, program, None), tmp_path / name)
    files = sorted(
        p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()
    )
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert {str(p) for p in files} == {*manifest["files"], "manifest.json"}
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(EmitError, match="holds other files"):
        write(emit(problem, program, None), tmp_path / "taken")
    assert [p.name for p in (tmp_path / "taken").iterdir()] == ["notes.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(EmitError, match="cannot write"):
        write(emit(problem, program, None), tmp_path / "file" / "sub")
