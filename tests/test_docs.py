"""README and docs: examples run and print what they say, commands exist with their options."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[str]:
    """The Python examples of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """The words behind ``python scripts/`` of every command that a page shows."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    inline = re.findall(r"`(?:[^`]*&& )?python scripts/([^`]*)`", text)
    indented = re.findall(r"^ {4}(?:.*&& )?python scripts/([^#\n]*)", text, re.MULTILINE)
    for found in (*inline, *indented):
        yield shlex.split(found.replace("\n", " "))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.stem)
def test_docs__examples_print_what_their_comments_say(
    page: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for example in blocks(page):
        if "from my_rewards import" not in example:
            (tmp_path / "my_rewards.py").write_text(example, "utf-8")
            importlib.invalidate_caches()
        exec(compile(example, page.name, "exec"), {"__name__": "example"})
        printed = capsys.readouterr().out
        for comment in re.findall(r"^print.*  # (.*)$", example, re.MULTILINE):
            assert comment.split(" passes")[0] in printed


@pytest.mark.parametrize("page", [p for p in PAGES if any(commands(p))], ids=lambda p: p.stem)
def test_docs__commands_have_the_options_that_pages_show(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    for script, *words in commands(page):
        options = options_of(script.removesuffix(".py"))
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in options, f"{page.name}: {script} {word}"


def options_of(script: str) -> set[str]:
    """What a script's command line knows."""
    app = typer.Typer()
    app.command()(importlib.import_module(script).main)
    command = typer.main.get_command(app)
    known_options = {"--help"}
    for parameter in command.params:
        known_options.update(parameter.opts, parameter.secondary_opts)
    return known_options
