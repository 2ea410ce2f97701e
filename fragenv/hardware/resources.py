"""Resources of an FPGA, in the units that synthesis reports."""

from __future__ import annotations

from dataclasses import dataclass, fields

#: bytes of a block RAM by family. FPGAs: 18 Kbit, parity bits included as data sheets count them; a
#: coarse-grained array's memory tiles have no parity.
SRAM_BLOCK_BYTES = {"ecp5": 2304, "xilinx": 2304, "cgra": 2048}


@dataclass(frozen=True, slots=True)
class Resources:
    """What a circuit takes: look-up tables, flip-flops, multipliers, block RAMs."""

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    sram: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(getattr(self, n) + getattr(other, n) for n in RESOURCES))


RESOURCES = tuple(f.name for f in fields(Resources))
