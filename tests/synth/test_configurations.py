"""What is on the chip at the same time, and what a top module says of itself."""

from __future__ import annotations

from fragenv.hardware.chip import load_chip
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.rtl import isa
from fragenv.rtl.circuits import CONFIG_UNIT
from fragenv.rtl.top import circuit_name
from fragenv.synth.configurations import (
    _bound_together,
    _fragment,
    _number,
    fragments_of,
    shell_of,
    top_of,
)

UNITS = 5


def _record(unit: int, words: list[int]) -> list[int]:
    return [isa.header(unit, words), *words]


def _bind(fragment: int, evicted: int) -> list[int]:
    fields = {"fragment": fragment, "evicted": evicted, "address": 64, "bytes": 8}
    waits = isa.pack_waits({0: 3}, UNITS)
    return _record(CONFIG_UNIT, waits + isa.pack(isa.CONFIG_FIELDS, fields))


def test_bound_together__follows_the_binds() -> None:
    program = [
        *_record(0, [CONFIG_UNIT] * 7),  # payload is not mistaken for a header
        *_bind(2, 0b001),
        *_record(3, [0] * 20),
        *_bind(0, 0b110),
        *_bind(1, 0b000),
        *_record(isa.END_UNIT, isa.pack_waits({0: 1}, UNITS)),
        *_bind(2, 0),  # behind the end
    ]
    # the last BIND leads back to the first configuration
    assert _bound_together(program, UNITS, 0b011) == [0b011, 0b110, 0b001]


def test_fragment__is_the_inverse_of_its_name() -> None:
    for fragment in (
        Fragment(7, 64, (Stage.MAC, Stage.POOL)),
        Fragment(1, 3, (Stage.ADD,)),
        Fragment(2, 2, ()),
    ):
        assert _fragment(circuit_name(fragment, 11)) == fragment


def test_top__fragments_and_shell_are_read_back() -> None:
    chip = load_chip("ecp5-85")
    first, second = Fragment(4, 16, (Stage.MAC,)), Fragment(8, 2, (Stage.MAC, Stage.POOL))
    top = top_of(chip, (first, second))
    designs = fragments_of(top)
    assert list(designs) == [circuit_name(first, 0), circuit_name(second, 1)]
    for design, fragment in zip(designs.values(), (first, second), strict=True):
        assert design.top == "fe_fragment"
        assert design.parameters["LanesIn"] == fragment.lanes_in
        assert design.parameters["LanesOut"] == fragment.lanes_out
        assert design.parameters["HasPool"] == int(Stage.POOL in fragment.stages)
    shell = shell_of(top)
    assert shell.buffer_bytes == chip.buffer_bytes
    assert shell.circuits == 2
    assert shell.readers[0] == shell.writers[0] == chip.dram_bytes_per_cycle
    assert set(shell.writers[1:]) == {16, 2}


def test_number__reads_constants() -> None:
    constants = {"RunBits": "1216"}
    assert [_number(t, constants) for t in ("7", " 1'b1 ", "16'd300", "8'hff", "RunBits")] == [
        7,
        1,
        300,
        255,
        1216,
    ]
