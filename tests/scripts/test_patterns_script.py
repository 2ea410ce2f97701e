"""scripts/patterns.py as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest
from torch import nn

from fragenv.models.export import export_onnx

SCRIPT = Path(__file__).parents[2] / "scripts" / "patterns.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "160"},
    )


def rows(output: str) -> list[list[str]]:
    """Cells of the table's body."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in output.splitlines()
        if line.startswith("│")
    ]


def test_script__prints_the_tasks_of_alexnet() -> None:
    done = run("alexnet", "--tasks", "--max-depth", "1")
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    assert len(table) == 9
    assert ["conv3x3/1+relu", "1", "3", "6"] in table
    assert ["conv11x11/4+relu+maxpool3x3/2", "1", "1", "3"] in table


def test_script__prints_the_blocks_of_resnet18_and_writes_its_files(tmp_path: Path) -> None:
    done = run("resnet18", "--output", str(tmp_path / "new" / "folder"))
    assert done.returncode == 0, done.stderr
    basic = "conv3x3/1 + relu + conv3x3/1 + add + relu"
    assert rows(done.stdout)[0] == [basic, "5", "2", "5", "5", "25"]
    assert "43 of 48 operators covered; value 24, no better cover exists" in done.stdout
    folder = tmp_path / "new" / "folder"
    assert {p.name for p in folder.iterdir()} == {
        "patterns.png", "patterns.dot", "patterns.graphml",
    }  # fmt: skip
    assert (folder / "patterns.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "patterns.dot").read_text("utf-8").startswith('digraph "resnet18" {')
    assert len(nx.read_graphml(folder / "patterns.graphml")) == 48


def test_script__lists_everything_on_demand() -> None:
    done = run("resnet18", "--all")
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    title = next(line for line in done.stdout.splitlines() if "patterns, 2 in the cover" in line)
    assert len(table) == int(title.split(": ")[1].split()[0])


def test_script__help_teaches() -> None:
    done = run("--help")
    assert done.returncode == 0
    for word in ("cover", "inverted", "residuals", "--max-depth", "Examples"):
        assert word in done.stdout


@pytest.mark.parametrize("model", ["no_such_network", "missing.onnx"])
def test_script__refuses_an_unknown_model_in_one_sentence(model: str) -> None:
    done = run(model)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Error: ") and model in done.stderr
    assert done.stderr.count("\n") == 1


def test_script__refuses_a_depth_out_of_range_and_a_folder_that_cannot_be() -> None:
    done = run("lenet", "--max-depth", "5")
    assert done.returncode == 2 and "--max-depth" in done.stderr
    done = run("lenet", "--output", "/proc/nothing")
    assert done.returncode == 2 and "/proc/nothing" in done.stderr
    assert "Traceback" not in done.stderr


def test_script__mines_what_no_chip_runs(tmp_path: Path) -> None:
    """Attention from an ONNX file; --tasks asks for what a chip runs and refuses it."""
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    network = nn.Sequential(encoder, encoder).eval()
    export_onnx(network, (4, 16), tmp_path / "encoder.onnx")
    done = run(str(tmp_path / "encoder.onnx"), "--max-depth", "4")
    assert done.returncode == 0, done.stderr
    assert "softmax" in done.stdout and "no better cover exists" in done.stdout
    done = run(str(tmp_path / "encoder.onnx"), "--tasks")
    assert done.returncode == 2 and "Error:" in done.stderr and "encoder.onnx" in done.stderr
