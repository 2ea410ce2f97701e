"""The two tables of the normalisation unit ``fe_lrn``, and the include file that holds them.

The unit takes a logarithm and a power of two by linear interpolation between 257 points:
LOG[i] = round(2**20 * log2(1 + i/256)) and EXP[i] = round(2**23 * 2**(i/256)), i = 0..256. A ROM
word holds a point and the step to the next one, so that one look-up per lane is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

#: intervals of each table; the 8 upper bits of a fraction choose one
INTERVALS = 256
#: binary digits behind the point of a logarithm
LOG_FRACTION_BITS = 20
#: EXP begins at 2**23, so that its values are 24-bit multipliers of the requantiser
EXP_FRACTION_BITS = 23
#: bits of a ROM word: the point (EXP's without its top bit, which is always 1) and the step
LOG_BITS, LOG_STEP_BITS = 20, 13
EXP_BITS, EXP_STEP_BITS = 23, 16


def log_table() -> list[int]:
    """LOG: 257 integers from 0 to 2**20."""
    return [round(2**LOG_FRACTION_BITS * log2(1 + i / INTERVALS)) for i in range(INTERVALS + 1)]


def exp_table() -> list[int]:
    """EXP: 257 integers from 2**23 to 2**24."""
    return [round(2.0 ** (EXP_FRACTION_BITS + i / INTERVALS)) for i in range(INTERVALS + 1)]


def tables_include() -> str:
    """The text of ``cells/fe_lrn_tables.svh``: a function per ROM."""
    return (
        "// Tables of fe_lrn, written from fragenv/rtl/lrn_tables.py: change them there.\n"
        + _rom("log_word", log_table(), LOG_BITS, LOG_STEP_BITS)
        + _rom("exp_word", exp_table(), EXP_BITS, EXP_STEP_BITS)
    )


def _rom(name: str, points: Sequence[int], bits: int, step_bits: int) -> str:
    """A function from an interval to {step to the next point, the point's lower ``bits`` bits}."""
    lines = [
        "",
        f"function automatic logic [{bits + step_bits - 1}:0] {name}(input logic [7:0] interval);",
        "  case (interval)",
    ]
    for i in range(INTERVALS):
        label = f"8'd{i}" if i < INTERVALS - 1 else "default"
        step = points[i + 1] - points[i]
        point = points[i] % (1 << bits)
        lines.append(f"    {label}: {name} = {{{step_bits}'d{step}, {bits}'d{point}}};")
    return "\n".join([*lines, "  endcase", "endfunction", ""])
