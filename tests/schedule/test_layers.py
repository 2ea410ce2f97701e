"""Patterns as layers: blocks of known networks against what is drawn in their papers."""

from __future__ import annotations

import random

import pytest
from blocks import (
    basic_block,
    bottleneck,
    chain,
    conv_conv_pool,
    fire,
    inverted_residual,
    random_block,
)
from hypothesis import given, settings
from strategies import GraphBuilder, random_graph, seeds

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import OpKind
from fragenv.patterns.mine import mine
from fragenv.schedule.layers import MAX_LAYERS, FusedPattern, split
from fragenv.schedule.problem import concatenation_parts

#: a wire: number of the layer that makes it, or name of an input
Expected = list[tuple[str, list[int | str], bool]]


def whole(graph: DataflowGraph) -> FusedPattern | None:
    """All operators of a graph as one pattern."""
    return split(graph, [op.name for op in graph.operators], concatenation_parts(graph))


def described(graph: DataflowGraph, pattern: FusedPattern) -> Expected:
    """Per layer its operators' kinds, what it reads, and whether its output leaves."""
    result: Expected = []
    for layer, names in zip(pattern.shape.layers, pattern.operators, strict=True):
        kinds = ["depthwise" if graph.op(n).is_depthwise else graph.op(n).kind.value for n in names]
        reads = [w.index if w.inside else pattern.inputs[w.index] for w in layer.reads]
        result.append((" ".join(kinds), reads, layer.leaves))
    return result


