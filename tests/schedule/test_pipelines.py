"""Choices of fused tasks, the circuits that they get, and problems that have none."""

from __future__ import annotations

import random
from itertools import permutations

import pytest
from blocks import basic_block, chain, conv_conv_pool, fire, inverted_residual
from strategies import GraphBuilder, choice_of, random_episode

from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import OpKind
from fragenv.hardware.chip import Area
from fragenv.hardware.fragment import Fragment, FusedFragment, Stage
from fragenv.schedule.choices import Choice, busiest_cycles, circuits_for, frame_cycles
from fragenv.schedule.layers import split
from fragenv.schedule.lower import lower
from fragenv.schedule.pipelines import PIPELINES
from fragenv.schedule.problem import MAX_DEPTH, Problem, concatenation_parts
from fragenv.schedule.simulate import simulate

BLOCKS = {
    "fire module": (fire(), 3),
    "basic block": (basic_block(True), 3),
    "inverted residual": (inverted_residual(), 3),
    "conv conv pool": (conv_conv_pool(), 2),
}


def fused_choices(problem: Problem) -> list[Choice]:
    return [c for options in problem.choices for c in options if c.layers]


def assert_episodes_agree(problem: Problem, episodes: int = 4) -> None:
    for seed in range(episodes):
        state, actions = random_episode(problem, random.Random(seed), fused=0.5)
        run = [c for a in actions if (c := choice_of(problem, a)) is not None]
        nodes = sorted(node for choice in run for node in choice.operators)
        assert nodes == list(range(len(problem.operators)))
        assert simulate(lower(problem, state)).latency_cycles == state.latency_cycles


@pytest.mark.parametrize("name", BLOCKS)
def test_problem__offers_a_block_in_turns_and_as_a_pipeline(name: str) -> None:
    graph, layers = BLOCKS[name]
    problem = Problem(graph, "cgra512", max_depth=3)
    whole = [c for c in fused_choices(problem) if len(c.operators) == len(problem.operators)]
    assert {len(c.circuits) for c in whole} == {1, layers}
    for choice in whole:
        assert [c.fragment for c in choice.layers] == [choice.fragment] * layers
        nodes = sorted(n for layer in choice.layers for n in layer.operators)
        assert nodes == list(choice.operators)
        parts = problem.library[choice.fragment].parts
        for layer in choice.layers:
            assert parts[layer.circuits[0]].implements(layer.shape.stages)
        assert not choice.keep  # the outputs are the graph's


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("chip", ["cgra512", "ecp5-85"])
def test_pipelines__fit_the_chip_and_run_single_operators(name: str, chip: str) -> None:
    problem = Problem(BLOCKS[name][0], chip, max_depth=3)
    pipelines = [f for f in problem.library if isinstance(f, FusedFragment)]
    assert 0 < len(pipelines) <= PIPELINES
    assert len(set(pipelines)) == len(pipelines)
    everything = {stage for f in problem.library if isinstance(f, Fragment) for stage in f.stages}
    singles = [c for options in problem.choices for c in options if not c.layers]
    for number, pipeline in enumerate(problem.library):
        if not isinstance(pipeline, FusedFragment):
            continue
        area = sum((part.bound_area(problem.chip) for part in pipeline.parts), Area())
        assert area.fits(problem.chip.area)
        assert any(part.implements(everything) for part in pipeline.parts)
        runs = {node for c in singles if c.fragment == number for node in c.operators}
        assert runs == set(range(len(problem.operators)))


def test_pipeline__circuits_share_the_multipliers_by_work() -> None:
    """Four convolutions alike get circuits alike: none is much busier than the others."""
    build, last = GraphBuilder(32, 12), "in"
    for _ in range(4):
        last = build.conv(last, 32, 3, 1)
    problem = Problem(build.graph(), "cgra512", max_depth=4)
    (choice,) = (c for c in fused_choices(problem) if len(c.circuits) == 4)
    parts = problem.library[choice.fragment].parts
    busy = [frame_cycles(c.shape, parts[c.circuits[0]]) for c in choice.layers]
    assert max(busy) < 1.2 * min(busy)
    assert max(busy) == busiest_cycles(choice, problem.library[choice.fragment])
    # in turns on one circuit, all of them together take about as long
    (turns,) = (
        busiest_cycles(c, problem.library[c.fragment])
        for c in fused_choices(problem)
        if len(c.layers) == 4 and len(c.circuits) == 1 and c.fragment == 0
    )
    assert max(busy) < 1.3 * turns


