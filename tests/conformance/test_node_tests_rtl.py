"""ONNX's own node tests through the emitted RTL: all side by side in one emission."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from compare import assert_conforms
from equivalents import equivalents
from excluded import RUN
from node_tests import Array, node_tests
from on_chip import OnChip, on_chip, output_of, together

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import ACTIVATION_KINDS, OpKind
from fragenv.hardware.chip import Chip
from fragenv.models.parameters import Quantisation
from fragenv.rtl.emit import Emission, emit, write
from fragenv.rtl.errors import EmitError
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


def _has(*kinds: OpKind) -> Callable[[DataflowGraph], bool]:
    return lambda graph: any(op.kind in kinds for op in graph.operators)


def _mean_without_padding(graph: DataflowGraph) -> bool:
    return any(
        op.kind is OpKind.AVGPOOL and any(op.nest.padding) and not op.attribute("count_include_pad")
        for op in graph.operators
    )


def _lone_activation(graph: DataflowGraph) -> bool:
    return any(
        op.kind in ACTIVATION_KINDS and op.inputs[0] in graph.inputs for op in graph.operators
    )


#: what the RTL library has no circuit for yet: a line goes as soon as it has, a test says so
NOT_YET_IN_RTL: dict[str, Callable[[DataflowGraph], bool]] = {
    "addition": _has(OpKind.ADD),
    "concatenation": _has(OpKind.CONCAT),
    "response normalisation": _has(OpKind.LRN),
    "mean that leaves padding out": _mean_without_padding,
    "activation on its own": _lone_activation,
}


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[OnChip]]:
    """Every equivalent of every node test that runs, by the test's name."""
    folder = tmp_path_factory.mktemp("models")
    return {
        name: [on_chip(case, folder) for case in equivalents(node_tests()[name])] for name in RUN
    }


@pytest.fixture(scope="module")
def refused(chips: dict[str, list[OnChip]]) -> set[str]:
    """Names of the equivalents that the emitter has no circuit for."""
    found = set()
    for chip in (chip for each in chips.values() for chip in each):
        try:
            _emitted(Problem(chip.graph, CHIP), chip.numbers)
        except EmitError:
            found.add(chip.case.name)
    return found


@pytest.fixture(scope="module")
def results(
    chips: dict[str, list[OnChip]], refused: set[str], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Array]:
    """Every output of the simulated chip, by case and tensor."""
    union = together(c for each in chips.values() for c in each if c.case.name not in refused)
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
    name: str,
    chips: dict[str, list[OnChip]],
    refused: set[str],
    results: Mapping[str, Array],
) -> None:
    for chip in chips[name]:
        if chip.case.name in refused:
            assert any(matches(chip.graph) for matches in NOT_YET_IN_RTL.values())
            continue
        found = output_of(chip, results)
        expected = evaluate(chip.graph, chip.numbers, chip.inputs)[chip.output]
        assert np.array_equal(found, expected)
        assert_conforms(chip, found)


@pytest.mark.parametrize("what", NOT_YET_IN_RTL)
def test_not_yet_in_rtl__is_up_to_date(
    what: str, chips: dict[str, list[OnChip]], refused: set[str]
) -> None:
    matching = {
        c.case.name for each in chips.values() for c in each if NOT_YET_IN_RTL[what](c.graph)
    }
    assert matching <= refused, f"the RTL has it now: remove {what!r} from NOT_YET_IN_RTL"
