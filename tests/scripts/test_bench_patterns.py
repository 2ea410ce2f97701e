"""The benchmark of mining: its graphs are what it says, its table holds what was measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
import bench_patterns  # noqa: E402

from fragenv.graph.check import check_graph  # noqa: E402
from fragenv.patterns.trace import trace  # noqa: E402

sys.path.remove(str(SCRIPTS))


def test_synthetic__is_a_valid_graph_of_that_size() -> None:
    graph = bench_patterns.synthetic(200, seed=1)
    check_graph(graph)
    assert 200 <= len(graph.operators) < 220
    again = bench_patterns.synthetic(200, seed=1)
    assert [op.name for op in graph.operators] == [op.name for op in again.operators]
    assert len(graph.outputs) == 1


def test_report__holds_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    row = bench_patterns.measure("synthetic100", 1)
    assert row.value <= row.bound and row.occurrences > row.patterns > 0

    def small() -> object:
        return trace(bench_patterns.fully_connected, x=(4,), w=(3, 4), y=(3,))

    monkeypatch.setitem(bench_patterns.SCALARS, "small", small)
    scalars = bench_patterns.measure_scalars("small")
    assert "| 4 mul + 3 add | 3 | 4 x 3 (x shared) |" in scalars
    text = bench_patterns.report([row], [scalars], "python it")
    assert "`python it`" in text and scalars in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {12, 11}


def test_convolution__has_a_multiplication_for_each_tap() -> None:
    graph = trace(bench_patterns.convolution, x=(2, 5, 5), w=(3, 2, 3, 3), y=(3, 3, 3))
    assert graph.num_operations == 27 * (18 + 17)
