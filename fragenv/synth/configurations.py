"""Configurations of an emission: which circuits are on the chip at the same time."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fragenv.hardware.chip import Chip
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.rtl.circuits import CONFIG_UNIT, FIRST_CIRCUIT_UNIT, WINDOW_STAGES, Circuits
from fragenv.rtl.isa import CONFIG_FIELDS, END_UNIT, Field, wait_words
from fragenv.rtl.top import TOP_NAME, top_module
from fragenv.synth.netlist import Design
from fragenv.synth.tools import SynthesisError
from fragenv.verify.build import cells_folder
from fragenv.verify.run import read_manifest

FRAGMENT_CELL = "fe_fragment"


@dataclass(frozen=True, slots=True)
class Configuration:
    """Circuits that are bound together, by their numbers in the emission, and their top module."""

    circuits: tuple[int, ...]
    fragments: tuple[Fragment, ...]
    top: str


def configurations(folder: Path) -> list[Configuration]:
    """The configurations that an emission goes through, each once, in order.

    Raises:
        VerifyError: the folder is no emission.
        SynthesisError: it was written by another version of the library.
    """
    manifest = read_manifest(folder)
    files = {p.name: p.read_text("utf-8") for p in (folder / "rtl").glob("*.sv*")}
    if {n: t for n, t in files.items() if n != f"{TOP_NAME}.sv"} != cells():
        raise SynthesisError(f"'{folder}' holds other cells than this version's; emit again")
    top = files[f"{TOP_NAME}.sv"]
    fragments = [_fragment(name) for name in manifest["units"][FIRST_CIRCUIT_UNIT:]]
    chip = Chip(**manifest["chip"])
    settings = [d.parameters for d in fragments_of(top).values()]
    data = (folder / "program.bin").read_bytes()
    words = struct.unpack(f"<{len(data) // 8}Q", data)
    units = len(manifest["units"])
    found = []
    for bound in _bound_together(words, units, _power_up(top)):
        together = tuple(i for i in range(len(fragments)) if bound >> i & 1)
        chosen = tuple(fragments[i] for i in together)
        windows = [n for n, i in enumerate(together) if settings[i]["HasPool"]]
        text = top_of(chip, chosen, windows, int(settings[0]["Parts"]))
        found.append(Configuration(together, chosen, text))
    return found


def cells() -> dict[str, str]:
    """The hand-written library: file name -> text."""
    return {p.name: p.read_text("utf-8") for p in sorted(cells_folder().glob("fe_*.sv*"))}


def cell(name: str, **parameters: int | str) -> Design:
    """One cell of the library with all that is below it."""
    return Design(name, _needed(cells(), f"{name}.sv"), parameters)


def whole(top: str) -> Design:
    """A configuration with its shell."""
    file = f"{TOP_NAME}.sv"
    return Design(TOP_NAME, _needed({**cells(), file: top}, file))


def shell(top: str) -> Design:
    """The shell alone: its fragments are ports without contents."""
    return replace(whole(top), hollow=(FRAGMENT_CELL,))


def fragments_of(top: str) -> dict[str, Design]:
    """Every fragment of a top module standing alone, by the name of its instance."""
    constants = dict(re.findall(r"localparam int (\w+)\s*= (\d+);", top))
    pattern = rf"{FRAGMENT_CELL} #\((.*?)\) u_(\w+) \("
    found = {}
    for text, name in re.findall(pattern, top, re.DOTALL):
        values = {k: _number(v, constants) for k, v in re.findall(r"\.(\w+)\s*\(([^()]*)\)", text)}
        found[name] = cell(FRAGMENT_CELL, **values)
    return found


def top_of(
    chip: Chip,
    fragments: Iterable[Fragment],
    windows: Iterable[int] | None = None,
    parts: int = 1,
) -> str:
    """A top module that binds the fragments from power-up on.

    It names neither chip nor network, so that equal circuits are synthesised once.

    Args:
        chip: whose shell it is.
        fragments: all its circuits.
        windows: circuits with window operations; by default those whose stages have some.
        parts: sources that a record has room for.
    """
    chosen = tuple(fragments)
    if windows is None:
        windows = (i for i, f in enumerate(chosen) if WINDOW_STAGES & set(f.stages))
    bound = (1 << len(chosen)) - 1
    circuits = Circuits(chosen, {}, bound, frozenset(windows), parts, {})
    return top_module(replace(chip, name="any"), circuits, "synthesis")


@dataclass(frozen=True, slots=True)
class Shell:
    """What the size of a shell depends on."""

    buffer_bytes: int
    #: bytes per cycle of the ports of the buffer; the DMA's are the first
    readers: tuple[int, ...]
    writers: tuple[int, ...]
    circuits: int


def shell_of(top: str) -> Shell:
    """The measures of a top module's shell."""
    capacity = re.search(r"\.Bytes\s*\((\d+)\)", top)
    reads = re.search(r"\.ReadBytes\s*\(\{([^}]*)\}\)", top)
    writes = re.search(r"\.WriteBytes\s*\(\{([^}]*)\}\)", top)
    assert capacity and reads and writes
    widths = [
        tuple(int(v) for v in reversed(re.findall(r"16'd(\d+)", m[1]))) for m in (reads, writes)
    ]
    return Shell(int(capacity[1]), widths[0], widths[1], len(fragments_of(top)))


