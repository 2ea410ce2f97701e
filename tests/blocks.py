"""Blocks of well-known networks as small graphs, and random ones."""

from __future__ import annotations

import random
from collections.abc import Sequence

from strategies import GraphBuilder

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import OpKind


def inverted_residual(stride: int = 1, size: int = 9) -> DataflowGraph:
    """Expand, depthwise, project; the input is added where the stride is 1 (MobileNet v2)."""
    build = GraphBuilder(8, size)
    wide = build.same(OpKind.RELU, build.conv("in", 24, 1, 1))
    deep = build.same(OpKind.RELU, build.conv(wide, 24, 3, stride, depthwise=True))
    narrow = build.conv(deep, 8, 1, 1)
    if stride == 1:
        build.same(OpKind.ADD, narrow, "in")
    return build.graph()


def basic_block(downsample: bool, size: int = 9) -> DataflowGraph:
    """Two convolutions and a shortcut, which is the input or a convolution of it (ResNet)."""
    build = GraphBuilder(8, size)
    stride = 2 if downsample else 1
    first = build.same(OpKind.RELU, build.conv("in", 8, 3, stride))
    second = build.conv(first, 8, 3, 1)
    shortcut = build.conv("in", 8, 1, stride) if downsample else "in"
    build.same(OpKind.RELU, build.same(OpKind.ADD, second, shortcut))
    return build.graph()


def bottleneck(downsample: bool, size: int = 9) -> DataflowGraph:
    """1 x 1, 3 x 3, 1 x 1 and a shortcut (ResNet-50)."""
    build = GraphBuilder(16, size)
    stride = 2 if downsample else 1
    first = build.same(OpKind.RELU, build.conv("in", 4, 1, 1))
    second = build.same(OpKind.RELU, build.conv(first, 4, 3, stride))
    third = build.conv(second, 16, 1, 1)
    shortcut = build.conv("in", 16, 1, stride) if downsample else "in"
    build.same(OpKind.RELU, build.same(OpKind.ADD, third, shortcut))
    return build.graph()


def fire(size: int = 9) -> DataflowGraph:
    """A squeeze, read by two expansions that are concatenated (SqueezeNet)."""
    build = GraphBuilder(8, size)
    squeezed = build.same(OpKind.RELU, build.conv("in", 4, 1, 1))
    parts = [build.same(OpKind.RELU, build.conv(squeezed, 8, kernel, 1)) for kernel in (1, 3)]
    build.same(OpKind.CONCAT, *parts)
    return build.graph()


def conv_conv_pool(size: int = 9) -> DataflowGraph:
    """Two convolutions, the second one pooled (VGG)."""
    build = GraphBuilder(3, size)
    first = build.same(OpKind.RELU, build.conv("in", 8, 3, 1))
    second = build.same(OpKind.RELU, build.conv(first, 8, 3, 1))
    build.pool(second, 2, 2)
    return build.graph()


def chain(convolutions: int) -> DataflowGraph:
    """Convolutions one after the other."""
    build, last = GraphBuilder(4, 8), "in"
    for _ in range(convolutions):
        last = build.conv(last, 4, 3, 1)
    return build.graph()


def random_block(rng: random.Random, dilations: Sequence[int] = (1, 1, 2)) -> DataflowGraph:
    """A few convolutions with windows of any kind, pools, and one place where two tensors meet."""
    build = GraphBuilder(rng.choice([2, 3]), rng.randint(6, 13))
    first = _random_layer(build, rng, "in", dilations)
    form = rng.choice(["chain", "residual", "branches", "concatenation"])
    if form == "residual":
        build.same(OpKind.ADD, build.conv(first, build.tensors[first].shape[0], 3, 1), first)
        return build.graph()
    if form in ("branches", "concatenation"):
        kernels = [rng.choice([1, 3, 5]) for _ in range(2)]
        stride = rng.choice([1, 1, 2, 3])
        two = [_branch(build, rng, first, kernel, stride) for kernel in kernels]
        kind = OpKind.ADD if form == "branches" else OpKind.CONCAT
        joined = build.same(kind, *two)
        if rng.random() < 0.4:
            _random_layer(build, rng, joined, dilations)
        return build.graph()
    last = first
    for _ in range(rng.randint(1, 3)):
        last = _random_layer(build, rng, last, dilations)
    return build.graph()


def _branch(build: GraphBuilder, rng: random.Random, source: str, kernel: int, stride: int) -> str:
    if rng.random() < 0.3 and kernel > 1:
        return build.pool(source, kernel, stride, kernel // 2)
    made = build.conv(source, build.tensors[source].shape[0], kernel, stride)
    return build.same(OpKind.RELU, made) if rng.random() < 0.5 else made


def _random_layer(
    build: GraphBuilder, rng: random.Random, source: str, dilations: Sequence[int]
) -> str:
    _, rows, _ = build.tensors[source].shape
    kernel = rng.choice([1, 1, 2, 3, 3, 5])
    dilation = rng.choice(dilations)
    extent = (kernel - 1) * dilation + 1
    pad = rng.randint(0, extent - 1)
    if rows + 2 * pad < extent:
        kernel, dilation, pad = 1, 1, 0
    made = build.conv(source, 3, kernel, rng.choice([1, 1, 2, 3]), False, pad, dilation)
    _, rows, _ = build.tensors[made].shape
    if rng.random() < 0.3 and rows >= 3:
        return build.pool(made, rng.choice([2, 3]), rng.choice([1, 2, 3]), rng.choice([0, 1]))
    return made
