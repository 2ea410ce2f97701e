"""Synthesis with Yosys: SystemVerilog in, counted resources and a netlist out, kept by content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fragenv.hardware.resources import Resources
from fragenv.synth.resources import CELLS, count
from fragenv.synth.tools import SynthesisError, run, yosys

FAMILIES = tuple(CELLS)
_COMMANDS = {
    "ecp5": "synth_ecp5 -nowidelut -top {top} -json netlist.json",
    # pads and clock buffers belong to the board
    "xilinx": "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {top}",
}


@dataclass(frozen=True, slots=True)
class Design:
    """What is synthesised.

    ``files`` maps names to texts; ``.sv`` ones are read, others may be included. Modules in
    ``hollow`` keep their ports alone, so that the rest is counted without them.
    """

    top: str
    files: Mapping[str, str]
    parameters: Mapping[str, int | str] = field(default_factory=dict)
    hollow: tuple[str, ...] = ()


def synthesise(design: Design, family: str) -> Resources:
    """The resources of a design in a family. The same design is synthesised once.

    Raises:
        SynthesisError: the family is unknown, Yosys is not there, or refuses the design.
    """
    return count(_synthesised(design, family)[0], family)


def known(design: Design, family: str) -> Resources | None:
    """The resources of a design that was synthesised before; nothing is run.

    Raises:
        SynthesisError: Yosys is not there.
    """
    cells = cache_folder() / key(design, family) / "cells.json"
    return count(json.loads(cells.read_text("utf-8")), family) if cells.exists() else None


def netlist(design: Design) -> str:
    """The mapped netlist for an ECP5, in Yosys' JSON.

    Raises:
        SynthesisError: as ``synthesise``.
    """
    return _synthesised(design, "ecp5")[1].read_text("utf-8")


def _synthesised(design: Design, family: str) -> tuple[dict[str, int], Path]:
    if family not in FAMILIES:
        raise SynthesisError(f"unknown family '{family}'; known are {', '.join(FAMILIES)}")
    folder = cache_folder() / key(design, family)
    if not (folder / "cells.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as name:
            work = Path(name) / "work"
            work.mkdir()
            write_files(design.files, work)
            run(yosys(), ["-q", "-p", _script(design, family)], work)
            cells = _cells(json.loads((work / "stat.json").read_text("utf-8")), design.top)
            made = Path(name) / "made"
            made.mkdir()
            if (work / "netlist.json").exists():
                (work / "netlist.json").rename(made / "netlist.json")
            (made / "cells.json").write_text(json.dumps(cells), "utf-8")
            if not folder.exists():
                os.replace(made, folder)
    return json.loads((folder / "cells.json").read_text("utf-8")), folder / "netlist.json"


def write_files(files: Mapping[str, str], folder: Path) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")


def cache_folder() -> Path:
    """Where results are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "fragenv" / "synth"


def key(design: Design, family: str) -> str:
    """Equal keys: the same files, settings and tool, hence the same result."""
    digest = hashlib.sha256()
    parameters = sorted(design.parameters.items())
    settings = (design.top, parameters, design.hollow, _COMMANDS[family], yosys().version)
    digest.update(repr(settings).encode())
    for name, text in sorted(design.files.items()):
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()[:24]


def _script(design: Design, family: str) -> str:
    read = sorted(name for name in design.files if name.endswith((".sv", ".v")))
    lines = [f"read_verilog -sv -I. {' '.join(read)}"]
    values = " ".join(f"-set {name} {value}" for name, value in sorted(design.parameters.items()))
    if values:
        lines.append(f"chparam {values} {design.top}")
    if design.hollow:
        # parameters are resolved before the contents go
        lines.append(f"hierarchy -top {design.top}")
        lines += [f"blackbox *{name}*" for name in design.hollow]
    lines += [_COMMANDS[family].format(top=design.top), "tee -q -o stat.json stat -json"]
    return "; ".join(lines)


def _cells(report: dict[str, dict[str, dict[str, dict[str, int]]]], top: str) -> dict[str, int]:
    modules = report["modules"]
    return dict(modules.get(f"\\{top}", modules.get(top, {}))["num_cells_by_type"])
