"""An experiment: whom it asks, and where it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.experiment import chosen_schedulers, free_folder
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
