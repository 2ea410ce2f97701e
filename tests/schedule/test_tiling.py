"""Tilings against the published case and against brute force."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from strategies import random_graph, seeds

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.scheduler import SCHEDULERS, Budget
from fragenv.hardware.array_timing import array_cycles
from fragenv.hardware.chip import Chip
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.hardware.timing import CONSTANT_BYTES, DMA_OVERHEAD_CYCLES
from fragenv.models import zoo
from fragenv.schedule.problem import Problem
from fragenv.schedule.shape import TaskShape, Window, task_shape
from fragenv.schedule.steps import TaskPlan
from fragenv.schedule.tiling import Port, TaskSetting, Tiling
from fragenv.schedule.tiling_search import TilingSearch, tiling_ladder

ALL_STAGES = tuple(Stage)
PORT = Port(16, 0)
#: 16 x 16 multipliers, 16 B per cycle, 256 KiB: the case that ZigZag was run on
ARRAY = Fragment(16, 16, (Stage.MAC,))
SMALL = 262_144


def array_shapes(model: str) -> list[TaskShape]:
    """Convolutions and fully connected layers, each a task of its own."""
    graph = zoo.graph(model)
    shapes = [task_shape(graph, (op.name,), {}) for op in graph.operators if op.is_mac]
    return [s for s in shapes if s is not None]


def best(shape: TaskShape, sram_bytes: int, port: Port = PORT) -> Tiling:
    setting = TaskSetting(shape, ARRAY, 1, 0, False)
    ladder = [*tiling_ladder(setting, port, False), *tiling_ladder(setting, port, True)]
    fitting = [t for t in ladder if t.sram_bytes <= sram_bytes]
    return min(fitting, key=lambda t: t.cost_cycles(port))


def constants(shapes: list[TaskShape]) -> int:
    return sum(CONSTANT_BYTES * s.k for s in shapes)


def without_overheads(shapes: list[TaskShape], tilings: list[Tiling]) -> float:
    """Cycles less what the published model does not have: a fixed cost per command, and the
    requantisation constants."""
    # a RUN of one block: its weights, constants, one pixel and the way to the buffer
    of_run = array_cycles(0, 1, 1, (1, 1, 0), 16, 16) - 16
    fixed = sum(t.steps * (of_run + DMA_OVERHEAD_CYCLES) for t in tilings)
    moved = constants(shapes) / PORT.bytes_per_cycle
    return sum(t.latency_cycles for t in tilings) - fixed - moved


def test_small256__alexnet_moves_the_compulsory_bytes_in_the_published_time() -> None:
    shapes = array_shapes("alexnet")
    tilings = [best(s, SMALL) for s in shapes]
    assert sum(t.dram_bytes for t in tilings) - constants(shapes) == 61_939_880
    assert without_overheads(shapes, tilings) == pytest.approx(7_420_000, rel=0.01)


def test_small256__resnet18_moves_less_than_published_in_its_time() -> None:
    shapes = array_shapes("resnet18")
    tilings = [best(s, SMALL) for s in shapes]
    moved = sum(t.dram_bytes for t in tilings) - constants(shapes)
    assert 16_080_000 <= moved <= 16_400_000
    # 0.2% above the 9,185,020 published: filling and draining the array for every RUN
    assert without_overheads(shapes, tilings) <= 9_185_020 * 1.003


def test_small256__whole_networks_are_lower_with_fusion_keeping_and_overlap() -> None:
    chip = Chip(
        name="small256",
        multipliers=256,
        lut=10**6,
        buffer_bytes=SMALL,
        local_bytes=10**6,
        dram_bytes_per_cycle=16,
        dram_latency_cycles=0,
        config_bytes=1000,
        config_bytes_per_cycle=8.0,
        clock_mhz=100.0,
    )
    for model, cycles, moved in (
        ("alexnet", 7_426_863, 61_939_880),
        ("resnet18", 9_185_020, 19_198_384),
    ):
        problem = Problem(zoo.graph(model), chip)
        state = SCHEDULERS.get("uniform").solve(problem, Budget(3000), 0).state
        extra = sum(CONSTANT_BYTES * op.nest.k for op in problem.operators if op.is_mac)
        assert state.traffic_bytes - extra < moved
        assert state.latency_cycles < cycles


def test_line_buffer__first_convolution_of_alexnet_needs_32_kib() -> None:
    shape = array_shapes("alexnet")[0]
    setting = TaskSetting(shape, ARRAY, 1, 0, False)
    fitting = [t for t in TilingSearch(setting, PORT).candidates(True) if t.sram_bytes <= 32_768]
    assert min(t.dram_bytes for t in fitting) == 367_360 + CONSTANT_BYTES * 64


@pytest.mark.parametrize("shape", array_shapes("alexnet") + array_shapes("resnet18")[:6])
def test_best_tiling__is_monotone_in_sram_and_bandwidth(shape: TaskShape) -> None:
    sizes = (32_768, 65_536, 131_072, SMALL, 4 * SMALL)
    costs = [best(shape, size).cost_cycles(PORT) for size in sizes]
    assert costs == sorted(costs, reverse=True)
    ports = [Port(8, 0), Port(16, 0), Port(32, 0), Port(64, 0)]
    by_port = [best(shape, SMALL, port).cost_cycles(port) for port in ports]
    assert by_port == sorted(by_port, reverse=True)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_plan__moves_what_the_tiling_says_and_no_less_than_needed(seed: int) -> None:
    rng = random.Random(seed)
    graph = random_graph(rng, 3)
    op = rng.choice([o for o in graph.operators if o.kind != "concat"])
    shape = task_shape(graph, (op.name,), {})
    assert shape is not None
    fragment = Fragment(rng.choice([1, 3, 8]), rng.choice([2, 4, 16]), ALL_STAGES)
    setting = TaskSetting(shape, fragment, rng.randint(1, 3), 0, rng.random() < 0.3)
    candidates = list(TilingSearch(setting, PORT).candidates(rng.random() < 0.5))
    tiling = rng.choice(candidates)
    plan = TaskPlan(setting, tiling, PORT)
    assert plan.dram_read_bytes + plan.dram_write_bytes == tiling.dram_bytes
    assert plan.weight_read_bytes >= shape.weight_bytes
    if setting.keep_output:
        assert plan.dram_write_bytes == 0
    else:
        assert plan.dram_write_bytes == shape.out_bytes * setting.batch
    assert len(plan.steps) == tiling.steps


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_weight_prefix__counts_valid_bytes_of_each_block(seed: int) -> None:
    rng = random.Random(seed)
    graph = random_graph(rng, 3)
    op = rng.choice([o for o in graph.operators if o.is_mac])
    shape = task_shape(graph, (op.name,), {})
    assert shape is not None
    fragment = Fragment(rng.choice([1, 3, 8]), rng.choice([2, 4, 16]), ALL_STAGES)
    per_group, groups = shape.blocks_per_group(fragment), shape.output_groups(fragment)
    depth = 1 if shape.array is Stage.DEPTHWISE else shape.c // shape.groups
    total = 0
    for block in range(per_group * groups):
        assert shape.weight_prefix(block, fragment) == total
        group, rest = divmod(block, per_group)
        columns = min(fragment.lanes_out, shape.k - group * fragment.lanes_out)
        lane = rest // shape.kernel
        rows = min(fragment.lanes_in, depth - lane * fragment.lanes_in)
        if shape.array is Stage.DEPTHWISE:
            rows = 1
        total += columns * rows + (columns * CONSTANT_BYTES if rest == 0 else 0)
    assert shape.weight_prefix(per_group * groups, fragment) == total == shape.weight_bytes


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_window__needs_what_brute_force_needs(seed: int) -> None:
    rng = random.Random(seed)
    extent, stride, padding = rng.randint(1, 5), rng.randint(1, 6), 0
    padding = rng.randint(0, min(2, extent - 1))
    rows_in = rng.randint(extent, 20)
    rows_out = (rows_in + 2 * padding - extent) // stride + 1
    window = Window(rows_in, rows_out, extent, stride, padding)
    for out in range(1, rows_out + 1):
        read = {
            i
            for o in range(out)
            for i in range(o * stride - padding, o * stride - padding + extent)
            if 0 <= i < rows_in
        }
        assert window.needed(out) == max(read, default=-1) + 1
        assert window.touched(0, window.needed(out)) == len(read)
