"""The check sum of a record, CRC-32 as in Ethernet and zlib, and its circuit for a word per cycle.

The code is linear: each bit of the next state is the exclusive or of some of the 32 bits of the
state and the 64 bits of the word. Which ones follows from the serial form, run on single bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

#: the polynomial, lowest power in the highest bit
_POLYNOMIAL = 0xEDB88320
_STATE_BITS, _WORD_BITS = 32, 64


def crc32(words: Iterable[int]) -> int:
    """The CRC-32 of 64-bit words, taken as little-endian bytes."""
    return zlib.crc32(b"".join(struct.pack("<Q", word) for word in words))


def crc_include() -> str:
    """The text of ``cells/fe_crc32.svh``: a function from state and word to the next state."""
    columns = [_serial(1 << bit) for bit in range(_STATE_BITS + _WORD_BITS)]
    lines = [
        "// CRC-32 of 64 bits at once, written from fragenv/rtl/crc.py: change it there.",
        "// The state begins with all bits 1 and ends inverted; masks choose from {word, state}.",
        "",
        "function automatic logic [31:0] crc32(input logic [31:0] state, input logic [63:0] word);",
        "  logic [95:0] all;",
        "  all = {word, state};",
    ]
    for row in range(_STATE_BITS):
        mask = sum((column >> row & 1) << bit for bit, column in enumerate(columns))
        lines.append(f"  crc32[{row}] = ^(all & 96'h{mask:024x});")
    return "\n".join([*lines, "endfunction", ""])


def _serial(bits: int) -> int:
    """The state after a word; ``bits`` has the state in its lowest 32 bits, then the word."""
    state, word = bits & ((1 << _STATE_BITS) - 1), bits >> _STATE_BITS
    for position in range(_WORD_BITS):
        feedback = (state ^ word >> position) & 1
        state = state >> 1 ^ feedback * _POLYNOMIAL
    return state
