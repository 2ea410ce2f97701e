"""The table of what Yosys found for the circuits of the grid, beside what the model says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fragenv.hardware.resources import RESOURCES, Resources
from fragenv.synth.fit import Checked, Measured
from fragenv.synth.grid import Point

#: relative errors that the model promises not to pass
LIMITS: Mapping[str, float] = {"lut": 0.15, "ff": 0.15, "dsp": 0.0, "sram": 0.05}


def as_csv(checked: Mapping[str, Iterable[Checked]]) -> str:
    """Family -> points, as a table that ``read`` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}{kind}" for name in RESOURCES for kind in ("", "_predicted")]
    writer.writerow(["family", "kind", "name", "held_out", *columns])
    for family, rows in checked.items():
        for row in rows:
            point = row.measured.point
            values = [
                getattr(side, name)
                for name in RESOURCES
                for side in (row.measured.found, row.predicted)
            ]
            writer.writerow([family, point.kind, point.name, int(point.held_out), *values])
    return text.getvalue()


def read(path: Path, points: Sequence[Point]) -> dict[str, list[Measured]]:
    """Family -> what was found, of those points that are in the table; nothing without a file."""
    if not path.exists():
        return {}
    of_name = {(p.kind, p.name): p for p in points}
    found: dict[str, list[Measured]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            point = of_name.get((row["kind"], row["name"]))
            if point is not None:
                resources = Resources(**{name: int(row[name]) for name in RESOURCES})
                found.setdefault(row["family"], []).append(Measured(point, resources))
    return found


def as_markdown(checked: Mapping[str, Sequence[Checked]], command: str, yosys: str) -> str:
    """The largest errors of each kind of circuit."""
    lines = [
        "# The area model against Yosys",
        "",
        f"Made by `{command}` with {yosys}; all circuits are in area.csv.",
        "Each cell: the largest relative error and the circuit that has it. The model was not",
        "fitted to circuits that are held out. Limits: "
        + ", ".join(f"{name} {100 * limit:.0f}%" for name, limit in LIMITS.items())
        + "; what is beyond them is bold.",
        "",
        "| family | kind | circuits | " + " | ".join(RESOURCES) + " |",
        "|---|---|---|" + "---|" * len(RESOURCES),
    ]
    for family, rows in checked.items():
        groups: dict[str, list[Checked]] = {}
        for row in rows:
            held_out = ", held out" if row.measured.point.held_out else ""
            groups.setdefault(row.measured.point.kind + held_out, []).append(row)
        for kind, these in groups.items():
            cells = [_worst(these, name) for name in RESOURCES]
            lines.append(f"| {family} | {kind} | {len(these)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _worst(rows: Sequence[Checked], resource: str) -> str:
    worst = max(rows, key=lambda r: abs(r.error(resource)))
    error = worst.error(resource)
    text = f"{100 * error:+.1f}% {worst.measured.point.name}" if error else "0"
    return f"**{text}**" if abs(error) > LIMITS[resource] else text
