"""The headroom table: what it counts per depth, rows kept, instances that have no schedule."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import headroom  # noqa: E402

sys.path.remove(str(SCRIPTS))

BUDGET = 300


def instance(chip: str, depth: int) -> headroom.Instance:
    return headroom.Instance("lenet", chip, 8, depth, BUDGET)


def row(chip: str, depth: int, uniform: float, beam: float, least: float = 5.0) -> dict[str, Any]:
    found: dict[str, Any] = {"model": "lenet", "chip": chip, "batch": 8, "max_depth": depth}
    for name, cost in (("uniform", uniform), ("beam", beam)):
        found |= {f"{name}_latency": cost - 1, f"{name}_traffic": 1.0, f"{name}_cost": cost}
    found |= {"budget": BUDGET, "beam_over_uniform": beam / uniform}
    return {**found, "least_cost": least}


ROWS = [
    row("cgra512", 1, 10.0, 9.0),
    row("cgra512", 3, 10.0, 8.5),
    row("zu7ev", 1, 10.0, 8.0),
    row("zu7ev", 3, 10.0, 8.6, 8.55),
    row("xc7z020", 3, 10.0, 8.0),
    {"model": "lenet", "chip": "ecp5-85", "batch": 8, "max_depth": 3, "error": "too small"},
]


def test_depth_lines__count_rich_pairs_and_those_richer_than_at_depth_1() -> None:
    lines = headroom.depth_lines(ROWS)
    assert "| 1 | 8 | 2 | 1 | 0 | - | - |" in lines
    # 0.85 itself counts; one pair's bound is above; of two that both depths have, one is further
    # below
    assert "| 3 | 8 | 3 | 2 | 1 | 2 | 1 |" in lines


def test_page__marks_rows_and_says_how_many_are_missing() -> None:
    page = headroom.page(ROWS, 9, ("uniform", "beam"), "python scripts/headroom.py")
    assert "6 of 9 instances are measured" in page
    assert "| lenet | cgra512 | 8 | 3 | 9.00 / 1.00 / 10.000 | 7.50 / 1.00 / 8.500 |" in page
    assert "| **0.850** | 0.500 |" in page
    assert "too small" in page


def test_csv_text__has_a_line_per_row_and_all_columns() -> None:
    head, *lines = headroom.csv_text(ROWS).splitlines()
    assert len(lines) == len(ROWS)
    assert {"model", "beam_over_uniform", "error"} <= set(head.split(","))


def test_measured__goes_on_where_it_was_and_keeps_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[headroom.Instance] = []

    def measure(one: headroom.Instance, schedulers: Sequence[str]) -> dict[str, Any]:
        asked.append(one)
        return row(one.chip, one.depth, 10.0, 9.0)

    monkeypatch.setattr(headroom, "measure", measure)
    wanted = [instance("cgra512", 1), instance("cgra512", 3), instance("zu7ev", 3)]
    store = tmp_path / "rows.jsonl"
    tables = list(headroom._measured(wanted[:2], headroom.ALWAYS, store))
    assert [len(rows) for rows in tables] == [0, 1, 2]
    assert asked == wanted[:2]
    *_, last = headroom._measured(wanted, headroom.ALWAYS, store)
    assert asked == wanted
    assert [(r["chip"], r["max_depth"]) for r in last] == [(w.chip, w.depth) for w in wanted]
    # another budget or another scheduler is another measurement
    other = headroom.Instance("lenet", "cgra512", 8, 1, BUDGET + 1)
    list(headroom._measured([other], headroom.ALWAYS, store))
    list(headroom._measured(wanted[:1], ("uniform", "beam", "greedy"), store))
    assert asked[3:] == [other, wanted[0]]


def test_measure__beam_and_uniform_over_the_bounds() -> None:
    found = headroom.measure(instance("zu7ev", 3), headroom.ALWAYS)
    assert found["max_depth"] == 3
    for name in headroom.ALWAYS:
        parts = found[f"{name}_latency"] + found[f"{name}_traffic"]
        assert found[f"{name}_cost"] == pytest.approx(parts)
    ratio = found["beam_cost"] / found["uniform_cost"]
    assert found["beam_over_uniform"] == pytest.approx(ratio)
    assert 2.0 <= found["least_cost"] <= found["beam_cost"]


def test_measure__says_why_there_is_no_schedule() -> None:
    found = headroom.measure(headroom.Instance("no-such-model", "zu7ev", 8, 1, 1), ("beam",))
    assert "no-such-model" in found["error"]
