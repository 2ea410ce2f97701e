"""Versioned JSON files, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fragenv.errors import FragenvError


class FileError(FragenvError):
    """A file cannot be read or written, or is of another format or version."""


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        FileError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make '{path}': {error.strerror}") from None


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        FileError: the folder does not exist or cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileError(f"cannot write '{path}': {error.strerror or error}") from None


def write_json(path: Path, kind: str, version: int, data: Mapping[str, Any]) -> None:
    """Write ``data`` with its format's name and version before it."""
    text = json.dumps({"format": kind, "version": version, **data}, indent=1)
    write_bytes(path, text.encode("utf-8") + b"\n")


def read_json(path: Path, kind: str, version: int) -> dict[str, Any]:
    """Read what ``write_json`` wrote.

    Raises:
        FileError: no such file, no JSON, another format or another version.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FileError(f"cannot read '{path}': {error.strerror or error}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise FileError(f"'{path}' is damaged: it is not a JSON file") from None
    if not isinstance(data, dict) or data.get("format") != kind:
        raise FileError(f"'{path}' is not a {kind} file")
    if data.get("version") != version:
        raise FileError(
            f"'{path}' is of version {data.get('version')}; this program reads version {version}"
        )
    return data