def _needed(files: Mapping[str, str], first: str) -> dict[str, str]:
    """The files that one needs, so that a change of the others changes no result that is kept."""
    found: dict[str, str] = {}
    todo = [first]
    while todo:
        name = todo.pop()
        found[name] = files[name]
        text = files[name]
        below = {f"{n}.sv" for n in re.findall(r"^\s*(fe_\w+) (?:#\(|u_)", text, re.MULTILINE)}
        below |= set(re.findall(r'`include "(\w+\.svh)"', text))
        todo += sorted(below - set(found))
    return found


def _fragment(name: str) -> Fragment:
    """The inverse of ``circuit_name``."""
    match = re.fullmatch(r"circuit\d+_(\w+)_(\d+)x(\d+)", name)
    assert match, name
    stages = tuple(Stage(s) for s in match[1].split("_") if s != "vector")
    return Fragment(int(match[2]), int(match[3]), stages)


def _power_up(top: str) -> int:
    match = re.search(r"\.PowerUp\(16'd(\d+)\)", top)
    assert match
    return int(match[1])


def _bound_together(words: Iterable[int], units: int, power_up: int) -> list[int]:
    """Sets of bound circuits, one bit each, in the order of the program's BIND records."""
    bound, found = power_up, [power_up]
    stream = iter(words)
    for header in stream:
        unit, count = header & 0xFF, header >> 8 & 0xFF
        payload = [next(stream) for _ in range(count)]
        if unit == END_UNIT:
            break
        if unit == CONFIG_UNIT:
            values = _values(CONFIG_FIELDS, payload[wait_words(units) :])
            bound = bound & ~values["evicted"] | 1 << values["fragment"]
            found.append(bound)
    return list(dict.fromkeys(found))


def _values(fields: Iterable[Field], words: Iterable[int]) -> dict[str, int]:
    packed = sum(word << 64 * i for i, word in enumerate(words))
    values = {}
    for field in fields:
        values[field.name] = packed & (1 << field.bits) - 1
        packed >>= field.bits
    return values


def _number(text: str, constants: Mapping[str, str]) -> int:
    """A parameter's value: a decimal, a sized constant, or a localparam of the top module."""
    text = constants.get(text.strip(), text.strip())
    sized = re.fullmatch(r"\d+'([bdh])([0-9a-f]+)", text)
    return int(sized[2], {"b": 2, "d": 10, "h": 16}[sized[1]]) if sized else int(text)
