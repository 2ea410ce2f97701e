"""Weights that are loaded while the DRAM port is idle, before their task can start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fragenv.graph.from_torch import from_torch
from fragenv.hardware.chip import Chip
from fragenv.schedule.check import check_file
from fragenv.schedule.problem import Problem
from fragenv.schedule.schedule import Schedule, save_schedule
from fragenv.schedule.state import State, TaskRecord


def chip(buffer_bytes: int) -> Chip:
    """Multipliers that are slow beside the port on the convolution, fast on the matrix."""
    return Chip(
        name="slow",
        multipliers=36,
        lut=100_000,
        buffer_bytes=buffer_bytes,
        local_bytes=20_000,
        dram_bytes_per_cycle=4,
        dram_latency_cycles=16,
        config_bytes=4096,
        config_bytes_per_cycle=4.0,
        clock_mhz=100.0,
    )


def problem_of(buffer_bytes: int) -> Problem:
    """A convolution of many cycles and few bytes, then a matrix of many bytes."""
    with torch.device("meta"):
        network = nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 256, 64)
        )
    return Problem(from_torch(network, (32, 16, 16), "network"), chip(buffer_bytes), 1)


def cheapest(problem: Problem) -> tuple[State, list[int]]:
    """The myopic schedule."""
    state, actions = problem.initial(), []
    while not state.finished:
        legal = problem.legal_actions(state)
        after = [(problem.apply(state, a), a) for a in legal]
        # an action without progress, such as SPILL, would go on for ever
        after = [(s, a) for s, a in after if s.tasks_left < state.tasks_left]
        state, action = min(after, key=lambda pair: problem.cost(pair[0]))
        actions.append(action)
    return state, actions


def matrix_record(state: State) -> TaskRecord:
    return [record for record in state.records() if isinstance(record, TaskRecord)][-1]


def test_deeper_buffers__no_tile_is_overwritten_before_its_run_is_over() -> None:
    record = matrix_record(cheapest(problem_of(100_000))[0])
    tiling, steps = record.plan.tiling, record.plan.steps
    assert tiling.weight_buffers > 2
    ends = [
        start + step.run_cycles for (_, _, start, _), step in zip(record.times, steps, strict=True)
    ]
    loads = [start for start, *_ in record.times]
    for number, load in enumerate(loads[tiling.weight_buffers :]):
        assert load >= ends[number]
    sizes = [step.weights.bytes for step in steps if step.weights is not None]
    assert tiling.weight_buffers * max(sizes) <= tiling.weight_buffer_bytes


def test_deeper_buffers__sound_and_faster_with_more_sram(tmp_path: Path) -> None:
    latencies = []
    for buffer_bytes in (40_000, 70_000, 100_000):
        problem = problem_of(buffer_bytes)
        state, actions = cheapest(problem)
        schedule = Schedule.of(problem, state, tuple(actions), "network", "test", 0)
        save_schedule(schedule, problem, state, tmp_path / "schedule.json")
        report = check_file(tmp_path / "schedule.json")
        assert report.ok, [str(v) for v in report.violations[:5]]
        latencies.append(state.latency_cycles)
    # what is loaded ahead ends that much earlier: 4 bytes per cycle of 30,000 bytes more
    assert latencies[2] < latencies[1] < latencies[0]
    assert latencies[0] - latencies[2] == pytest.approx(60_000 / 4, rel=0.4)


def test_deeper_buffers__only_where_weights_stream_through_one_chunk() -> None:
    problem = problem_of(100_000)
    found = 0
    for options in problem.choices:
        for choice in options:
            plan = problem.plan(choice, 0, 60_000)
            if plan is None:
                continue
            for deeper in plan.deeper_plans(60_000):
                found += 1
                assert plan.tiling.streams
                assert deeper.tiling.sram_bytes <= 60_000
                assert deeper.tiling.weight_buffers > plan.tiling.weight_buffers
                assert deeper.weight_read_bytes == plan.weight_read_bytes
    assert found
