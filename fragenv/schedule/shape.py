"""The shape of a task: what an occurrence reads, computes and writes, for any fragment.

A task is a chain: an optional array operator (convolution, fully connected, depthwise), then an
addition and a pool in the order of the graph, activations anywhere. Its rows stream through it:
input rows -> array rows -> output rows, each stage keeping the rows its next window still needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import ACTIVATION_KINDS, POOL_KINDS, Operator, OpKind
from fragenv.hardware.array_timing import array_cycles
from fragenv.hardware.fragment import Fragment, Stage, stages_of
from fragenv.hardware.timing import (
    CONSTANT_BYTES,
    FETCH_OVERHEAD_CYCLES,
    LRN_OVERHEAD_CYCLES,
    POOL_OVERHEAD_CYCLES,
    RESIDUAL_OVERHEAD_CYCLES,
    ceil_div,
    pixel_tiles,
    vector_cycles,
)


@dataclass(frozen=True, slots=True)
class Window:
    """A window sliding down ``rows_in`` rows to make ``rows_out``: kernel extent (dilated),
    stride, padding above."""

    rows_in: int
    rows_out: int
    extent: int = 1
    stride: int = 1
    padding: int = 0

    def needed(self, rows_out: int) -> int:
        """Input rows [0, n) that the output rows [0, rows_out) need; n never exceeds rows_in."""
        if rows_out == 0:
            return 0
        return max(0, min(self.rows_in, (rows_out - 1) * self.stride - self.padding + self.extent))

    def touched(self, first: int, last: int) -> int:
        """How many of the input rows [first, last) any window reads: all, unless the stride skips
        some."""
        if self.stride <= self.extent:
            return last - first

        def below(row: int) -> int:
            full, rest = divmod(row + self.padding, self.stride)
            return full * self.extent + min(rest, self.extent)

        return below(last) - below(first)

    def live_rows(self, rows_out: int) -> int:
        """Input rows that must be there at once for ``rows_out`` output rows."""
        return min(self.rows_in, (rows_out - 1) * self.stride + self.extent)


@dataclass(frozen=True, slots=True)
class Source:
    """A tensor that a task reads: rows x row_bytes per frame."""

    tensor: str
    rows: int
    row_bytes: int


@lru_cache(maxsize=4096)
def input_groups(part_channels: tuple[int, ...], lanes_in: int) -> tuple[int, ...]:
    """Input channels of each group of at most ``lanes_in``; a group never spans two parts."""
    return tuple(
        min(lanes_in, channels - first)
        for channels in part_channels
        for first in range(0, channels, lanes_in)
    )


@dataclass(frozen=True, slots=True)
class TaskShape:
    """Everything that timing and traffic of a task depend on, without names of operators.

    ``k`` output channels, ``c`` input channels, ``groups`` and the r x s kernel are those of the
    array operator (k = c = channels and r = s = 1 where there is none). ``part_channels``: those of
    each source; together they are ``c``.
    """

    array: Stage | None
    k: int
    c: int
    groups: int
    kernel: int
    array_cols: int
    window: Window
    pool: Window
    #: window elements of the pool per output element, 0 without a pool
    pool_window: int
    #: vector passes over the array rows that are not hidden behind the array (see ``run_cycles``)
    vector_passes: int
    out_cols: int
    stages: frozenset[Stage]
    part_channels: tuple[int, ...]
    sources: tuple[Source, ...]
    residuals: tuple[Source, ...]
    #: whether residual rows are counted in array rows (added before the pool) or output rows
    residual_before_pool: bool

    @property
    def out_rows(self) -> int:
        return self.pool.rows_out

    @property
    def only_pool(self) -> bool:
        """Whether a pool reads the sources itself."""
        return self.array is None and not self.vector_passes

    @property
    def array_rows(self) -> int:
        """Rows of the first stage that the output needs; a pool may leave some out."""
        return self.pool.needed(self.pool.rows_out)

    def row_buffer_pixels(self, rows: int) -> int:
        """Pixels that lie between the first stage and the pool, ``rows`` output rows at a time."""
        if not self.pool_window or self.only_pool:
            return 0
        return self.pool.live_rows(rows) * self.array_cols

    @property
    def out_row_bytes(self) -> int:
        return self.out_cols * self.k

    @property
    def out_bytes(self) -> int:
        """Bytes of one frame of the output."""
        return self.out_rows * self.out_row_bytes

    def without_names(self) -> TaskShape:
        """The same shape; its tensors have no names."""
        return replace(
            self,
            sources=tuple(replace(s, tensor="") for s in self.sources),
            residuals=tuple(replace(s, tensor="") for s in self.residuals),
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one frame."""
        if self.array is None:
            return 0
        return (
            self.k * (self.c // self.groups) * self.kernel * self.window.rows_out * self.array_cols
        )

    @property
    def weight_bytes(self) -> int:
        return self.k * self.channel_bytes if self.array else 0

    @property
    def channel_bytes(self) -> int:
        """Weights and constants of one output channel."""
        depth = 1 if self.array is Stage.DEPTHWISE else self.c // self.groups
        return depth * self.kernel + CONSTANT_BYTES

    def input_groups(self, fragment: Fragment) -> tuple[int, ...]:
        """Input channels of each group that a weight block reads, of one convolution group."""
        parts = self.part_channels if self.groups == 1 else (self.c // self.groups,)
        return input_groups(parts, fragment.lanes_in)

    def blocks_per_group(self, fragment: Fragment) -> int:
        """Weight blocks that one group of ``lanes_out`` output channels takes."""
        if self.array is Stage.MAC:
            return len(self.input_groups(fragment)) * self.kernel
        return self.kernel if self.array else 0

    def output_groups(self, fragment: Fragment) -> int:
        """Groups of at most ``lanes_out`` output channels; never across convolution groups."""
        if self.array is Stage.MAC:
            return self.groups * ceil_div(self.k // self.groups, fragment.lanes_out)
        return ceil_div(self.k, fragment.lanes_out)

    def weight_prefix(self, blocks: int, fragment: Fragment) -> int:
        """Bytes of the first ``blocks`` weight blocks.

        Blocks are stored one after the other in the order [output group][input group][r][s]; each
        holds only its valid rows and columns, so that nothing is padded. The constants of a group's
        channels precede its first block and belong to it.
        """
        if self.array is None:
            return 0
        group, rest = divmod(blocks, self.blocks_per_group(fragment))
        if self.array is Stage.DEPTHWISE:
            channels = min(group * fragment.lanes_out, self.k)
            partial = min(fragment.lanes_out, self.k - channels) * (rest + CONSTANT_BYTES)
            return channels * self.channel_bytes + (partial if rest else 0)
        per_conv_group = ceil_div(self.k // self.groups, fragment.lanes_out)
        outer, inner = divmod(group, per_conv_group)
        done = inner * fragment.lanes_out
        channels = outer * (self.k // self.groups) + min(done, self.k // self.groups)
        prefix = channels * self.channel_bytes
        if rest:
            columns = min(fragment.lanes_out, self.k // self.groups - done)
            lanes, position = divmod(rest, self.kernel)
            sizes = self.input_groups(fragment)
            rows = sum(sizes[:lanes]) * self.kernel + sizes[lanes] * position
            prefix += columns * (rows + CONSTANT_BYTES)
        return prefix

    def run_cycles(
        self,
        fragment: Fragment,
        blocks: tuple[int, int],
        array_rows: int,
        out_rows: int,
        channels: int,
        cols: int | None = None,
    ) -> int:
        """Cycles of one RUN: weight blocks [blocks[0], blocks[1]) over ``array_rows`` rows (of
        ``cols`` columns, all by default), then the pool of ``out_rows`` rows of ``channels``
        channels.

        The vector stage keeps up with the array, whose accumulators drain while the next block
        fills them; without an array it takes a cycle per pixel, window element and lane group, part
        by part. The pool follows the last row before it.
        """
        lanes = fragment.lanes_out
        parts = self.part_channels if self.array is None else (channels,)
        groups_of_parts = sum(ceil_div(c, lanes) for c in parts)
        added = RESIDUAL_OVERHEAD_CYCLES if self.residuals else 0
        fetched = added + FETCH_OVERHEAD_CYCLES if self.residuals else 0
        pool_only = self.only_pool
        cycles = 0
        if self.array is not None and array_rows:
            lanes_in = fragment.lanes_in if self.array is Stage.MAC else 1
            width = self.array_cols if cols is None or self.pool_window else cols
            per_group = self.blocks_per_group(fragment)
            tiles = pixel_tiles(array_rows * width)
            cycles += array_cycles(*blocks, per_group, tiles, fragment.lanes_in, lanes_in)
            cycles += added if self.residual_before_pool and not blocks[1] % per_group else 0
        elif self.vector_passes and array_rows:
            normalises = LRN_OVERHEAD_CYCLES if Stage.LRN in self.stages else 0
            once = POOL_OVERHEAD_CYCLES + normalises
            once += fetched if self.residual_before_pool else 0
            elements = array_rows * self.array_cols * groups_of_parts
            cycles += len(parts) * once + vector_cycles(elements, self.vector_passes)
        if self.pool_window and out_rows:
            groups = groups_of_parts if pool_only else ceil_div(channels, lanes)
            once = POOL_OVERHEAD_CYCLES + (0 if self.residual_before_pool else fetched)
            cycles += (len(parts) if pool_only else 1) * once
            cycles += vector_cycles(out_rows * self.out_cols * groups, self.pool_window)
        return cycles


def _extent(op: Operator) -> int:
    return (op.nest.r - 1) * op.nest.dilation[0] + 1


def _window(op: Operator) -> Window:
    nest = op.nest
    return Window(nest.h, nest.p, _extent(op), nest.stride[0], nest.padding[0])


def _source(graph: DataflowGraph, tensor: str, rows: int) -> Source:
    return Source(tensor, rows, graph.tensors[tensor].bytes // rows)


def task_shape(
    graph: DataflowGraph, operators: tuple[str, ...], parts: Mapping[str, tuple[str, ...]]
) -> TaskShape | None:
    """The shape of the chain ``operators``; None where it is no chain that a fragment runs.

    ``parts`` maps a concatenated tensor to the tensors it consists of, along channels.
    """
    ops = [graph.op(name) for name in operators]
    head = ops[0]
    array: Stage | None = next(
        (s for s in (Stage.MAC, Stage.DEPTHWISE) if s in stages_of(head)), None
    )
    previous = head.output
    pool_op: Operator | None = head if head.kind in POOL_KINDS else None
    add_op: Operator | None = head if head.kind is OpKind.ADD else None
    residual_names = list(head.inputs[1:])
    residual_before_pool = True
    for op in ops[1:]:
        others = [t for t in op.inputs if t != previous]
        if len(others) != len(op.inputs) - 1 or stages_of(op) & {Stage.MAC, Stage.DEPTHWISE}:
            return None
        if op.kind in POOL_KINDS:
            if pool_op is not None:
                return None
            pool_op = op
        elif op.kind is OpKind.ADD:
            if add_op is not None:
                return None
            add_op, residual_names, residual_before_pool = op, others, pool_op is None
        elif op.kind not in ACTIVATION_KINDS:
            return None
        previous = op.output
    if OpKind.CONCAT in {op.kind for op in ops}:
        return None
    nest = head.nest
    if array is not None:
        window, array_cols, k, c = _window(head), nest.q, nest.k, nest.c
    else:
        window, array_cols, k, c = Window(nest.h, nest.h), nest.w, nest.k, nest.k
    pool = _window(pool_op) if pool_op is not None else Window(window.rows_out, window.rows_out)
    out_cols = pool_op.nest.q if pool_op is not None else array_cols
    residual_rows = window.rows_out if residual_before_pool else pool.rows_out
    sources = tuple(
        _source(graph, part, window.rows_in)
        for part in parts.get(head.inputs[0], (head.inputs[0],))
    )
    return TaskShape(
        array=array,
        k=k,
        c=c,
        groups=nest.groups if array is Stage.MAC else (k if array else 1),
        kernel=nest.r * nest.s if array is not None else 1,
        array_cols=array_cols,
        window=window,
        pool=pool,
        pool_window=pool_op.nest.r * pool_op.nest.s if pool_op is not None else 0,
        vector_passes=_vector_passes(head),
        out_cols=out_cols,
        stages=frozenset().union(*(stages_of(op) for op in ops)),
        part_channels=tuple(s.row_bytes // nest.w for s in sources),
        sources=sources,
        residuals=tuple(
            _source(graph, part, residual_rows)
            for name in residual_names
            for part in parts.get(name, (name,))
        ),
        residual_before_pool=residual_before_pool,
    )


def _vector_passes(head: Operator) -> int:
    """Cycles per pixel and lane group of a task without an array: LRN reads its whole window of
    channels, a pool reads its input only in its windows."""
    if head.kind is OpKind.LRN:
        return max(1, int(head.attribute("size", 1)))
    return 0 if head.kind in POOL_KINDS else 1
