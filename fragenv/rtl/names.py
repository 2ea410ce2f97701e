"""Names of models made legal, unique Verilog identifiers."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: words that SystemVerilog keeps for itself and that models use as names
_RESERVED = frozenset(
    (
        "always",
        "and",
        "assign",
        "automatic",
        "begin",
        "bit",
        "buf",
        "byte",
        "case",
        "cell",
        "config",
        "default",
        "design",
        "disable",
        "do",
        "edge",
        "else",
        "end",
        "event",
        "final",
        "for",
        "force",
        "function",
        "if",
        "initial",
        "input",
        "inside",
        "int",
        "integer",
        "join",
        "library",
        "logic",
        "module",
        "new",
        "not",
        "null",
        "or",
        "output",
        "packed",
        "parameter",
        "priority",
        "process",
        "program",
        "real",
        "reg",
        "release",
        "repeat",
        "return",
        "static",
        "string",
        "struct",
        "table",
        "task",
        "this",
        "time",
        "type",
        "union",
        "unique",
        "use",
        "var",
        "wait",
        "while",
        "wire",
        "with",
        "within",
        "xor",
    )
)


def identifier(name: str) -> str:
    """``name`` with everything but letters, digits and underscores replaced; never empty, never a
    number first, never a reserved word."""
    text = re.sub(r"\W", "_", name, flags=re.ASCII)
    text = re.sub(r"_+", "_", text).strip("_").lower()
    if not text or text[0].isdigit() or text in _RESERVED:
        text = f"n_{text}".rstrip("_")
    return text


def unique_identifiers(names: Iterable[str]) -> dict[str, str]:
    """An identifier for each name; those that would be equal get numbers."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        base = identifier(name)
        candidate, number = base, 1
        while candidate in taken:
            number += 1
            candidate = f"{base}_{number}"
        taken.add(candidate)
        result[name] = candidate
    return result
