"""Fused tasks row by row: what each RUN reads was made before it and is still there."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import pytest
from blocks import basic_block, conv_conv_pool, fire, inverted_residual, random_block
from hypothesis import assume, given, settings
from rows import Replay
from strategies import GraphBuilder, seeds

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import OpKind
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.hardware.timing import CONSTANT_BYTES
from fragenv.schedule.fused import FusedSearch, FusedSetting, Ring, RowPlan
from fragenv.schedule.fused_plan import FusedPlan
from fragenv.schedule.layers import FusedPattern, Wire, split
from fragenv.schedule.problem import concatenation_parts
from fragenv.schedule.tiling import Port

PORT = Port(4, 10)
CIRCUIT = Fragment(2, 4, tuple(Stage))


class Case(NamedTuple):
    graph: DataflowGraph
    pattern: FusedPattern


def case(graph: DataflowGraph) -> Case | None:
    names = [op.name for op in graph.operators]
    pattern = split(graph, names, concatenation_parts(graph))
    return None if pattern is None else Case(graph, pattern)


def known(graph: DataflowGraph) -> Case:
    found = case(graph)
    assert found is not None
    return found


def _wide_padding() -> DataflowGraph:
    """The first output row of the second layer lies in the padding alone."""
    build = GraphBuilder(2, 8)
    build.conv(build.conv("in", 2, 1, 1, pad=1), 2, 3, 1, pad=3)
    return build.graph()


def _pool_of_its_own() -> DataflowGraph:
    """A pool that is no layer's end reads its overlapping windows from a ring."""
    build = GraphBuilder(2, 11)
    first = build.conv("in", 2, 3, 1)
    build.same(OpKind.CONCAT, build.pool(first, 3, 2, 1), build.conv(first, 2, 1, 2))
    return build.graph()


KNOWN = {
    "inverted residual": known(inverted_residual()),
    "inverted residual, stride 2": known(inverted_residual(2)),
    "basic block": known(basic_block(False)),
    "basic block with downsampling": known(basic_block(True, 11)),
    "fire module": known(fire()),
    "conv conv pool": known(conv_conv_pool(10)),
    "wide padding": known(_wide_padding()),
    "pool of its own": known(_pool_of_its_own()),
}


def setting(
    pattern: FusedPattern, batch: int, shared: bool, on_chip: int = 0, keep: bool = False
) -> FusedSetting:
    count = len(pattern.shape.layers)
    units = (0,) * count if shared else tuple(range(count))
    return FusedSetting(pattern.shape, (CIRCUIT,) * count, units, batch, on_chip, keep)


def plan_of(
    task: FusedSetting, rows: int, loads: int = 0, layers: int = 0, outputs: int = 1
) -> FusedPlan:
    tiling = FusedSearch(task, PORT).evaluate(RowPlan(task.shape, rows), loads, layers, outputs)
    return FusedPlan(task, tiling, PORT)


def assert_rows_are_there(one: Case, plan: FusedPlan) -> None:
    replay = Replay(one.graph, concatenation_parts(one.graph), one.pattern, plan)
    replay.check_rings()
    replay.check_layers()


