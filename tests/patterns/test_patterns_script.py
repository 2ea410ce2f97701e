"""scripts/patterns.py as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "patterns.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


def rows(output: str) -> list[list[str]]:
    """Cells of the table's body."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in output.splitlines()
        if line.startswith("│")
    ]


def test_script__prints_the_table_of_alexnet() -> None:
    done = run("alexnet")
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    assert len(table) == 9
    assert ["conv3x3/1+relu", "1", "3", "6"] in table
    assert ["conv11x11/4+relu+maxpool3x3/2", "1", "1", "3"] in table


@pytest.mark.parametrize("model", ["no_such_network", "missing.onnx"])
def test_script__refuses_an_unknown_model_in_one_sentence(model: str) -> None:
    done = run(model)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Error: ") and model in done.stderr
    assert done.stderr.count("\n") == 1
