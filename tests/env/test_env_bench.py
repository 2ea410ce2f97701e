"""The benchmark prints every required figure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_env.py"


def test_bench__prints_measured_and_required_figures() -> None:
    options = ["--env", "LeNetChip-v0", "--episodes", "2", "--runs", "1"]
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "140", "PATH": "/usr/bin:/bin"},
    )
    rows = [line for line in run.stdout.splitlines() if line.count("│") == 5]
    assert len(rows) == 4
    for row, required in zip(rows, (">= 20,000", ">= 5,000", "<= 2", "<= 5"), strict=True):
        _, _, measured, limit, ratio, _ = (cell.strip() for cell in row.split("│"))
        assert limit == required
        assert float(measured.replace(",", "")) > 0 and float(ratio) > 0
