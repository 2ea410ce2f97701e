"""Sweeps: what may be varied, the tables, and Ray itself on one machine."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from fragenv.errors import FragenvError

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import sweep  # noqa: E402

sys.path.remove(str(SCRIPTS))


def test_grid__has_the_types_of_the_configuration() -> None:
    grid = sweep.parse_grid(["learning_rate=1e-3,2e-3", "hidden=32"])
    assert grid == {"learning_rate": [1e-3, 2e-3], "hidden": [32]}


@pytest.mark.parametrize("text", ["learning_rate", "seed=1", "hidden=4.5", "width=3", "hidden="])
def test_grid__refuses_what_cannot_be_swept(text: str) -> None:
    with pytest.raises(FragenvError, match="--param"):
        sweep.parse_grid([text])


def test_tables__rank_combinations_by_their_mean_over_seeds(tmp_path: Path) -> None:
    costs = {(16, 0): 3.0, (16, 1): 5.0, (32, 0): 2.0, (32, 1): 3.5}
    rows = [
        {"hidden": hidden, "seed": seed, "cost": cost, "last": cost, "seconds": 1.0}
        for (hidden, seed), cost in costs.items()
    ]
    sweep.write_tables(rows, ["hidden"], tmp_path, "python sweep.py")
    with (tmp_path / "sweep.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 4
    lines = (tmp_path / "sweep.md").read_text("utf-8").splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| ")] == [
        "hidden",
        "32",
        "16",
    ]
    assert "| 2.7500 | 2.0000 | 3.5000 | 2 |" in lines[-2]


@pytest.mark.slow
def test_sweep__runs_every_combination_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    options = ["--param", "hidden=8,16", "--param", "num_envs=2", "--seeds", "1"]
    command = [sys.executable, SCRIPTS / "sweep.py", "--env", "LeNetChip-v0", *options]
    command += ["--timesteps", "128", "--jobs", "1", "--output", tmp_path]
    subprocess.run(command, check=True, timeout=600)
    with (tmp_path / "sweep.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["hidden"] for row in rows) == ["16", "8"]
    assert all(float(row["cost"]) > 2 for row in rows)
