"""Predicted and found resources of an emission's configurations, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fragenv.hardware.area_model import AreaModelError, area_of, shell_area
from fragenv.hardware.resources import RESOURCES, Resources
from fragenv.synth.configurations import Configuration, fragments_of, shell_of, whole
from fragenv.synth.netlist import synthesise
from fragenv.synth.place import Effort, Placement, place
from fragenv.synth.tools import SynthesisError

TITLES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "sram": "block RAM"}


@dataclass(frozen=True, slots=True)
class Row:
    """One circuit, or one whole configuration."""

    configuration: int
    name: str
    #: None where no area model was fitted for the family
    predicted: Resources | None
    found: Resources
    placement: Placement | None = None


def measure(
    number: int,
    configuration: Configuration,
    family: str,
    with_shell: bool,
    effort: Effort | None,
    progress: Callable[[str], None],
) -> list[Row]:
    """The rows of a configuration: with its shell, or each fragment standing alone.

    Args:
        number, configuration: which, and what it is.
        family: of FPGAs.
        with_shell: the whole chip.
        effort: of placement; None places nothing.
        progress: is told what is done next.

    Raises:
        SynthesisError: a tool is not there or refuses the design; no placement in this family.
    """
    if effort is not None and family != "ecp5":
        raise SynthesisError(f"placement is for family ecp5 alone, not {family}; leave --place out")
    designs = {"whole": whole(configuration.top)} if with_shell else fragments_of(configuration.top)
    areas = _predicted(configuration, family, with_shell) or [None] * len(designs)
    rows = []
    for (name, design), predicted in zip(designs.items(), areas, strict=True):
        progress(f"{name}: Yosys")
        found = synthesise(design, family)
        placement = None
        if effort is not None:
            progress(f"{name}: nextpnr")
            placement = place(design, effort)
        rows.append(Row(number, name, predicted, found, placement))
    return rows


def _predicted(
    configuration: Configuration, family: str, with_shell: bool
) -> Sequence[Resources | None]:
    """What the area model says of each design; nothing where it does not know the family."""
    try:
        areas = [
            area_of(f.lanes_in, f.lanes_out, f.stages, family) for f in configuration.fragments
        ]
        if not with_shell:
            return areas
        of = shell_of(configuration.top)
        shell = shell_area(of.buffer_bytes, of.readers, of.writers, of.circuits, family)
    except AreaModelError:
        return []
    return [sum(areas, shell)]


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def as_markdown(rows: Sequence[Row]) -> str:
    """Predicted / found, and by how much the prediction is off."""
    titles = [TITLES[name] for name in RESOURCES]
    clock = any(row.placement for row in rows)
    head = ["configuration", "circuit", *titles]
    head += ["MHz routed", "after placement", "seed"] if clock else []
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [str(row.configuration), row.name]
        cells += [_cell(getattr(row.predicted, n, None), getattr(row.found, n)) for n in RESOURCES]
        if clock:
            cells += _clock(row.placement)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _clock(placement: Placement | None) -> list[str]:
    if placement is None:
        return ["", "", ""]
    routed = f"{placement.clock_mhz:.1f}" if placement.routed else "not routed"
    return [routed, f"{placement.estimate_mhz:.1f}", str(placement.seed)]


def _cell(predicted: int | None, found: int) -> str:
    if predicted is None or predicted == found:
        return f"{found:,}"
    off = f" ({100 * (predicted - found) / found:+.0f}%)" if found else ""
    return f"{predicted:,} / {found:,}{off}"
