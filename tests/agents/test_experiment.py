"""The comparison of an experiment: whom it asks, and what it says where time ended a search."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from agents.experiment import chosen_schedulers, compare, free_folder, write_run
from agents.scheduler import SCHEDULERS, Budget, Meter
from fragenv.errors import FragenvError
from fragenv.models import zoo
from fragenv.schedule.problem import Problem


def test_chosen_schedulers__are_all_unless_some_are_named() -> None:
    assert list(chosen_schedulers(None)) == list(SCHEDULERS)
    assert list(chosen_schedulers(["beam", "greedy"])) == ["beam", "greedy"]
    with pytest.raises(FragenvError, match="did you mean 'beam'"):
        chosen_schedulers(["beem"])


def test_free_folder__holds_no_other_run(tmp_path: Path) -> None:
    path = tmp_path / "LeNetChip-v0-seed0"
    assert free_folder(path) == path
    path.mkdir()
    assert free_folder(path) == path  # empty
    (path / "summary.json").write_text("{}")
    second = free_folder(path)
    assert second == tmp_path / "LeNetChip-v0-seed0-2"
    second.mkdir()
    (second / "training.json").write_text("{}")
    assert free_folder(path) == tmp_path / "LeNetChip-v0-seed0-3"


def test_meter__says_what_ended_a_search() -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 1)
    by_time, by_calls = Meter(problem, Budget(10, 0.0)), Meter(problem, Budget(0, 1000.0))
    assert by_time.left == by_calls.left == 0
    assert by_time.timed_out and not by_calls.timed_out


def test_comparison__has_a_star_where_the_time_ended_a_search(tmp_path: Path) -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 1)
    asked: list[str] = []
    entries = compare(problem, Budget(1000), 0, {}, asked.append, ["greedy"])
    limited = Budget(1_000_000, 0.2)
    entries |= compare(problem, limited, 0, {}, asked.append, ["random"])
    assert asked == list(entries) == ["greedy", "random"]
    assert entries["random"].result.timed_out and not entries["greedy"].result.timed_out
    write_run(tmp_path, problem, entries, "LeNetChip-v0", "lenet", 0, "command")
    text = (tmp_path / "comparison.md").read_text("utf-8")
    calls = {name: f"{entry.result.apply_calls:,}" for name, entry in entries.items()}
    assert "Calls with a star" in text
    assert f"| {calls['random']}* |" in text and f"| {calls['greedy']} |" in text
    rows = json.loads((tmp_path / "summary.json").read_text("utf-8"))["schedulers"]
    assert [rows[name]["timed_out"] for name in asked] == [False, True]
    with (tmp_path / "comparison.csv").open(newline="", encoding="utf-8") as file:
        assert [row["timed_out"] for row in csv.DictReader(file)] == ["False", "True"]
