"""The benchmark of fused tasks: the published pipeline's figures, ratios, limits, rows kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from blocks import chain

from fragenv.schedule.problem import Problem

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import alwani  # noqa: E402
import bench_fused  # noqa: E402

sys.path.remove(str(SCRIPTS))

KIB, MIB = 2**10, 2**20
#: of the head of VGG-19, from its input on: columns of the map that a convolution reads, channels,
#: and whether it is followed by a pooling of 2 x 2
MAPS = ((224, 3, False), (224, 64, True), (112, 64, False), (112, 128, True), (56, 128, False))


def published_buffers() -> tuple[int, int]:
    """Bytes of rows and of columns that square tiles with a tip of 1 x 1 leave behind, by the
    recurrence of Alwani et al.: a tile of D outputs needs D x S + K - S inputs."""
    rows = columns = 0
    tile = 1
    for width, channels, pooled in reversed(MAPS):
        tile = (2 * tile if pooled else tile) + 3 - 1
        rows += 2 * width * channels * 4
        columns += 2 * (tile - 2) * channels * 4
    return rows, columns


def test_published_buffers__are_what_the_paper_says() -> None:
    assert sum(published_buffers()) // KIB == 362


def test_fused_head__needs_no_more_than_the_paper() -> None:
    head = alwani.fused_head()
    assert len(alwani.head_layers().layers) == 5
    # 224 x 224 x 3 in, 56 x 56 x 256 out
    assert head.traffic == 4 * (224 * 224 * 3 + 56 * 56 * 256)
    assert round(head.traffic / MIB, 1) <= 3.6
    assert head.kept == published_buffers()[0]
    assert head.kept <= 362 * KIB
    # rings hold a tile's new rows as well
    assert head.rings > head.kept


@pytest.mark.parametrize("rows", [2, 7, 56])
def test_fused_head__tile_size_changes_new_rows_alone(rows: int) -> None:
    finest, coarse = alwani.fused_head(), alwani.fused_head(rows)
    assert coarse.traffic == finest.traffic
    assert coarse.rings > finest.rings
    # one tile leaves nothing behind
    assert coarse.kept == (finest.kept if rows < 56 else 0)


def test_unfused_head__counts_every_map_once_out_and_in() -> None:
    maps = {"t1": 224 * 224 * 64, "p1": 112 * 112 * 64, "t2": 112 * 112 * 128, "p2": 56 * 56 * 128}
    ends = 224 * 224 * 3 + 56 * 56 * 256
    joined = ends + 2 * (maps["t1"] + maps["p1"] + maps["t2"] + maps["p2"])
    apart = joined + 2 * (maps["t1"] + maps["t2"])
    assert alwani.unfused_head() == alwani.Unfused(4 * joined, 4 * apart)


def row(depth: int, cycles: int, moved: int, chip: str = "zu7ev") -> dict[str, Any]:
    return {
        "key": f"net {chip} {depth} 100 0",
        "network": "net",
        "chip": chip,
        "depth": depth,
        "solver": "beam",
        "cycles": cycles,
        "bytes": moved,
        "fused_operators": 3,
        "operators": 9,
        "pipelines": 1,
        "fused_tasks": 2,
        "fastest": {"cycles": cycles, "bytes": moved},
        "least_cycles": 50,
        "least_bytes": 40,
    }


@pytest.mark.parametrize(
    ("chip", "cycles", "moved", "said"),
    [
        ("zu7ev", 100, 60, ""),
        ("zu7ev", 100, 61, "traffic above 0.6"),
        ("zu7ev", 101, 60, "worse than depth 1"),
        ("xc7z045", 86, 60, "latency above 0.85"),
        ("cgra512", 85, 60, ""),
    ],
)
def test_pair__names_the_limits_that_it_misses(
    chip: str, cycles: int, moved: int, said: str
) -> None:
    pair = bench_fused.Pair(row(1, 100, 100, chip), row(3, cycles, moved, chip))
    assert "; ".join(pair.misses()) == said
    assert (said or "good") in bench_fused.table([pair])[-1]


def test_pair__latency_is_that_of_the_fastest_schedules_and_traffic_that_of_the_best() -> None:
    single, fused = row(1, 100, 100), row(3, 130, 50)
    single["fastest"], fused["fastest"] = {"cycles": 80, "bytes": 100}, {"cycles": 60, "bytes": 90}
    pair = bench_fused.Pair(single, fused)
    assert (pair.latency, pair.traffic) == (0.75, 0.5)
    assert pair.cost_latency == 1.3
    assert pair.misses() == []
    assert pair.misses(by_cost=True) == ["worse than depth 1"]


def test_pair__says_where_a_limit_is_beyond_the_bound() -> None:
    pair = bench_fused.Pair(row(1, 100, 100, "cgra512"), row(3, 95, 70, "cgra512"))
    assert pair.misses() == ["traffic above 0.6", "latency above 0.85"]
    pair.fused.update(least_cycles=90, least_bytes=65)
    traffic, latency = pair.misses()
    assert traffic == "traffic above 0.6 (beyond the bound, 0.650)"
    assert latency == "latency above 0.85 (beyond the bound, 0.900)"


def test_pairs_of__a_pair_needs_both_depths() -> None:
    cases = [bench_fused.Case("net", "zu7ev", depth, 100, 0) for depth in (1, 3)]
    rows = {case.key: row(case.depth, 90, 50) for case in cases}
    (pair,) = bench_fused.pairs_of(rows, cases)
    assert (pair.single["depth"], pair.fused["depth"]) == (1, 3)
    del rows[cases[1].key]
    assert bench_fused.pairs_of(rows, cases) == []


def test_row_of__counts_fused_operators_and_says_why_a_case_failed() -> None:
    found = bench_fused.row_of(bench_fused.Case("lenet", "zu7ev", 3, 50, 0))
    assert set(found["solvers"]) == set(bench_fused.SOLVERS)
    best = found["solvers"][found["solver"]]
    assert found["cycles"] == best["cycles"] > 0
    assert 0 <= found["fused_operators"] <= found["operators"]
    solved = found["solvers"].values()
    assert found["fastest"]["cycles"] <= min(s["cycles"] for s in solved)
    assert 0 < found["least_cycles"] <= found["fastest"]["cycles"]
    assert 0 < found["least_bytes"] <= min(s["bytes"] for s in solved)
    failed = bench_fused.row_of(bench_fused.Case("no-such-network", "zu7ev", 1, 50, 0))
    assert "no-such-network" in failed["error"]


def test_by_cycles__leaves_the_problem_as_it_was_and_counts_bytes_little() -> None:
    problem = Problem(chain(2), "zu7ev", 1, 3)
    before = problem.bound
    swift = bench_fused.by_cycles(problem)
    assert problem.bound == before and swift.choices is problem.choices
    state = problem.initial()
    while not state.finished:
        state = problem.apply(state, problem.legal_actions(state)[0])
    cycles = state.latency_cycles / before.latency_cycles
    traffic = state.traffic_bytes / before.traffic_bytes
    assert swift.cost(state) == pytest.approx(cycles + traffic * bench_fused.LITTLE)
