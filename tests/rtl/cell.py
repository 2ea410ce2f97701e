"""One cell in Verilator, driven cycle by cycle from Python."""

from __future__ import annotations

import ctypes
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import SupportsInt

from fragenv.verify.build import QUICK, Design, build, cells_folder


class Cell:
    """``set`` inputs, ``tick`` the clock, ``get`` outputs as of the last edge or ``settle``."""

    def __init__(
        self, name: str, inputs: dict[str, int], outputs: dict[str, int], **parameters: int | str
    ) -> None:
        folder = cells_folder()
        text = '#include "Vmodel.h"\n#include <cstring>\nstatic Vmodel* m;\nextern "C" {\n'
        text += "void make() { m = new Vmodel; m->clk_i = 0; m->eval(); }\n"
        text += "void settle() { m->eval(); }\n"
        text += "void tick() { m->clk_i = 1; m->eval(); m->clk_i = 0; m->eval(); }\n"
        self._bytes = {n: -(-bits // 8) for n, bits in (inputs | outputs).items()}
        for port, size in self._bytes.items():
            if port in inputs:
                text += (
                    f"void set_{port}(const void* p) {{ std::memcpy(&m->{port}, p, {size}); }}\n"
                )
            text += f"void get_{port}(void* p) {{ std::memcpy(p, &m->{port}, {size}); }}\n"
        text += "}\n"
        sources = tuple(sorted(folder.glob("*.sv")))
        needed = _used(folder, name)
        with tempfile.TemporaryDirectory() as work:
            harness = Path(work) / "cell.cpp"
            harness.write_text(text)
            design = Design(
                name, tuple(s for s in sources if s.stem in needed), (folder,), parameters
            )
            library = build(design, [harness], QUICK, shared=True)
        self._lib = ctypes.CDLL(str(library))
        self._lib.make()
        self._buffers = {n: ctypes.create_string_buffer(size) for n, size in self._bytes.items()}
        if "rst_ni" in inputs:
            self.set(rst_ni=0)
            self.tick()
            self.set(rst_ni=1)

    def set(self, **values: int) -> None:
        for port, value in values.items():
            size = self._bytes[port]
            self._buffers[port].raw = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
            getattr(self._lib, f"set_{port}")(self._buffers[port])

    def get(self, port: str) -> int:
        getattr(self._lib, f"get_{port}")(self._buffers[port])
        return int.from_bytes(self._buffers[port].raw, "little")

    def settle(self) -> None:
        self._lib.settle()

    def tick(self) -> None:
        self._lib.tick()


def _used(folder: Path, name: str) -> set[str]:
    """The modules below ``name``: sources that matter to the cache."""
    found, todo = {name}, [name]
    while todo:
        text = (folder / f"{todo.pop()}.sv").read_text()
        for child in re.findall(r"^\s*(fe_\w+) (?:#\(|u_)", text, re.MULTILINE):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def declared(name: str) -> int:
    """A localparam of the cells' common latencies."""
    text = (cells_folder() / "fe_latencies.svh").read_text("utf-8")
    found = re.search(rf"localparam int {name}\s*=\s*(\d+);", text)
    assert found, name
    return int(found[1])


def pack(values: Iterable[SupportsInt], bits: int) -> int:
    """Integers to one wide value, first in the lowest bits."""
    result = 0
    for i, value in enumerate(values):
        result |= (int(value) & ((1 << bits) - 1)) << (bits * i)
    return result


def unpack(value: int, bits: int, count: int, signed: bool = True) -> list[int]:
    """The inverse of ``pack``."""
    result = []
    for i in range(count):
        part = (value >> (bits * i)) & ((1 << bits) - 1)
        result.append(part - (1 << bits) if signed and part >> (bits - 1) else part)
    return result
