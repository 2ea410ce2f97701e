"""The comparison of schedulers: its files, its table, and what they say where time ended a
search."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from rich.console import Console

from agents.comparison import Entry, best_of, comparison_table
from agents.experiment import compare, write_run
from agents.scheduler import Budget
from fragenv.models import zoo
from fragenv.schedule.problem import Problem


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


@pytest.mark.parametrize("objective", ["latency", "throughput"])
def test_table__has_the_best_first_and_fits_a_terminal(objective: str) -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 8, objective=objective)
    found = compare(problem, Budget(200), 0, {}, lambda _: None, ["random", "greedy"])
    limited = compare(problem, Budget(1_000_000, 0.1), 0, {}, lambda _: None, ["random"])
    entries: dict[str, Entry] = {**found, "neighbourhood": limited["random"]}
    console = Console(width=80, record=True)
    console.print(comparison_table(problem, entries))
    text = console.export_text()
    assert "\u2026" not in text  # nothing is cut off
    order = sorted(entries, key=text.index)
    assert order[0] == best_of(entries)
    costs = [entries[name].result.cost for name in order]
    assert costs == sorted(costs)
    line = next(line for line in text.splitlines() if line.split()[:1] == ["greedy"])
    state = entries["greedy"].result.state
    cycles = problem.cycles(state)
    assert f"{problem.chip.milliseconds(cycles):.2f}" in line
    assert f"{cycles / problem.bound_cycles:.2f}" in line
    assert f"{state.traffic_bytes / problem.bound.traffic_bytes:.2f}" in line
    assert ("period, ms" if objective == "throughput" else "latency,") in " ".join(text.split())
    assert f"{entries['neighbourhood'].result.apply_calls:,}*" in text
