"""Latency oracles: one set of fragments for all cells, and the table of all cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fragenv.generate import canonical, nb201
from fragenv.generate.architecture import OPERATORS, Architecture
from fragenv.generate.fragments import MOST_ARRAYS, cell_library, probe
from fragenv.generate.latency import LatencyOracle
from fragenv.generate.latency_table import column, functions, load_latencies, save_latencies
from fragenv.generate.quick import quick_schedule
from fragenv.generate.search import smallest
from fragenv.generate.skeleton import Skeleton, build_graph
from fragenv.generate.table import cell_scores
from fragenv.generate.weights import WeightsError
from fragenv.hardware.chip import Area, load_chip
from fragenv.hardware.fragment import Stage
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import State

SMALL = Skeleton(channels=4, stages=2, input_shape=(1, 8, 8))
#: of the table that ships
CHIPS = ("cgra512", "ecp5-85")
PLAIN = Architecture(("input", "conv3x3", "output"), ((0, 1), (1, 2)))


@pytest.mark.parametrize("name", CHIPS)
def test_library__fits_the_chip_together_and_runs_every_operator(name: str) -> None:
    chip = load_chip(name)
    library = cell_library(chip, SMALL, 1)
    assert sum((f.bound_area(chip) for f in library), Area()).fits(chip.area)  # type: ignore[union-attr]
    assert 1 <= sum(Stage.MAC in f.stages for f in library) <= MOST_ARRAYS
    assert set(probe().ops[1:-1]) == set(OPERATORS)
    every = Problem(build_graph(probe(), SMALL), chip, library=library)
    run = {node for options in every.choices for c in options for node in c.operators}
    assert run == set(range(len(every.operators)))


def test_oracle__schedules_all_networks_on_its_fragments_and_swaps_none() -> None:
    seen = []

    def schedule(problem: Problem) -> State:
        state = quick_schedule(problem)
        seen.append((problem.library, state.config_bytes))
        return state

    oracle = LatencyOracle("ecp5-85", SMALL, schedule=schedule)
    assert oracle(PLAIN) > oracle(smallest())
    assert seen == [(oracle.library, 0)] * 2


def test_functions__are_the_distinct_ones() -> None:
    found, numbers = functions()
    assert len(found) == 5_424 and len(numbers) == 15_284 and numbers.max() == 5_423
    cells = [nb201.from_choices(choices) for choices in nb201.runnable_choices()]
    for cell in range(0, len(cells), 1500):
        assert canonical.same(found[numbers[cell]], cells[cell])


@pytest.mark.parametrize("chip", CHIPS)
def test_table__has_the_latencies_that_the_oracle_gives(chip: str) -> None:
    cycles = np.array([scores[column(chip)] for scores in cell_scores().values()])
    oracle, (found, numbers) = LatencyOracle(chip), functions()
    assert cycles.min() == oracle(smallest())
    assert cycles.max() > 2.5 * cycles.min()  # a spread to search in
    for function in (7, 2500):
        assert set(cycles[numbers == function]) == {oracle(found[function])}


def test_latencies__survive_a_file_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    cycles = {"latency_cycles_a": np.arange(15_284)}
    save_latencies(path, cycles, {"latency_cycles_a": {"batch": 1}})
    found, made = load_latencies(path)
    np.testing.assert_array_equal(found["latency_cycles_a"], cycles["latency_cycles_a"])
    assert made == {"latency_cycles_a": {"batch": 1}}
    save_latencies(path, {"latency_cycles_a": np.arange(5)}, {})
    with pytest.raises(WeightsError, match=r"column latency_cycles_a is not of 15284 cells.*again"):
        load_latencies(path)