BLOCKS: dict[str, tuple[DataflowGraph, Expected]] = {
    "inverted residual": (
        inverted_residual(),
        [
            ("conv relu", ["in"], False),
            ("depthwise relu", [0], False),
            ("conv add", [1, "in"], True),
        ],
    ),
    "inverted residual, stride 2": (
        inverted_residual(2),
        [("conv relu", ["in"], False), ("depthwise relu", [0], False), ("conv", [1], True)],
    ),
    "basic block": (
        basic_block(False),
        [("conv relu", ["in"], False), ("conv add relu", [0, "in"], True)],
    ),
    "basic block with downsampling": (
        basic_block(True),
        [
            ("conv relu", ["in"], False),
            ("conv", [0], False),
            ("conv add relu", ["in", 1], True),
        ],
    ),
    "bottleneck": (
        bottleneck(False),
        [
            ("conv relu", ["in"], False),
            ("conv relu", [0], False),
            ("conv add relu", [1, "in"], True),
        ],
    ),
    "bottleneck with downsampling": (
        bottleneck(True),
        [
            ("conv relu", ["in"], False),
            ("conv relu", [0], False),
            ("conv", [1], False),
            ("conv add relu", ["in", 2], True),
        ],
    ),
    "fire module": (
        fire(),
        [("conv relu", ["in"], False), ("conv relu", [0], True), ("conv relu", [0], True)],
    ),
    "conv conv pool": (
        conv_conv_pool(),
        [("conv relu", ["in"], False), ("conv relu maxpool", [0], True)],
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_split__finds_the_layers_of(name: str) -> None:
    graph, expected = BLOCKS[name]
    pattern = whole(graph)
    assert pattern is not None
    assert described(graph, pattern) == expected
    assert pattern.inputs == ("in",)
    assert pattern.tensors == tuple(graph.op(names[-1]).output for names in pattern.operators)


@pytest.mark.parametrize("name", BLOCKS)
def test_mine__offers_the_whole_block_at_its_depth(name: str) -> None:
    graph, _ = BLOCKS[name]
    depth = 3 if "bottleneck" in name or "inverted" in name else 2
    everything = {op.name for op in graph.operators}
    for allowed in range(1, 4):
        found = [set(o.operators) for m in mine(graph, allowed) for o in m.occurrences]
        assert (everything in found) == (allowed >= depth)


def test_split__an_inner_convolution_that_others_read_ends_its_layer() -> None:
    build = GraphBuilder(4, 10)
    first = build.conv("in", 4, 3, 1)
    pooled = build.pool(first, 3, 2, 1)
    build.same(OpKind.CONCAT, pooled, build.conv(first, 4, 3, 2))
    graph = build.graph()
    pattern = whole(graph)
    assert pattern is not None
    assert described(graph, pattern) == [
        ("conv", ["in"], False),
        ("maxpool", [0], True),
        ("conv", [0], True),
    ]


def _flattened() -> DataflowGraph:
    build = GraphBuilder(4, 6)
    build.gemm(build.conv("in", 4, 3, 1), 10)
    return build.graph()


def _unequal_outputs() -> DataflowGraph:
    build = GraphBuilder(4, 8)
    first = build.conv("in", 4, 1, 1)
    build.conv(first, 4, 3, 1)
    build.conv(first, 4, 3, 2)
    return build.graph()


def _dense() -> DataflowGraph:
    """What the second convolution reads is also part of the concatenation (DenseNet)."""
    build = GraphBuilder(4, 8)
    first = build.conv("in", 4, 3, 1)
    build.same(OpKind.CONCAT, first, build.conv(first, 4, 3, 1))
    return build.graph()


@pytest.mark.parametrize(
    "graph",
    [_flattened(), chain(1), chain(MAX_LAYERS + 1), _unequal_outputs(), _dense()],
    ids=["flattened", "one layer", "too many layers", "unequal outputs", "read and leaving"],
)
def test_split__refuses(graph: DataflowGraph) -> None:
    assert whole(graph) is None


def test_split__takes_as_many_layers_as_a_fragment_has_circuits() -> None:
    pattern = whole(chain(MAX_LAYERS))
    assert pattern is not None and len(pattern.operators) == MAX_LAYERS


def test_split__of_a_part_refuses_what_is_read_inside_and_outside() -> None:
    build = GraphBuilder(4, 8)
    first = build.conv("in", 4, 3, 1)
    build.same(OpKind.ADD, first, build.conv(first, 4, 3, 1))
    assert split(build.graph(), ["op0", "op1"], {}) is None
    assert split(build.graph(), ["op0", "op1", "op2"], {}) is not None


def test_split__reads_one_tensor_twice() -> None:
    build = GraphBuilder(4, 8)
    first = build.conv("in", 4, 3, 1)
    build.same(OpKind.ADD, first, first)
    graph = build.graph()
    pattern = whole(graph)
    assert pattern is not None
    assert described(graph, pattern) == [("conv", ["in"], False), ("add", [0, 0], True)]


def test_split__shapes_have_no_names() -> None:
    for graph in (inverted_residual(), fire()):
        pattern = whole(graph)
        assert pattern is not None
        assert {t.tensor for layer in pattern.shape.layers for t in layer.tensors} == {""}
        renamed = DataflowGraph("other", graph.operators, graph.tensors, ["in"], graph.outputs)
        again = whole(renamed)
        assert again is not None and again.shape == pattern.shape


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_split__of_what_is_mined_covers_it_once_in_order(seed: int) -> None:
    rng = random.Random(seed)
    graph = random_graph(rng, rng.randint(4, 9)) if rng.random() < 0.5 else random_block(rng)
    parts = concatenation_parts(graph)
    position = {op.name: i for i, op in enumerate(graph.operators)}
    for mined in mine(graph, 3):
        for occurrence in mined.occurrences:
            inside = [n for n in occurrence.operators if graph.op(n).kind is not OpKind.CONCAT]
            pattern = split(graph, inside, parts)
            if pattern is None:
                continue
            names = [n for layer in pattern.operators for n in layer]
            assert sorted(names) == sorted(inside)
            ends = [position[layer[-1]] for layer in pattern.operators]
            assert ends == sorted(ends)
            for number, layer in enumerate(pattern.shape.layers):
                assert all(w.index < number for w in layer.reads if w.inside)
                output = pattern.tensors[number]
                readers = set(graph.consumers[output])
                assert layer.leaves == (not readers or not readers <= set(names))
                assert layer.leaves or not readers - set(names)
