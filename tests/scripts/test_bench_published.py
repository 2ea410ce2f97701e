"""Published figures: Zhang et al.'s unrolling, Eyeriss's layers, and the page that has them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import bench_published  # noqa: E402
import published  # noqa: E402

sys.path.remove(str(SCRIPTS))


def test_zhang__cycles_are_the_papers_and_ours_add_little() -> None:
    """A first layer of 55 x 55 x 11 x 11 cycles: 3 inputs and 48 outputs fit 7 x 64 units."""
    theirs = [published.zhang_cycles(layer, 7, 64) for layer in published.LAYERS]
    # rows x columns x kernel, times ceil(N / 7) and ceil(M / 64)
    rounds = ((1, 1), (7, 2), (37, 3), (28, 3), (28, 2))
    pixels = (55 * 55 * 121, 27 * 27 * 25, *(13 * 13 * 9,) * 3)
    assert theirs == [p * n * m for p, (n, m) in zip(pixels, rounds, strict=True)]
    assert theirs[0] == 366_025
    for layer, cycles in zip(published.LAYERS, theirs, strict=True):
        ours = published.our_cycles(layer, 7, 64)
        assert cycles < ours < 1.003 * cycles


@pytest.mark.parametrize("model", [published.zhang_cycles, published.our_cycles])
def test_zhang__64_by_7_is_best_of_all_arrays_of_448_units(model: object) -> None:
    total = {
        (i, o): sum(model(layer, i, o) for layer in published.LAYERS)  # type: ignore[operator]
        for i, o in published.unrollings(448)
    }
    assert min(total, key=total.__getitem__) == (7, 64)


def test_unrollings__hold_one_as_good_as_every_array() -> None:
    known = set(published.unrollings(30))
    for i in range(1, 31):
        for o in range(1, 30 // i + 1):
            assert any(i <= a and o <= b for a, b in known)
    assert all(i * o <= 30 for i, o in known)


def test_eyeriss__least_bytes_and_layers_are_those_of_the_paper() -> None:
    found = [published.traffic(layer) for layer in published.LAYERS]
    # 16 bits, four frames: computed from the layers' dimensions by hand
    assert [f.compulsory for f in found] == [3_629_592, 2_667_264, 2_634_752, 2_365_440, 1_750_016]
    assert sum(f.published for f in found) == pytest.approx(15.4e6)
    macs = sum(4 * layer.graph.operators[0].macs for layer in published.LAYERS)
    # the abstract's DRAM accesses per multiply-accumulate
    assert sum(f.published for f in found) / 2 / macs == pytest.approx(0.0029, rel=0.01)
    for one in found:
        assert one.compulsory <= min(one.ours)
        assert list(one.ours) == sorted(one.ours, reverse=True)
    assert found[0].ours[0] == found[0].compulsory


def test_row__compares_times() -> None:
    case = bench_published.CASES[0]
    row = bench_published.Row(case, case.roofline_ms * 1.2, 50.0, 0, 0.1, 0.2)
    assert row.ratio == pytest.approx(1.2) and row.verdict == "above 1.15"
    slow = row._replace(latency_ms=case.roofline_ms, solve_s=2.0)
    assert slow.verdict == "over 1 s"


def test_command__writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "published.md"
    bench_published.main(page, schedules=False)
    text = page.read_text("utf-8")
    assert "<64, 7>" in text and "366,025" in text and "| total | 15.40 | 13.05 |" in text
    assert text.strip() in capsys.readouterr().out
