"""Names of models made legal: unique Verilog identifiers, and text that can stand in a comment."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: longest identifier and longest name in a comment, in characters
MAX_LENGTH = 64

_RESERVED_WORDS = """
1step accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker
class clocking cmos config const constraint context continue cover covergroup coverpoint cross
deassign default defparam design disable dist do edge else end endcase endchecker endclass
endclocking endconfig endfunction endgenerate endgroup endinterface endmodule endpackage
endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually
expect export extends extern final first_match for force foreach forever fork forkjoin function
generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies
import incdir include initial inout input inside instance int integer interconnect interface
intersect join join_any join_none large let liblist library local localparam logic longint
macromodule matches medium modport module nand negedge nettype new nexttime nmos nor noshowcancelled
not notif0 notif1 null or output package packed parameter pmos posedge primitive priority program
property protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand
randc randcase randsequence rcmos real realtime ref reg reject_on release repeat restrict return
rnmos rpmos rtran rtranif0 rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared
sequence shortint shortreal showcancelled signed small soft solve specify specparam static string
strong strong0 strong1 struct super supply0 supply1 sync_accept_on sync_reject_on table tagged task
this throughout time timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior trireg
type typedef union unique unique0 unsigned until until_with untyped use uwire var vectored virtual
void wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
"""
#: every reserved word of IEEE 1800-2017, table B.1
RESERVED = frozenset(_RESERVED_WORDS.split())


def identifier(name: str) -> str:
    """``name`` in lower case with everything but letters, digits and underscores replaced; never
    empty, never a digit first, never a reserved word, at most ``MAX_LENGTH`` long."""
    text = re.sub(r"\W", "_", name, flags=re.ASCII)
    text = re.sub(r"_+", "_", text).strip("_").lower()
    if not text or text[0].isdigit() or text in RESERVED:
        text = f"n_{text}"
    return text[:MAX_LENGTH].rstrip("_")


def unique_identifiers(names: Iterable[str]) -> dict[str, str]:
    """An identifier for each name; those that would be equal get numbers. All are in lower case, so
    they differ for tools that ignore case too."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    for name in dict.fromkeys(names):
        base = candidate = identifier(name)
        while candidate in taken:
            numbers[base] = numbers.get(base, 1) + 1
            suffix = f"_{numbers[base]}"
            candidate = base[: MAX_LENGTH - len(suffix)] + suffix
        taken.add(candidate)
        result[name] = candidate
    return result


def comment_text(name: str) -> str:
    """``name`` as it may stand inside a comment: one line, nothing that ends the comment or that a
    tool takes for a directive, at most ``MAX_LENGTH`` long."""
    text = re.sub(r"[^A-Za-z0-9 ._+/-]+", "_", name)
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."
