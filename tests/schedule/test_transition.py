"""Random graphs, chips and decisions: everything that must hold for every schedule."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import GraphBuilder, random_chip, random_episode, random_graph, seeds

from fragenv.errors import InfeasibleError
from fragenv.graph.operators import OpKind
from fragenv.models import zoo
from fragenv.schedule.check import check_file
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.schedule import Schedule, load_schedule, save_schedule
from fragenv.schedule.simulate import simulate
from fragenv.schedule.state import State

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


def random_problem(rng: random.Random) -> Problem | None:
    try:
        return Problem(random_graph(rng, rng.randint(2, 9)), random_chip(rng), rng.randint(1, 3))
    except InfeasibleError:
        return None


def assert_program_agrees(problem: Problem, state: State) -> None:
    program = lower(problem, state)
    assert simulate(program).latency_cycles == state.latency_cycles
    assert program.read_bytes == state.dram_read_bytes
    assert program.write_bytes == state.dram_write_bytes
    assert program.config_bytes == state.config_bytes


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


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_apply__leaves_the_old_state_and_refuses_the_illegal(seed: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng)
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
