"""From the cells of a synthesised netlist to resources."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from fragenv.hardware.resources import Resources


class Family(StrEnum):
    """FPGAs that Yosys maps to."""

    ECP5 = "ecp5"
    XILINX = "xilinx"


#: family -> resource -> cell of the netlist -> how many of the resource it takes. The sources are
#: the cell libraries of Yosys (techlibs/ecp5, techlibs/xilinx): a carry cell of the ECP5 is two
#: tables, a distributed RAM of 16 x 4 bits four, one of a 7-series FPGA of 64 x 3 bits four.
CELLS: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    Family.ECP5: {
        "lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
        "ff": {"TRELLIS_FF": 1},
        "dsp": {"MULT18X18D": 1},
        "sram": {"DP16KD": 1},
    },
    Family.XILINX: {
        "lut": {
            **{f"LUT{n}": 1 for n in range(1, 7)},
            "INV": 1,
            "SRL16E": 1,
            "SRLC32E": 1,
            "RAM32X1D": 2,
            "RAM64X1D": 2,
            "RAM128X1D": 4,
            "RAM32M": 4,
            "RAM64M": 4,
        },
        "ff": {"FDRE": 1, "FDSE": 1, "FDCE": 1, "FDPE": 1},
        "dsp": {"DSP48E1": 1},
        "sram": {"RAMB18E1": 1, "RAMB36E1": 2},
    },
}


def count(cells: Mapping[str, int], family: str) -> Resources:
    """Resources of a netlist, given as cell type -> number."""
    return Resources(
        **{
            name: sum(weight * cells.get(cell, 0) for cell, weight in kinds.items())
            for name, kinds in CELLS[family].items()
        }
    )
