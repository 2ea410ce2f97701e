"""Cells through Yosys: what is counted is what their headers say."""

from __future__ import annotations

from pathlib import Path

import pytest

from fragenv.hardware.resources import Resources
from fragenv.synth import place as placing
from fragenv.synth.configurations import cell, cells
from fragenv.synth.netlist import Design, key, known, synthesise, write_files
from fragenv.synth.place import Effort, place
from fragenv.synth.resources import count
from fragenv.synth.tools import SynthesisError, Tool, nextpnr, run, yosys
from fragenv.verify.build import cells_folder

NAMES = sorted(p.stem for p in cells_folder().glob("fe_*.sv"))


@pytest.mark.rtl
def test_yosys__reads_every_cell(needs_yosys: None, tmp_path: Path) -> None:
    write_files(cells(), tmp_path)
    files = " ".join(f"{name}.sv" for name in NAMES)
    for name in NAMES:
        script = f"read_verilog -sv -I. {files}; hierarchy -check -top {name}; proc; check -assert"
        run(yosys(), ["-q", "-p", script], tmp_path)


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("family", "per_lane"),
    # 16 x 24 bits and 16 x 24 bits: two 18 x 18 multipliers each, or one of 25 x 18
    [("ecp5", 4), ("xilinx", 2)],
)
def test_synthesise__multipliers_of_a_requantiser(
    needs_yosys: None, family: str, per_lane: int
) -> None:
    found = synthesise(cell("fe_requantise", Lanes=2), family)
    assert found.dsp == 2 * per_lane
    assert found.sram == 0
    assert found.lut > 0


@pytest.mark.rtl
def test_synthesise__a_multiplier_per_weight(needs_yosys: None) -> None:
    array = cell("fe_mac_array", LanesIn=3, LanesOut=2)
    found = synthesise(array, "ecp5")
    assert found.dsp == 6
    assert found.ff >= 2 * 8 * 6  # current and spare weights


@pytest.mark.rtl
@pytest.mark.parametrize("family", ["ecp5", "xilinx"])
@pytest.mark.parametrize("rows", [512, 5632])
def test_synthesise__a_bank_wastes_no_block_ram(needs_yosys: None, family: str, rows: int) -> None:
    bank = cell("fe_bank", RowBytes=4, Rows=rows, IndexBits=13)
    assert synthesise(bank, family).sram == rows // 512


def test_synthesise__refuses_with_the_tools_message(needs_yosys: None) -> None:
    with pytest.raises(SynthesisError, match="syntax error"):
        synthesise(Design("wrong", {"wrong.sv": "module wrong (; endmodule"}), "ecp5")
    with pytest.raises(SynthesisError, match="unknown family 'ice40'"):
        synthesise(cell("fe_fifo"), "ice40")


@pytest.mark.rtl
def test_known__is_what_was_synthesised(
    needs_yosys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fragenv.synth.netlist.cache_folder", lambda: tmp_path)
    fifo = cell("fe_fifo", Bits=2, Depth=2)
    assert known(fifo, "ecp5") is None
    found = synthesise(fifo, "ecp5")
    assert known(fifo, "ecp5") == found
    assert known(fifo, "xilinx") is None


def test_cell__has_what_is_below_it_alone() -> None:
    assert set(cell("fe_fifo").files) == {"fe_fifo.sv"}
    assert set(cell("fe_dma").files) == {
        "fe_dma.sv",
        "fe_dma_record.svh",
        "fe_fifo.sv",
        "fe_pieces.sv",
    }


def test_key__depends_on_everything(needs_yosys: None) -> None:
    base = Design("a", {"a.sv": "1"}, {"P": 1})
    others = (
        Design("b", {"a.sv": "1"}, {"P": 1}),
        Design("a", {"a.sv": "2"}, {"P": 1}),
        Design("a", {"a.sv": "1"}, {"P": 2}),
        Design("a", {"a.sv": "1"}, {"P": 1}, ("c",)),
    )
    keys = {key(d, "ecp5") for d in (base, *others)} | {key(base, "xilinx")}
    assert len(keys) == len(others) + 2
    assert key(base, "ecp5") == key(Design("a", {"a.sv": "1"}, {"P": 1}), "ecp5")


def test_count__weighs_cells() -> None:
    lattice = {"LUT4": 10, "CCU2C": 3, "PFUMX": 4, "TRELLIS_FF": 7, "DP16KD": 2, "MULT18X18D": 5}
    assert count(lattice, "ecp5") == Resources(lut=16, ff=7, dsp=5, sram=2)
    xilinx = {"LUT6": 10, "LUT2": 1, "CARRY4": 9, "FDRE": 7, "RAMB36E1": 2, "RAMB18E1": 1}
    assert count(xilinx, "xilinx") == Resources(lut=11, ff=7, dsp=0, sram=5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("top", "parameters"),
    [
        ("fe_requantise", {"Lanes": 2}),
        ("fe_accumulator", {"Lanes": 2}),
        ("fe_mac_array", {"LanesOut": 4}),
        ("fe_dma", {}),
    ],
)
def test_place__cells_pass_80_mhz(
    needs_nextpnr: None, top: str, parameters: dict[str, int | str]
) -> None:
    assert place(cell(top, **parameters)).clock_mhz >= 80


@pytest.mark.slow
def test_place__counts_a_router_that_does_not_end_as_not_routed(
    needs_nextpnr: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The placer is nextpnr; what never ends after it is a program that waits."""
    stuck = tmp_path / "stuck"
    stuck.write_text(f'#!/bin/sh\n"{nextpnr().path}" "$@" --no-route\nexec sleep 600\n')
    stuck.chmod(0o755)
    monkeypatch.setattr(placing, "nextpnr", lambda: Tool(str(stuck), "stuck 0"))
    monkeypatch.setattr(placing, "cache_folder", lambda: tmp_path)
    found = place(cell("fe_dma"), Effort(limit_s=90))
    assert not found.routed and found.clock_mhz == found.estimate_mhz > 50
    with pytest.raises(SynthesisError, match="did not end in 0 s, hence no clock"):
        place(cell("fe_dma"), Effort(limit_s=0.1))
