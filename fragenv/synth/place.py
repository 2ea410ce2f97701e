"""Placement and routing with nextpnr on the largest ECP5: the clock that a design reaches."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fragenv.synth.netlist import Design, cache_folder, key, netlist
from fragenv.synth.tools import SynthesisError, nextpnr, run

#: LFE5U-85F, the slowest grade, in the package with the most pins
DEVICE = ("--85k", "--speed", "6", "--package", "CABGA756")
#: what the router aims at, MHz; it reports what it reaches either way
TARGET_MHZ = 100
#: the clock's port
CLOCK = "clk_i"


@dataclass(frozen=True, slots=True)
class Placement:
    """A routed design: its clock in MHz and the end points of its longest path."""

    clock_mhz: float
    path_from: str
    path_to: str


def place(design: Design) -> Placement:
    """Routes a design on an ECP5-85, speed grade 6.

    A chip's memories are not on its pins but on other circuits of the die, and no package has pins
    for all of their wires: the design's inputs come from a shift register and its outputs go to
    one, so that every path is from register to register.

    Raises:
        SynthesisError: a tool is not there, or the design does not fit.
    """
    store = (
        cache_folder() / f"{key(design, 'ecp5')}-{nextpnr().version.split()[-1].strip(')')}.json"
    )
    if not store.exists():
        ports = json.loads(netlist(design))["modules"][design.top]["ports"]
        pins = Design("pins", {**design.files, "pins.v": _pins(design, ports)})
        mapped = netlist(pins)
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".place-") as name:
            work = Path(name)
            (work / "pins.json").write_text(mapped, "utf-8")
            options = ["--json", "pins.json", "--report", "report.json", "--freq", str(TARGET_MHZ)]
            options += ["--timing-allow-fail", "--lpf-allow-unconstrained", "--quiet"]
            run(nextpnr(), [*DEVICE, *options], work)
            os.replace(work / "report.json", store)
    return _placement(json.loads(store.read_text("utf-8")))


def _placement(report: dict[str, object]) -> Placement:
    clocks = report["fmax"]
    assert isinstance(clocks, dict)
    if not clocks:
        raise SynthesisError("the design has no registers, hence no clock")
    paths = report["critical_paths"]
    assert isinstance(paths, list)
    inner = next(
        p for p in paths if p["from"].startswith("posedge") and p["to"].startswith("posedge")
    )
    first, last = inner["path"][0]["from"]["cell"], inner["path"][-1]["to"]["cell"]
    return Placement(min(c["achieved"] for c in clocks.values()), first, last)


def _pins(design: Design, ports: dict[str, dict[str, object]]) -> str:
    """A top module with four pins around a design."""
    widths = {name: len(_list(port["bits"])) for name, port in ports.items()}
    inputs = [n for n in ports if ports[n]["direction"] == "input" and n != CLOCK]
    outputs = [n for n in ports if ports[n]["direction"] == "output"]
    values = ", ".join(f".{name}({value})" for name, value in design.parameters.items())
    lines = [
        "module pins (input clk_i, input data_i, input take_i, output data_o);",
        f"  reg  [{sum(widths[n] for n in inputs)}:0] in_q;",
        f"  reg  [{sum(widths[n] for n in outputs)}:0] out_q;",
        f"  wire [{sum(widths[n] for n in outputs)}:0] out;",
        "  assign data_o = out_q[0];",
        "  assign out[0] = out_q[1];",
        "  always @(posedge clk_i) begin",
        "    in_q  <= {in_q, data_i};",
        "    out_q <= take_i ? out : out_q >> 1;",
        "  end",
        f"  {design.top} #({values}) u_top (",
    ]
    connections = [f"    .{CLOCK}({CLOCK})"]
    for names, wire in ((inputs, "in_q"), (outputs, "out")):
        place_of = 1
        for name in names:
            connections.append(f"    .{name}({wire}[{place_of}+:{widths[name]}])")
            place_of += widths[name]
    return "\n".join([*lines, ",\n".join(connections), "  );", "endmodule", ""])


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value