def smallest_rings(one: Case, rows: int, loads: int, layers: int) -> dict[str, int]:
    """Rows that each ring must have while frames follow each other, with each maker as many tiles
    ahead as it may be: from the first row made or read from then on to the last one made."""
    frames, plan_rows = 4, RowPlan(one.pattern.shape, rows)
    plan = plan_of(setting(one.pattern, frames, True), rows)

    def tile(node: int) -> int:
        step = plan.fused[node // 3]
        last = step.step.chunk.out_rows[1]
        within = next(t for t, done in enumerate(plan_rows.done) if done[step.layer] == last)
        return step.step.chunk.frames[0] * plan_rows.tiles + within

    result = {}
    replay = Replay(one.graph, concatenation_parts(one.graph), one.pattern, plan)
    for tensor, use in replay.rings.items():
        ahead = layers if tensor in one.pattern.tensors else loads
        made: dict[int, list[int]] = {}
        for (frame, row), (writer,) in use.writers.items():
            made.setdefault(tile(writer), []).append(frame * use.ring.frame_rows + row)
        read = [
            (tile(reader), frame * use.ring.frame_rows + row)
            for (frame, row), readers in use.readers.items()
            for reader in readers
        ]
        used = [*read, *((at, row) for at, new in made.items() for row in new)]
        result[tensor] = max(
            max(new) + 1 - min(row for at, row in used if at >= now - ahead)
            for now, new in made.items()
        )
    return result


@pytest.mark.parametrize("shared", [True, False], ids=["one circuit", "pipeline"])
@pytest.mark.parametrize("name", KNOWN)
def test_plan__rows_are_there_in_every_tiling(name: str, shared: bool) -> None:
    one = KNOWN[name]
    task = setting(one.pattern, 2, shared)
    for rows, loads, layers in product(
        range(1, one.pattern.shape.out_rows + 1), (0, 1), (0,) if shared else (0, 1)
    ):
        assert_rows_are_there(one, plan_of(task, rows, loads, layers, 1 + loads))


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_plan__rows_are_there_in_random_blocks(seed: int) -> None:
    rng = random.Random(seed)
    one = case(random_block(rng))
    assume(one is not None)
    assert one is not None
    inputs = len(one.pattern.inputs)
    task = setting(
        one.pattern,
        rng.randint(1, 3),
        rng.random() < 0.4,
        rng.choice([0, 0, (1 << inputs) - 1]),
        rng.random() < 0.3,
    )
    layers = 0 if len(set(task.units)) == 1 else rng.randint(0, 1)
    rows = rng.randint(1, one.pattern.shape.out_rows)
    plan = plan_of(task, rows, rng.randint(0, 1), layers, rng.randint(1, 2))
    assert_rows_are_there(one, plan)


@settings(max_examples=80, deadline=None)
@given(seeds)
def test_ring__has_no_row_too_many(seed: int) -> None:
    rng = random.Random(seed)
    # rows between those of a dilated window count as read
    one = case(random_block(rng, (1,)))
    assume(one is not None)
    assert one is not None
    rows, loads, layers = rng.randint(1, one.pattern.shape.out_rows), *rng.choices((0, 1), k=2)
    plan = plan_of(setting(one.pattern, 2, False), rows, loads, layers)
    replay = Replay(one.graph, concatenation_parts(one.graph), one.pattern, plan)
    found = {tensor: use.ring.rows for tensor, use in replay.rings.items()}
    assert found == smallest_rings(one, rows, loads, layers)


@pytest.mark.parametrize("name", [n for n in KNOWN if n != "wide padding"])
def test_replay__notices_a_ring_that_is_a_row_short(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = KNOWN[name]
    ring = RowPlan.ring
    for short in [Wire(False, 0), Wire(True, 0)]:

        def shorter(self: RowPlan, wire: Wire, ahead: int, short: Wire = short) -> Ring:
            own = ring(self, wire, ahead)
            return replace(own, rows=own.rows - (wire == short))

        monkeypatch.setattr(RowPlan, "ring", shorter)
        plan = plan_of(setting(one.pattern, 2, False), 1)
        with pytest.raises(AssertionError, match="overwritten"):
            assert_rows_are_there(one, plan)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_plan__moves_every_byte_once(seed: int) -> None:
    rng = random.Random(seed)
    one = case(random_block(rng))
    assume(one is not None)
    assert one is not None
    graph, batch = one.graph, rng.randint(1, 3)
    task = setting(one.pattern, batch, rng.random() < 0.5, keep=rng.random() < 0.3)
    search = FusedSearch(task, PORT)
    ladder = search.ladder()
    assert ladder[0].sram_bytes <= search.smallest_bytes()
    sizes = [t.sram_bytes for t in ladder]
    assert sizes == sorted(sizes)
    costs = [t.cost_cycles(PORT) for t in ladder]
    assert costs == sorted(costs, reverse=True)
    plan = FusedPlan(task, rng.choice(ladder), PORT)
    weights = sum(
        op.weight_bytes + CONSTANT_BYTES * op.nest.k for op in graph.operators if op.is_mac
    )
    outputs = [
        t for t, layer in zip(one.pattern.tensors, task.shape.layers, strict=True) if layer.leaves
    ]
    stored = 0 if task.keep_output else sum(graph.tensors[t].bytes for t in outputs)
    assert plan.weight_read_bytes == weights
    assert plan.dram_write_bytes == batch * stored
    assert plan.dram_read_bytes - weights <= batch * graph.tensors["in"].bytes
    assert plan.dram_read_bytes + plan.dram_write_bytes == plan.tiling.dram_bytes
    assert len(plan.steps) <= plan.tiling.steps
    assert plan.run_cycles == sum(s.run_cycles for s in plan.steps)


def test_ladder__one_circuit_runs_no_layer_ahead() -> None:
    pattern = KNOWN["inverted residual"].pattern
    for shared in (True, False):
        ladder = FusedSearch(setting(pattern, 2, shared), PORT).ladder()
        assert max(t.layers_ahead for t in ladder) == (not shared)


def test_pipeline__is_no_faster_than_its_busiest_circuit_and_not_much_slower() -> None:
    one = KNOWN["inverted residual"]
    task = setting(one.pattern, 8, False, on_chip=1, keep=True)
    best = FusedSearch(task, PORT).ladder()[-1]
    plan = FusedPlan(task, best, PORT)
    busy = [sum(s.step.run_cycles for s in plan.fused if s.layer == i) for i in range(3)]
    assert max(busy) < best.latency_cycles < 1.5 * max(busy)
