"""Rows of a benchmark in a JSON file: what was interrupted goes on, other code starts anew."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import agents
import fragenv
from fragenv.serialize import FileError, read_json, write_json

Row = dict[str, Any]

#: of the files that decide
SUFFIXES = (".py", ".sv", ".svh", ".cpp", ".toml", ".json")
#: packages and modules that decide about no row of any benchmark
NO_MATTER = frozenset({"env", "report", "synth", "ppo", "benchmark", "experiment.py"})


def source_digest(no_matter: Collection[str] = NO_MATTER) -> str:
    """A digest of everything that decides about rows: all packages but those in ``no_matter``."""
    digest = hashlib.sha256()
    for package in (fragenv, agents):
        root = Path(str(package.__file__)).parent
        files = (p for p in root.rglob("*") if p.suffix in SUFFIXES)
        for path in sorted(p for p in files if p.relative_to(root).parts[0] not in no_matter):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class RowStore:
    """Finished rows, each with its ``key``, of one version of the code (``digest``).

    Raises:
        FileError: the file is no file of rows, or is damaged.
    """

    def __init__(self, path: Path, kind: str, version: int, digest: str) -> None:
        self.path, self.kind, self.version, self.digest = path, kind, version, digest
        self.rows: dict[str, Row] = {}
        if path.exists():
            data = read_json(path, kind, version)
            try:
                self.rows = {row["key"]: row for row in data["rows"] if row["code"] == digest}
            except (KeyError, TypeError):
                raise FileError(f"'{path}' is damaged; without it the rows are made anew") from None

    def add(self, row: Row, command: str) -> None:
        """Keep a row: the file is written anew, whole or not at all."""
        self.rows[row["key"]] = {**row, "code": self.digest}
        content = {"command": command, "rows": list(self.rows.values())}
        write_json(self.path, self.kind, self.version, content)
