"""The leaderboard: per instance the best schedule that is known, in files that anybody can check.

``leaderboard.json`` lists the schedules, ``schedules/`` holds them. A better one is written beside
the one it beats before the list is, and that one is taken away last: whatever interrupts, the list
names files that are there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

from agents.benchmark.suite import Instance
from fragenv.errors import FragenvError
from fragenv.serialize import read_json, write_bytes, write_json

KIND, VERSION = "fragenv-leaderboard", 1
LIST, TABLE, SCHEDULES = "leaderboard.json", "leaderboard.md", "schedules"
#: names of files: nothing that leads out of the folder
LEGAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.json")
#: costs that differ by less are equal: rounding of two quotients and their sum
EPSILON = 1e-9
LONGEST_AUTHOR = 60


class LeaderboardError(FragenvError):
    """A leaderboard's folder is damaged, or leads out of itself."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The best schedule of an instance: cycles and bytes of a job, who found it, where it is."""

    model: str
    chip: str
    batch: int
    max_depth: int
    objective: str
    cost: float
    latency_cycles: int
    period_cycles: int
    traffic_bytes: int
    scheduler: str
    author: str
    #: name within ``schedules/``, and the digest of what is there
    file: str
    sha256: str

    @property
    def instance(self) -> Instance:
        return Instance(self.model, self.chip, self.batch, self.max_depth, self.objective)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A schedule that was found good, and the content of its file."""

    entry: Entry
    content: bytes


def digest_of(content: bytes) -> str:
    """The digest that an entry holds of its schedule's file."""
    return hashlib.sha256(content).hexdigest()


def file_name(instance: Instance, digest: str) -> str:
    """The name of a schedule's file: another one for another schedule."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", instance.stem).lstrip("._-")
    return f"{stem}-{digest[:12]}.json"


def author_of(text: str) -> str:
    """An author's name as it may stand in a list.

    Raises:
        FragenvError: empty, too long, or with characters that cannot be printed.
    """
    name = " ".join(text.split())
    if not name or len(name) > LONGEST_AUTHOR or not name.isprintable():
        raise FragenvError(f"an author has 1 to {LONGEST_AUTHOR} printable characters")
    return name


def beats(cost: float, listed: float | None) -> bool:
    """Whether a cost is better than the listed one; what is as good is not."""
    return listed is None or cost < listed - EPSILON


def read(folder: Path) -> dict[str, Entry]:
    """The entries by their instances' keys; none where there is no leaderboard.

    Raises:
        FileError: the list is no leaderboard's.
        LeaderboardError: an entry is damaged or leads out of the folder.
    """
    path = folder / LIST
    if not path.exists():
        return {}
    entries = read_json(path, KIND, VERSION).get("entries")
    if not isinstance(entries, list):
        raise LeaderboardError(f"'{path}' is damaged: it has no list of entries")
    found = [_entry(data, f"'{path}', entry {number}") for number, data in enumerate(entries)]
    by_key = {entry.instance.key: entry for entry in found}
    if len(by_key) < len(found):
        raise LeaderboardError(f"'{path}' is damaged: it has an instance twice")
    return by_key


def _entry(data: Any, where: str) -> Entry:
    if not isinstance(data, Mapping) or set(data) != {f.name for f in fields(Entry)}:
        raise LeaderboardError(f"{where}: fields are missing or unknown")
    types: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    for field in fields(Entry):
        value = data[field.name]
        if isinstance(value, bool) or not isinstance(value, types[str(field.type)]):
            raise LeaderboardError(f"{where}: field '{field.name}' must be a {field.type}")
    if not isfinite(data["cost"]):
        raise LeaderboardError(f"{where}: field 'cost' must be a finite number")
    if not LEGAL_NAME.fullmatch(data["file"]):
        raise LeaderboardError(
            f"{where}: '{data['file']}' is no name of a file in {SCHEDULES}/, and nothing outside "
            "is read"
        )
    entry = Entry(**data)
    try:
        entry.instance.check()
    except FragenvError as error:
        raise LeaderboardError(f"{where}: {error}") from None
    return entry


def schedule_file(folder: Path, entry: Entry) -> Path:
    """Where an entry's schedule is.

    Raises:
        LeaderboardError: a link that leads out of the folder.
    """
    inside = (folder / SCHEDULES).resolve()
    path = inside / entry.file
    if path.resolve().parent != inside:
        raise LeaderboardError(f"'{path}' leads out of '{inside}'; nothing outside is read")
    return path


def enter(folder: Path, candidate: Candidate) -> bool:
    """Enter a schedule that beats the listed one; whether it did.

    Raises:
        FileError: the folder cannot be written, or its list is no leaderboard's.
        LeaderboardError: the list is damaged.
    """
    entries, entry = read(folder), candidate.entry
    old = entries.get(entry.instance.key)
    if old is not None and not beats(entry.cost, old.cost):
        return False
    (folder / SCHEDULES).mkdir(parents=True, exist_ok=True)
    write_bytes(schedule_file(folder, entry), candidate.content)
    entries[entry.instance.key] = entry
    ordered = dict(sorted(entries.items()))
    write_json(folder / LIST, KIND, VERSION, {"entries": [asdict(e) for e in ordered.values()]})
    write_bytes(folder / TABLE, table(ordered).encode("utf-8"))
    if old is not None and old.file != entry.file:
        schedule_file(folder, old).unlink(missing_ok=True)
    return True


def table(entries: Mapping[str, Entry]) -> str:
    """The list as Markdown."""
    lines = [
        "# Best known schedules",
        "",
        "Cost: the period's cycles where the objective is throughput, the latency's elsewhere, and",
        "traffic, each over the problem's own bound, added. `python scripts/submit.py --verify`",
        "with this folder checks every schedule again.",
        "",
        "| network | chip | batch | depth | objective | cost | latency, cycles | period, cycles "
        "| traffic, bytes | scheduler | author |",
        "|---|---|---:|---:|---|---:|---:|---:|---:|---|---|",
    ]
    for e in entries.values():
        who = [name.replace("|", "\\|") for name in (e.scheduler, e.author)]
        lines.append(
            f"| {e.model} | {e.chip} | {e.batch} | {e.max_depth} | {e.objective} | {e.cost:.4f} "
            f"| {e.latency_cycles:,} | {e.period_cycles:,} | {e.traffic_bytes:,} "
            f"| {who[0]} | {who[1]} |"
        )
    return "\n".join(lines) + "\n"
