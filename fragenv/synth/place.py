"""Placement and routing with nextpnr on the largest ECP5: the clock that a design reaches."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fragenv.serialize import write_bytes
from fragenv.synth.netlist import Design, cache_folder, key, netlist
from fragenv.synth.registers import absorb_registers
from fragenv.synth.tools import LOG, SynthesisError, UnfinishedError, nextpnr, run

#: LFE5U-85F, the slowest grade, in the package with the most pins
DEVICE = ("--85k", "--speed", "6", "--package", "CABGA756")
#: what the router aims at, MHz; it reports what it reaches either way
TARGET_MHZ = 100
#: the placer cares more for long paths than it does by default, and less for the wires of others
TIMING = ("--placer-heap-timingweight", "30", "--placer-heap-critexp", "4")
#: the clock's port
CLOCK = "clk_i"
#: grows where the same design is placed in another way, so that kept results are of this one
RECIPE = 3


@dataclass(frozen=True, slots=True)
class Placement:
    """A design on the device: its clock in MHz and the end points of its longest path.

    ``estimate_mhz`` is what nextpnr expects after placement, when the length of wires is a guess.
    ``clock_mhz`` is the routed design's, and the estimate where it was not routed.
    """

    clock_mhz: float
    path_from: str
    path_to: str
    estimate_mhz: float
    seed: int = 1
    routed: bool = True


@dataclass(frozen=True, slots=True)
class Effort:
    """What is done for the best clock.

    Args:
        seeds: of nextpnr's random numbers; the best counts, and each is kept.
        route: False stops after placement, which takes a fraction of the time.
        limit_s: seconds of a seed. nextpnr's router may turn round its last wires for ever: a seed
            that does not end counts as not routed, after all that are.
    """

    seeds: Sequence[int] = (1,)
    route: bool = True
    limit_s: float | None = None


def place(design: Design, effort: Effort = Effort()) -> Placement:
    """Places and routes a design on an ECP5-85, speed grade 6.

    A chip's memories are not on its pins but on other circuits of the die, and no package has pins
    for all of their wires: the design's inputs come from a shift register and its outputs go to
    one, so that every path is from register to register. Registers beside multipliers move into
    them (see ``absorb_registers``).

    Raises:
        SynthesisError: a tool is not there, the design does not fit, or is not even placed in time.
    """
    found = [_placed(design, seed, effort) for seed in effort.seeds]
    return max(found, key=lambda p: (p.routed, p.clock_mhz))


def _placed(design: Design, seed: int, effort: Effort) -> Placement:
    version = nextpnr().version.split()[-1].strip(")")
    kind = "" if effort.route else "-unrouted"
    name = f"{key(design, 'ecp5')}-{version}-{RECIPE}-{seed}{kind}.json"
    store = cache_folder() / name
    if not store.exists():
        ports = json.loads(netlist(design))["modules"][design.top]["ports"]
        pins = Design("pins", {**design.files, "pins.v": _pins(design, ports)})
        mapped = json.loads(netlist(pins))
        absorb_registers(mapped["modules"][pins.top])
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".place-") as folder:
            work = Path(folder)
            (work / "pins.json").write_text(json.dumps(mapped), "utf-8")
            options = ["--json", "pins.json", "--report", "report.json", "--seed", str(seed)]
            options += ["--freq", str(TARGET_MHZ), "--timing-allow-fail"]
            options += ["--lpf-allow-unconstrained", "--quiet"]
            options += [] if effort.route else ["--no-route"]
            try:
                run(nextpnr(), [*DEVICE, *TIMING, *options], work, effort.limit_s)
            except UnfinishedError as error:
                estimate = _first_clock(_log(work), str(error))
                return Placement(estimate, "", "", estimate, seed, routed=False)
            report = json.loads((work / "report.json").read_text("utf-8"))
            # the log says it after placement, and again after routing
            report["estimate_mhz"] = _first_clock(_log(work), "the design has no registers")
            write_bytes(store, json.dumps(report).encode())
    report = json.loads(store.read_text("utf-8"))
    clock, first, last = _longest(report)
    return Placement(clock, first, last, report["estimate_mhz"], seed, effort.route)


def _log(folder: Path) -> str:
    log = folder / LOG
    return log.read_text("utf-8", errors="replace") if log.exists() else ""


def _first_clock(log: str, otherwise: str) -> float:
    """MHz after placement; ``otherwise`` says why there may be none."""
    found = re.search(r"Max frequency for clock '[^']*': ([\d.]+) MHz", log)
    if found is None:
        raise SynthesisError(f"{otherwise}, hence no clock")
    return float(found[1])


def _longest(report: dict[str, Any]) -> tuple[float, str, str]:
    """The clock in MHz, and where its longest path begins and ends."""
    inner = next(
        path
        for path in report["critical_paths"]
        if path["from"].startswith("posedge") and path["to"].startswith("posedge")
    )
    clock = min(c["achieved"] for c in report["fmax"].values())
    return clock, inner["path"][0]["from"]["cell"], inner["path"][-1]["to"]["cell"]


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
