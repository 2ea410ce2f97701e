"""Random graphs, chips and decisions: everything that must hold for every schedule."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from blocks import basic_block, fire, inverted_residual
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import (
    GraphBuilder,
    choice_of,
    random_chip,
    random_episode,
    random_problem,
    seeds,
)

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import OpKind
from fragenv.models import zoo
from fragenv.rtl.memory_map import buffer_needs
from fragenv.schedule.check import check_file
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.schedule import Schedule, load_schedule, save_schedule
from fragenv.schedule.simulate import simulate
from fragenv.schedule.state import State

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


def assert_program_agrees(problem: Problem, state: State) -> None:
    program = lower(problem, state)
    assert simulate(program).latency_cycles == state.latency_cycles
    assert program.read_bytes == state.dram_read_bytes
    assert program.write_bytes == state.dram_write_bytes
    assert program.config_bytes == state.config_bytes


def assert_buffer_holds(problem: Problem, state: State) -> None:
    """What lies in the buffer at a time fits, by when the commands touch it."""
    needs = buffer_needs(problem, lower(problem, state))
    for start in {need.start for need in needs}:
        held = sum(n.size for n in needs if n.start <= start < n.end)
        assert held <= problem.chip.buffer_bytes


def assert_file_is_sound(problem: Problem, state: State, actions: list[int], folder: Path) -> None:
    schedule = Schedule.of(problem, state, tuple(actions), "random", "test", 0)
    save_schedule(schedule, problem, state, folder / "schedule.json")
    report = check_file(folder / "schedule.json")
    assert report.ok, [str(v) for v in report.violations[:5]]
    assert report.latency_cycles == state.latency_cycles
    assert report.default_return == pytest.approx(-problem.cost(state))
    assert load_schedule(folder).replay(problem).latency_cycles == state.latency_cycles


@settings(max_examples=120, deadline=None, suppress_health_check=SLOW)
@given(seeds)
def test_schedule__agrees_with_its_program_and_the_checker(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng)
    if problem is None:
        return
    state, actions = random_episode(problem, rng)
    assert all(state.done)
    assert state.latency_cycles >= problem.bound.latency_cycles
    assert state.traffic_bytes >= problem.bound.traffic_bytes
    assert_program_agrees(problem, state)
    assert_file_is_sound(problem, state, actions, tmp_path)


def test_bound__does_not_count_an_input_within_an_output_as_written() -> None:
    builder = GraphBuilder(3, 6)
    made = builder.conv("in", 3, 3, 1)
    builder.same(OpKind.CONCAT, "in", made)
    problem = Problem(builder.graph(), "cgra512", 2)
    image, weights, constants = 2 * 3 * 6 * 6, 3 * 3 * 3 * 3, 3 * 8
    assert problem.bound.traffic_bytes == 2 * image + weights + constants


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(2, 4), st.sampled_from([0.0, 0.8]))
def test_fused_schedule__agrees_with_its_program(seed: int, depth: int, fused: float) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, depth)
    if problem is None:
        return
    state, actions = random_episode(problem, rng, fused)
    taken = [choice_of(problem, action) for action in actions]
    run = [node for choice in taken if choice is not None for node in choice.operators]
    assert sorted(run) == list(range(len(problem.operators))) and not state.tasks_left
    assert state.latency_cycles >= problem.bound.latency_cycles
    assert state.traffic_bytes >= problem.bound.traffic_bytes
    assert_program_agrees(problem, state)
    assert_buffer_holds(problem, state)


@pytest.mark.parametrize("graph", [fire(), basic_block(True), inverted_residual()])
def test_fused_schedule__takes_pipelines_and_turns(graph: DataflowGraph) -> None:
    """The same on blocks that surely run with their layers fused, either way."""
    problem = Problem(graph, random_chip(random.Random(1)), 2, max_depth=3)
    circuits = set()
    for seed in range(12):
        state, actions = random_episode(problem, random.Random(seed), fused=0.8)
        taken = [choice_of(problem, action) for action in actions]
        circuits |= {len(c.circuits) for c in taken if c is not None and c.layers}
        assert_program_agrees(problem, state)
        assert_buffer_holds(problem, state)
    assert min(circuits) == 1 and max(circuits) > 1


def test_fused_schedule__never_runs_an_operator_again() -> None:
    """Branches of a block that meet later: one may have run before, and then its task is not
    offered."""
    problem = Problem(basic_block(True), "cgra512", max_depth=3)
    state, shortcut = problem.initial(), problem.node_of["op3"]
    alone = next(i for i, c in enumerate(problem.choices[shortcut]) if c.operators == (shortcut,))
    state = problem.apply(state, MAX_SLOTS + shortcut * (problem.num_choices + 1) + alone)
    offered = [choice_of(problem, action) for action in problem.legal_actions(state)]
    assert any(c is not None and c.layers for c in offered)
    assert all(shortcut not in c.operators for c in offered if c is not None)
    for action in set(range(problem.num_actions)) - set(problem.legal_actions(state)):
        with pytest.raises(ValueError, match="illegal"):
            problem.apply(state, action)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_apply__leaves_the_old_state_and_refuses_the_illegal(seed: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, rng.choice([1, 3]))
    if problem is None:
        return
    state = problem.initial()
    while not state.finished:
        legal = problem.legal_actions(state)
        before = (state.latency_cycles, state.traffic_bytes, state.done, state.slots)
        starts = state.dma.starts.copy()
        illegal = rng.randrange(problem.num_actions)
        if illegal not in legal:
            with pytest.raises(ValueError, match="illegal"):
                problem.apply(state, illegal)
        new = problem.apply(state, rng.choice(legal))
        assert before == (state.latency_cycles, state.traffic_bytes, state.done, state.slots)
        assert (state.dma.starts == starts).all()
        state = new
    assert problem.legal_actions(state) == []


@pytest.mark.parametrize("model", ["lenet", "alexnet", "squeezenet", "resnet18", "mobilenetv2"])
@pytest.mark.parametrize(("chip", "batch"), [("cgra512", 1), ("xc7z020", 2)])
def test_zoo__random_schedules_agree(model: str, chip: str, batch: int, tmp_path: Path) -> None:
    problem = Problem(zoo.graph(model), chip, batch)
    state, actions = random_episode(problem, random.Random(0))
    assert_program_agrees(problem, state)
    assert_file_is_sound(problem, state, actions, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vgg16", "resnet50", "googlenet"])
@pytest.mark.parametrize("chip", ["cgra512", "ecp5-85", "xc7vx485t"])
def test_zoo__large_random_schedules_agree(model: str, chip: str, tmp_path: Path) -> None:
    problem = Problem(zoo.graph(model), chip, 2)
    state, actions = random_episode(problem, random.Random(1))
    assert_program_agrees(problem, state)
    assert_file_is_sound(problem, state, actions, tmp_path)
