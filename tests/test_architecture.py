"""The import rule of ARCHITECTURE.md, read from the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: each package may import itself and those before it
ORDER = (
    "graph",
    "models",
    "patterns",
    "hardware",
    "schedule",
    "generate",
    "report",
    "env",
    "rtl",
    "verify",
    "synth",
)
BASE = {"errors", "registry", "serialize", "tensor_file", "training_state"}
MAX_LINES = 400
#: imported in one place only, so that a change of the library has one place to go
SINGLE_USE = {
    "numba": {
        f"fragenv/schedule/{name}.py"
        for name in (
            *("timeline", "placement", "cycle_ratio", "pauses", "rooms", "bounds_plan"),
            *("compiled", "compiled_bind", "compiled_place", "compiled_step"),
        )
    }
}


def runtime_imports(tree: ast.Module) -> Iterator[str]:
    """Modules imported at run time, at the top or inside functions; type-checking ones left out."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def violations(path: str, source: str) -> list[str]:
    """What a file of ``fragenv`` imports against the rule."""
    parts = path.split("/")
    package = parts[1] if len(parts) > 2 else ""
    found = []
    for module in runtime_imports(ast.parse(source)):
        names = module.split(".")
        if names[0] in ("agents", "scripts", "tests"):
            found.append(f"{path} imports {module}")
        if names[0] != "fragenv" or len(names) < 2 or names[1] in BASE:
            continue
        later = package in ORDER and (
            names[1] not in ORDER or ORDER.index(names[1]) > ORDER.index(package)
        )
        if later or (not package and parts[1].removesuffix(".py") in BASE):
            found.append(f"{path} imports {module}")
    return found


def python_files(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


def test_imports__go_to_earlier_stages_only() -> None:
    found = []
    for path in python_files("fragenv"):
        name = path.relative_to(ROOT).as_posix()
        found += violations(name, path.read_text("utf-8"))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("fragenv/graph/x.py", "from fragenv.schedule.problem import Problem"),
        ("fragenv/schedule/x.py", "import agents.scheduler"),
        ("fragenv/errors.py", "import fragenv.graph.dataflow"),
        ("fragenv/hardware/x.py", "def f():\n    from fragenv.env import env"),
    ],
)
def test_imports__checker_sees_a_broken_rule(path: str, source: str) -> None:
    assert violations(path, source)


def test_imports__type_checking_ones_are_free() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import fragenv.env.env\n"
    assert not violations("fragenv/graph/x.py", source)


def test_files__stay_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count} lines"
        for path in python_files("fragenv", "agents", "scripts", "tests")
        if (count := len(path.read_text("utf-8").splitlines())) > MAX_LINES
    ]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("library", sorted(SINGLE_USE))
def test_libraries__are_imported_in_few_places(library: str) -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in python_files("fragenv", "agents")
        if any(
            m.split(".")[0] == library for m in runtime_imports(ast.parse(path.read_text("utf-8")))
        )
    }
    assert users == SINGLE_USE[library]