def test_circuits_for__are_the_best_in_order() -> None:
    pattern = split(fire(), [op.name for op in fire().operators], concatenation_parts(fire()))
    assert pattern is not None
    shapes = [layer.shape for layer in pattern.shape.layers]
    circuits = tuple(
        Fragment(rows, lanes, (Stage.MAC,)) for rows, lanes in ((8, 4), (1, 8), (4, 2), (4, 4))
    )
    for order in permutations(circuits):
        chosen = circuits_for(pattern.shape, FusedFragment(order))
        assert chosen is not None and list(chosen) == sorted(chosen)
        least = min(
            max(frame_cycles(s, order[i]) for s, i in zip(shapes, numbers, strict=True))
            for numbers in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3))
        )
        found = max(frame_cycles(s, order[i]) for s, i in zip(shapes, chosen, strict=True))
        assert found == least


def test_circuits_for__needs_all_stages_and_enough_circuits() -> None:
    graph = inverted_residual()
    pattern = split(graph, [op.name for op in graph.operators], {})
    assert pattern is not None
    mac = Fragment(4, 4, (Stage.MAC,))
    deep = Fragment(1, 4, (Stage.DEPTHWISE,))
    adds = Fragment(4, 4, (Stage.MAC, Stage.ADD))
    everything = Fragment(4, 4, (Stage.MAC, Stage.ADD, Stage.DEPTHWISE))
    assert circuits_for(pattern.shape, FusedFragment((mac, deep, adds))) == (0, 1, 2)
    assert circuits_for(pattern.shape, FusedFragment((mac, deep, mac))) is None
    assert circuits_for(pattern.shape, FusedFragment((deep, mac, adds))) is None
    assert circuits_for(pattern.shape, FusedFragment((everything, everything))) is None
    assert circuits_for(pattern.shape, everything) == (0, 0, 0)
    assert circuits_for(pattern.shape, adds) is None


@pytest.mark.parametrize("depth", [-1, 0, MAX_DEPTH + 1])
def test_problem__refuses_other_depths(depth: int) -> None:
    with pytest.raises(FragenvError, match=f"max_depth must be 1 to {MAX_DEPTH}, got {depth}"):
        Problem(chain(2), max_depth=depth)


def _one_operator() -> DataflowGraph:
    build = GraphBuilder(3, 8)
    build.conv("in", 4, 3, 1)
    return build.graph()


def _nothing_to_fuse() -> DataflowGraph:
    """Pools and an addition without anything that multiplies, and rows that are flattened."""
    build = GraphBuilder(4, 9)
    pooled = build.pool("in", 3, 2)
    build.gemm(build.same(OpKind.ADD, build.same(OpKind.RELU, pooled), pooled), 5)
    return build.graph()


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("graph", [_one_operator(), _nothing_to_fuse()])
def test_problem__without_layers_to_fuse_is_as_at_depth_1(graph: DataflowGraph, depth: int) -> None:
    problem, flat = Problem(graph, "cgra512", 2, depth), Problem(graph, "cgra512", 2)
    assert not fused_choices(problem)
    assert problem.library == flat.library
    assert [[c.operators for c in options] for options in problem.choices] == [
        [c.operators for c in options] for options in flat.choices
    ]
    assert_episodes_agree(problem)


def test_problem__depth_beyond_the_graph() -> None:
    graph = chain(2)
    two, four = (Problem(graph, "cgra512", max_depth=depth) for depth in (2, 4))
    assert two.library == four.library
    assert {c.operators for c in fused_choices(four)} == {(0, 1)}
    assert_episodes_agree(four)


@pytest.mark.parametrize("kind", [OpKind.ADD, OpKind.CONCAT])
def test_problem__an_operator_reads_one_tensor_twice(kind: OpKind) -> None:
    build = GraphBuilder(4, 9)
    doubled = build.same(kind, *2 * [build.conv("in", 4, 3, 1)])
    again = build.same(kind, *2 * [build.conv(doubled, 4, 3, 1)])
    build.conv(again, 4, 1, 1)
    problem = Problem(build.graph(), "cgra512", 2, max_depth=3)
    assert fused_choices(problem)
    assert_episodes_agree(problem, 12)


def test_problem__never_gets_stuck_where_a_tensor_is_read_and_concatenated() -> None:
    build = GraphBuilder(4, 9)
    last = "in"
    for _ in range(2):
        made = build.conv(last, 4, 3, 1)
        last = build.same(OpKind.CONCAT, made, build.conv(made, 4, 3, 1))
    build.conv(last, 4, 1, 1)
    assert_episodes_agree(Problem(build.graph(), "cgra512", max_depth=4), 20)
