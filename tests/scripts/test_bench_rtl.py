"""The benchmarks of emitted Verilog: limits, rows that fail, interrupted runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
import bench_nngen  # noqa: E402
import bench_rtl  # noqa: E402

from agents.benchmark import row_store  # noqa: E402
from fragenv.hardware.chip import load_chip  # noqa: E402
from fragenv.verify.check import TaskCycles  # noqa: E402

sys.path.remove(str(SCRIPTS))

GOOD: dict[str, Any] = {
    "key": "lenet cgra512 greedy 100 1 0",
    "network": "lenet",
    "chip": "cgra512",
    "solver": "greedy",
    "predicted_cycles": 100_000,
    "measured_cycles": 101_000,
    "cycle_error": 0.01,
    "worst_task": {"task": "conv", "of": "RUNs", "error": -0.04},
    "predicted_bytes": 5000,
    "measured_bytes": 5000,
    "output_bytes": 10,
    "wrong_bytes": 0,
    "wall_s": 1.0,
}


def test_misses__nothing_for_a_good_row() -> None:
    assert bench_rtl.misses(GOOD) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"wrong_bytes": 1}, "1 wrong bytes"),
        ({"cycle_error": 0.021}, "+2.10%"),
        ({"cycle_error": -0.021}, "-2.10%"),
        ({"worst_task": {"task": "conv", "of": "span", "error": -0.06}}, "conv off by -6.00%"),
        ({"measured_bytes": 5001}, "5,001 DRAM bytes"),
        ({"error": "no circuit for it"}, "no circuit for it"),
    ],
)
def test_misses__names_the_limit(change: dict[str, Any], said: str) -> None:
    row = {**GOOD, **change}
    assert any(said in text for text in bench_rtl.misses(row))
    assert said in bench_rtl.network_table([row])[-1]


def test_worst_task__short_tasks_do_not_count() -> None:
    long = TaskCycles("long", 0, 50_000, 0, 51_000, 20_000, 20_600)
    short = TaskCycles("short", 0, 9_000, 0, 18_000, 9_000, 18_000)
    found = bench_rtl.worst_task([short, long])
    assert found == {"task": "long", "of": "RUNs", "error": pytest.approx(0.03)}
    assert bench_rtl.worst_task([short]) is None


def test_store__goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "networks.json"
    bench_rtl.store_of(path).add(GOOD, "the command")
    assert set(bench_rtl.store_of(path).rows) == {GOOD["key"]}
    monkeypatch.setattr(bench_rtl, "source_digest", lambda: "other code")
    assert bench_rtl.store_of(path).rows == {}


def test_finished_rows__say_why_a_case_failed(tmp_path: Path) -> None:
    case = bench_rtl.Case("no-such-network", "cgra512", "greedy", 10, 1, 0)
    models = bench_rtl.models_of([case], tmp_path, lambda text: None)
    (row,) = bench_rtl.finished_rows([case], models, tmp_path, 1)
    assert "no-such-network" in bench_rtl.misses(row)[0]


@pytest.mark.rtl
def test_row_of__a_network_from_end_to_end(tmp_path: Path) -> None:
    case = bench_rtl.Case("lenet", "cgra512", "greedy", 200, 1, 0)
    models = bench_rtl.models_of([case], tmp_path, lambda text: None)
    model = models["lenet"]
    assert isinstance(model, Path)
    row = json.loads(json.dumps(bench_rtl.row_of(case, model, tmp_path)))
    assert abs(row["cycle_error"]) < 0.02
    assert row["measured_bytes"] == row["predicted_bytes"] and row["wrong_bytes"] == 0
    assert row["output_bytes"] == 10
    # a schedule reads each of LeNet's 61,706 parameters at least once
    assert row["predicted_bytes"] > 61_706
    assert list(tmp_path.iterdir()) == [model]


def test_utilisation__limit_only_where_the_array_decides() -> None:
    row = {
        **{"layer": "conv", "shape": "", "lanes": "", "macs": 1, "run_cycles": 1},
        **{"dram_cycles": 1, "fills_lanes": True, "compute_bound": True, "utilisation": 0.5},
    }
    assert bench_rtl.judged(row)
    assert "**no**" in bench_rtl.utilisation_table([row])[-1]
    for name in ("fills_lanes", "compute_bound"):
        other = {**row, name: False}
        assert not bench_rtl.judged(other)
        assert "not judged" in bench_rtl.utilisation_table([other])[-1]


# ---- NNgen ----
ROW = {
    **{"cycles": 1_341_703, "multipliers": 39, "chip_multipliers": 40, "lines": 5000},
    **{"wrong_bytes": 0, "wall_s": 65.0, "cpu_s": 80.0},
}


def missed(**change: Any) -> list[str]:
    """What bench_nngen says is missed for its first case."""
    row = {**ROW, **change}
    return [f.what for f in bench_nngen.figures(bench_nngen.CASES[0], row) if f.missed]


def test_nngen__limits_are_kept_at_their_values_and_missed_above() -> None:
    assert missed() == []
    assert missed(cycles=1_341_704) == ["cycles"]
    assert missed(multipliers=41) == ["multipliers"]
    assert missed(lines=5001) == ["lines of Verilog"]
    assert missed(wrong_bytes=1) == ["wrong output bytes"]
    assert missed(wall_s=65.1) == ["seconds to a verified simulation"]


def test_nngen__the_network_is_the_example() -> None:
    model = bench_nngen.cnn()
    shapes = [tuple(p.shape) for p in model.parameters() if p.ndim > 1]
    # w0 .. w3 of NNgen's examples/cnn/cnn.py, channels first
    assert shapes == [(64, 3, 3, 3), (64, 64, 3, 3), (256, 16384), (10, 256)]


@pytest.mark.parametrize(("chip", "rams"), [("nngen40", 181_248), ("nngen160", 181_760)])
def test_nngen__chips_have_no_more_than_nngen_took(chip: str, rams: int) -> None:
    found = load_chip(SCRIPTS / "chips" / f"{chip}.toml")
    assert found.buffer_bytes + found.local_bytes <= rams
    assert found.dram_bytes_per_cycle == 4
    assert found.multipliers == int(chip.removeprefix("nngen"))


def test_source_digest__is_stable() -> None:
    assert row_store.source_digest() == row_store.source_digest()
