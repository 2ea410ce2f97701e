"""The period of overlapping jobs: against jobs simulated in a row, and whatever jobs share."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import random_chip, random_episode, random_graph, seeds

from fragenv.errors import FragenvError, InfeasibleError
from fragenv.models import zoo
from fragenv.schedule.check import check_file, check_schedule
from fragenv.schedule.cycle_ratio import Arcs, least_period
from fragenv.schedule.lower import lower
from fragenv.schedule.objective import JOBS_IN_FLIGHT
from fragenv.schedule.period import Steady, steady_state
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import CommandKind, Program
from fragenv.schedule.rooms import Rooms
from fragenv.schedule.schedule import (
    Schedule,
    ScheduleError,
    load_schedule,
    save_schedule,
    schedule_content,
)
from fragenv.schedule.simulate import simulate
from fragenv.schedule.state import State

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
JOBS = 40


def overlapping(rng: random.Random, max_depth: int = 1) -> tuple[Problem, State, list[int]] | None:
    """A random problem whose jobs overlap, finished with random decisions."""
    graph, chip, batch = random_graph(rng, rng.randint(2, 9)), random_chip(rng), rng.randint(1, 3)
    try:
        problem = Problem(graph, chip, batch, max_depth, objective="throughput")
    except InfeasibleError:
        return None
    return (problem, *random_episode(problem, rng, fused=0.5))


def ends_of_jobs(steady: Steady, jobs: int) -> list[int]:
    """When each job ends if every event comes as soon as the order of the steady state allows:
    the events of all jobs, unrolled."""
    events = len(steady.cycles)
    cycles = steady.cycles.tolist()
    following: list[list[int]] = [[] for _ in range(events * jobs)]
    waiting = [0] * (events * jobs)
    for source, target, apart in zip(*(x.tolist() for x in steady.order), strict=True):
        for job in range(max(0, apart), min(jobs, jobs + apart)):
            following[(job - apart) * events + source].append(job * events + target)
            waiting[job * events + target] += 1
    ready = [number for number, count in enumerate(waiting) if not count]
    over = [cycles[number % events] for number in range(events * jobs)]
    for number in ready:
        for later in following[number]:
            over[later] = max(over[later], over[number] + cycles[later % events])
            waiting[later] -= 1
            if not waiting[later]:
                ready.append(later)
    assert len(ready) == events * jobs, "events wait for each other"
    return [max(over[job * events : (job + 1) * events]) for job in range(jobs)]


def assert_grows_by_the_period(steady: Steady) -> None:
    # the last jobs do not take turns with those that would follow
    ends = ends_of_jobs(steady, JOBS)[: -2 * JOBS_IN_FLIGHT]
    # jobs may take turns to be fast and slow: as many as repeat after 1, 2, 3 or 4
    apart = len(ends) // 2 // 12 * 12
    growth = (ends[-1] - ends[-1 - apart]) / apart
    # the least whole period is less than a cycle above the ratio
    assert steady.period_cycles - 1 < growth + 0.001 * steady.period_cycles
    assert growth < steady.period_cycles + 1


def busy_cycles(program: Program) -> int:
    units: dict[str, int] = defaultdict(int)
    for command in program.commands:
        units[command.unit] += command.cycles
    return max(units.values())


def assert_held_circuits_are_left_alone(program: Program, steady: Steady) -> None:
    """No other RUN comes between the RUNs of a task that leaves sums in the accumulators."""
    spans = defaultdict(list)
    for command in program.commands:
        if command.kind is CommandKind.RUN:
            spans[command.unit, command.task].append(steady.starts[command.id])
    for (unit, task), starts in spans.items():
        if not getattr(program.tasks[task].plan, "holds", False):
            continue
        for (other_unit, other), others in spans.items():
            if other_unit == unit:
                for job in range(-JOBS_IN_FLIGHT, JOBS_IN_FLIGHT + 1):
                    if (other, job) != (task, 0):
                        shifted = (start + job * steady.period_cycles for start in others)
                        assert not any(min(starts) < start < max(starts) for start in shifted)


@settings(max_examples=30, deadline=None, suppress_health_check=SLOW)
@given(seeds)
def test_steady_state__is_what_jobs_in_a_row_settle_to(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    found = overlapping(rng, rng.choice([1, 3]))
    if found is None:
        return
    problem, state, actions = found
    program = lower(problem, state)
    steady = steady_state(problem, program)
    assert steady.period_cycles == state.period_cycles == problem.cycles(state)
    assert busy_cycles(program) == state.busiest_cycles
    assert state.busiest_cycles <= state.period_cycles <= state.latency_cycles
    assert state.period_cycles >= problem.bound.period_cycles
    assert_grows_by_the_period(steady)
    assert_held_circuits_are_left_alone(program, steady)
    schedule = Schedule.of(problem, state, tuple(actions), "random", "random", seed)
    save_schedule(schedule, problem, state, tmp_path / "schedule.json")
    report = check_file(tmp_path / "schedule.json")
    assert report.ok, [str(v) for v in report.violations[:5]]
    assert report.period_cycles == state.period_cycles
    assert report.default_return == pytest.approx(-problem.cost(state))
    again = load_schedule(tmp_path)
    assert again.replay(problem).period_cycles == state.period_cycles
    with pytest.raises(ScheduleError, match="made for throughput"):
        again.replay(Problem(problem.graph, problem.chip, problem.batch, problem.max_depth))


def test_cycle_ratio__is_that_of_the_worst_cycle() -> None:
    """Against all simple cycles of small random graphs."""
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        events, count = int(rng.integers(2, 7)), int(rng.integers(2, 14))
        sources, targets = rng.integers(0, events, (2, count))
        weights, tokens = rng.integers(0, 50, count), rng.integers(-1, 4, count)
        arcs = Arcs(sources, targets, weights, tokens)
        graph = nx.MultiDiGraph()
        for i in range(count):
            graph.add_edge(int(sources[i]), int(targets[i]), i)
        cycles = all_cycles(graph)
        sums = [(int(weights[list(c)].sum()), int(tokens[list(c)].sum())) for c in cycles]
        found = least_period(events, arcs, 1, 10_000)
        if any(token < 0 or (token == 0 and weight > 0) for weight, token in sums):
            refused += 1
            assert found is None
            continue
        expected = max([1, *(-(-weight // token) for weight, token in sums if token)])
        assert found is not None and found[0] == expected
        times = found[1]
        assert (times[targets] >= times[sources] + weights - expected * tokens).all()
        assert least_period(events, arcs, 1, expected - 1) is None
    assert 20 < refused < 180


def all_cycles(graph: nx.MultiDiGraph) -> list[tuple[int, ...]]:
    """The arcs of every simple cycle, each choice among parallel arcs."""
    found: list[tuple[int, ...]] = []
    for nodes in nx.simple_cycles(nx.DiGraph(graph)):
        paths: list[tuple[int, ...]] = [()]
        for source, target in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            arcs = list(graph.get_edge_data(source, target))
            paths = [(*path, arc) for path in paths for arc in arcs]
        found += paths
    return found


@pytest.mark.parametrize(("model", "chip", "batch"), [("alexnet", "xc7z045", 1)])
def test_zoo__jobs_overlap(model: str, chip: str, batch: int) -> None:
    from agents.heuristics.search import beam_search
    from agents.heuristics.sets import fitting_sets
    from agents.scheduler import Budget, Meter

    problem = Problem(zoo.graph(model), chip, batch, objective="throughput")
    pair = next(s for s in fitting_sets(problem) if len(s) == 2)
    path = beam_search(Meter(problem, Budget(500)), 1, lambda c: c.fragment in pair)
    assert path is not None
    state = path.state
    assert state.period_cycles < 0.9 * state.latency_cycles
    assert_grows_by_the_period(steady_state(problem, lower(problem, state)))


def test_checker__refuses_jobs_that_meet() -> None:
    """A period that is too short, and a job that is moved within it."""
    problem = Problem(zoo.graph("lenet"), "zu7ev", 2, objective="throughput")
    state, actions = random_episode(problem, random.Random(3))
    schedule = Schedule.of(problem, state, tuple(actions), "lenet", "random", 3)
    good = schedule_content(schedule, problem, state)
    assert check_schedule(good).ok
    rules = {v.rule for v in check_schedule(good | {"period_cycles": 500}).violations}
    assert {"unit does two things", "too many jobs at once"} <= rules
    starts = list(good["steady_starts"])
    last = max(range(len(starts)), key=starts.__getitem__)
    starts[last] = 0
    rules = {v.rule for v in check_schedule(good | {"steady_starts": starts}).violations}
    assert "starts before its wait" in rules


def test_latency__is_the_period_of_jobs_that_do_not_overlap() -> None:
    problem = Problem(zoo.graph("lenet"), "zu7ev", 2)
    state, _ = random_episode(problem, random.Random(0))
    assert state.period_cycles == state.latency_cycles
    seconds = problem.chip.milliseconds(state.latency_cycles) / 1e3
    assert problem.frames_per_second(state) == pytest.approx(2 / seconds)


def test_objective__unknown_is_refused() -> None:
    with pytest.raises(FragenvError, match="unknown objective 'speed'; choose one of latency"):
        Problem(zoo.graph("lenet"), "zu7ev", objective="speed")


@settings(max_examples=20, deadline=None, suppress_health_check=SLOW)
@given(seeds)
def test_rooms__do_not_depend_on_where_time_begins(seed: int) -> None:
    found = overlapping(random.Random(seed), 3)
    if found is None:
        return
    problem, state, _ = found
    program = lower(problem, state)
    rooms = Rooms(problem, program)
    ends = np.array(simulate(program).ends)
    # all rooms given back before 0: where a job's swaps begin is 0
    assert (rooms.ends(ends - ends.max() - 1) == rooms.ends(ends) - ends.max() - 1).all()
