"""Resources of an FPGA, in the units that synthesis reports."""

from __future__ import annotations

from dataclasses import dataclass, fields

#: bytes of a block RAM of 18 Kbit, as data sheets count them: its parity bits included
SRAM_BLOCK_BYTES = 18 * 1024 // 8


@dataclass(frozen=True, slots=True)
class Resources:
    """What a circuit takes: look-up tables, flip-flops, multipliers, block RAMs of 18 Kbit."""

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    sram: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(getattr(self, n) + getattr(other, n) for n in RESOURCES))


RESOURCES = tuple(f.name for f in fields(Resources))
