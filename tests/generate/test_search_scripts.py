"""The commands that measure all cells and that search: whole files, resumed where they were."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
import latency_cells  # noqa: E402
import search as search_script  # noqa: E402

from fragenv.generate import nb201  # noqa: E402
from fragenv.generate.architecture import load_architectures  # noqa: E402
from fragenv.generate.latency import LatencyOracle  # noqa: E402
from fragenv.generate.latency_table import load_latencies  # noqa: E402
from fragenv.generate.ranking import Ranking  # noqa: E402
from fragenv.generate.references import BLOCKS  # noqa: E402
from fragenv.graph.from_onnx import from_onnx  # noqa: E402

sys.path.remove(str(SCRIPTS))


def call(script: Any, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(script.main)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_latencies__go_on_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = tuple(nb201.from_choices(c) for c in nb201.runnable_choices()[100:15_000:6_000])
    numbers = np.arange(15_284) % len(cells)
    monkeypatch.setattr(latency_cells, "functions", lambda: (cells, numbers))
    monkeypatch.setattr(latency_cells, "SAVE_EVERY_S", -1.0)
    path = tmp_path / "t.safetensors"
    arguments = (latency_cells, "--chip", "cgra512", "--output", str(path))
    measured: list[object] = []
    schedule = LatencyOracle.__call__

    def fail_once(oracle: LatencyOracle, architecture: Any) -> int:
        measured.append(architecture)
        if len(measured) == 2:
            raise RuntimeError("interrupted")
        return schedule(oracle, architecture)

    monkeypatch.setattr(LatencyOracle, "__call__", fail_once)
    call(*arguments)
    assert not path.exists()
    assert "in " in call(*arguments).output
    assert measured == [cells[0], cells[1], *cells[1:]]  # the first one is not measured again
    found, made = load_latencies(path)
    oracle = LatencyOracle("cgra512")
    expected = np.array([schedule(oracle, cell) for cell in cells])[numbers]
    np.testing.assert_array_equal(found["latency_cycles_cgra512"], expected)
    assert made["latency_cycles_cgra512"]["fragments"] == [f.key for f in oracle.library]
    assert not list(tmp_path.glob("*.state"))


def test_search__goes_on_after_an_interruption_and_writes_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "s"
    arguments = [
        *("--chip", "cgra512", "--target-latency", "100", "--reference", "resnet18"),
        *("--budget", "6", "--per-round", "3", "--finalists", "1", "--full-budget", "60"),
        *("--output", str(folder)),
    ]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    solved = search_script.solved
    monkeypatch.setattr(search_script, "solved", interrupt)
    result = call(search_script, *arguments)
    assert result.exit_code == 130 and "the same command goes on" in result.output
    assert not (folder / "report.md").exists()
    monkeypatch.setattr(search_script, "solved", solved)
    monkeypatch.setattr(Ranking, "__call__", interrupt)  # nothing is scored again
    result = call(search_script, *arguments)
    assert result.exit_code == 0, result.output
    least = LatencyOracle("cgra512")(search_script.smallest())
    report = (folder / "report.md").read_text("utf-8")
    for text in (" ".join(result.output.split()), report):
        assert "a target of 100 cycles is out of reach" in text
        assert f"{least:,} cycles is the nearest that is known to be feasible" in text
    assert f"target {least:,} cycles" in report
    pictures = ("pareto.png", "timeline.png", "graph.png")
    for name in (*pictures, "comparison.md", "schedule.json", "rtl/manifest.json"):
        assert (folder / name).stat().st_size > 0, name
    with (folder / "candidates.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert tuple(rows[0]["operators"].split()) == BLOCKS["resnet18"].ops
    best = max(rows, key=lambda row: float(row["reward"]))
    (cell,) = load_architectures(folder / "cell.json")
    assert " ".join(cell.ops) == best["operators"]
    assert from_onnx(folder / "network.onnx").chip_operators
    schedule = json.loads((folder / "schedule.json").read_text("utf-8"))
    assert schedule["model"] == str(folder / "network_int8.onnx")
    # what scripts/verify.py compares the chip with; emission takes its weights from there
    assert (folder / "rtl" / "model.onnx").read_bytes() == (
        folder / "network_int8.onnx"
    ).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--oracle", "agent"], "belong together"),
        (["--agent", "nowhere"], "belong together"),
        (["--oracle", "agent", "--agent", "nowhere"], "nowhere"),
        (["--generator", "mutatoin"], "did you mean 'mutation'"),
        (["--reference", "resnet19"], "unknown reference 'resnet19'"),
        (["--above", "0.5"], "must not be positive"),
    ],
)
def test_search__refuses_in_a_sentence(arguments: list[str], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    common = ["--chip", "cgra512", "--target-latency", "9000", "--output", str(folder)]
    result = call(search_script, *common, *arguments)
    assert result.exit_code == 2 and message in result.output
    assert not folder.exists()


def test_search__refuses_evaluations_of_another_chip(tmp_path: Path) -> None:
    path = tmp_path / "evaluations.json"
    path.write_text(
        json.dumps({"format": "fragenv-evaluations", "version": 1, "settings": "", "rows": []})
    )
    result = call(
        search_script, "--chip", "cgra512", "--target-latency", "9000", "--output", str(tmp_path)
    )
    assert result.exit_code == 2 and "evaluations on another chip" in result.output
