"""ONNX's own node tests through the emitted RTL: all side by side in one emission."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from compare import assert_conforms
from equivalents import equivalents
from excluded import RUN
from node_tests import Array, node_tests
from on_chip import OnChip, on_chip, output_of, together

from fragenv.hardware.chip import Chip
from fragenv.models.parameters import Quantisation
from fragenv.rtl.emit import Emission, emit, write
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import State
from fragenv.verify.reference import evaluate
from fragenv.verify.run import simulate_emission

pytestmark = pytest.mark.rtl

CHIP = Chip(
    name="conformance",
    multipliers=4,
    lut=60_000,
    buffer_bytes=20_000,
    local_bytes=65_536,
    dram_bytes_per_cycle=8,
    dram_latency_cycles=20,
    config_bytes=8_192,
    config_bytes_per_cycle=8.0,
    clock_mhz=100.0,
)


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[OnChip]]:
    """Every equivalent of every node test that runs, by the test's name."""
    folder = tmp_path_factory.mktemp("models")
    return {
        name: [on_chip(case, folder) for case in equivalents(node_tests()[name])] for name in RUN
    }


@pytest.fixture(scope="module")
def results(
    chips: dict[str, list[OnChip]], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Array]:
    """Every output of the simulated chip, by case and tensor."""
    union = together(c for each in chips.values() for c in each)
    folder = tmp_path_factory.mktemp("emission") / "chip"
    write(_emitted(Problem(union.graph, CHIP), union.numbers), folder)
    return simulate_emission(folder, union.inputs).outputs


def _emitted(problem: Problem, numbers: Quantisation) -> Emission:
    return emit(problem, lower(problem, _few_circuits(problem)), numbers)


def _few_circuits(problem: Problem) -> State:
    """A finished state by actions that bind nothing new, where there are such."""
    state = problem.initial()
    while not state.finished:
        after = [problem.apply(state, action) for action in problem.legal_actions(state)]
        after = [s for s in after if s.tasks_left < state.tasks_left]
        state = min(after, key=lambda s: (s.bind_count, problem.cost(s)))
    return state


@pytest.mark.parametrize("name", RUN)
def test_node_test__rtl(
    name: str, chips: dict[str, list[OnChip]], results: Mapping[str, Array]
) -> None:
    for chip in chips[name]:
        found = output_of(chip, results)
        expected = evaluate(chip.graph, chip.numbers, chip.inputs)[chip.output]
        assert np.array_equal(found, expected)
        assert_conforms(chip, found)
