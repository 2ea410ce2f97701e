"""Tilings: how a task is cut so that it fits the buffer, and the exact search for the best one.

A task is a nest of two loops: over *chunks* (whole frames, or rows of one frame) and over *weight
tiles* (consecutive weight blocks). Three orders:

* ``RESIDENT``: all weights stay in the buffer; loaded once per job, in tiles, while the first chunk
  is computed; the other chunks use them all at once.
* ``STREAMED``: chunks outside; the weights are loaded again for every chunk.
* ``STATIONARY``: weight tiles outside; the inputs are loaded again for every tile, unless
  ``cached``, when all frames' inputs stay in the buffer from the first pass on.

Input rows live in a ring (line buffer): a chunk loads only the rows that the one before has not.
Formulas for the traffic of tiled loops: Zhang et al., FPGA 2015; line buffers as in FINN's sliding
window unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, TypeVar

from fragenv.hardware.fragment import Fragment
from fragenv.hardware.timing import ceil_div, dma_cycles
from fragenv.schedule.shape import TaskShape

#: what a cycle until the first frame counts, beside a cycle until the last
FIRST_FRAME_SHARE = 0.02


class Order(StrEnum):
    RESIDENT = "resident"
    STREAMED = "streamed"
    STATIONARY = "stationary"


@dataclass(frozen=True, slots=True)
class Port:
    """What a tiling needs to know of the chip's DRAM port: bytes per cycle, latency in cycles."""

    bytes_per_cycle: int
    latency_cycles: int

    def cycles(self, run_bytes: int, runs: int = 1) -> int:
        return dma_cycles(run_bytes, runs, self.bytes_per_cycle, self.latency_cycles)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One iteration of the chunk loop. Ranges are half open; rows are per frame."""

    frames: tuple[int, int]
    out_rows: tuple[int, int]
    array_rows: tuple[int, int]
    in_rows: tuple[int, int]
    residual_rows: tuple[int, int]
    #: output columns, all but in a tiling with ``col_parts`` > 1
    cols: tuple[int, int]

    def extents(self) -> tuple[int, ...]:
        """All that cycles and bytes of a chunk depend on."""
        (f0, f1), (o0, o1), (a0, a1) = self.frames, self.out_rows, self.array_rows
        (i0, i1), (r0, r1), (c0, c1) = self.in_rows, self.residual_rows, self.cols
        return f1 - f0, o1 - o0, a1 - a0, i1 - i0, r1 - r0, c1 - c0

    def without_output(self) -> Chunk:
        """The same array rows, with no output row finished."""
        return replace(self, out_rows=(self.out_rows[0], self.out_rows[0]))


@dataclass(frozen=True, slots=True)
class Tiling:
    """A choice of tile sizes, order and buffers. Sizes in bytes of the chip's buffer."""

    order: Order
    #: frames per chunk, or 1 with ``chunk_rows`` output rows of one frame
    chunk_frames: int
    chunk_rows: int
    col_parts: int
    tile_blocks: int
    cached: bool
    input_buffers: int
    output_buffers: int
    weight_buffer_bytes: int
    input_buffer_bytes: int
    row_buffer_bytes: int
    output_buffer_bytes: int
    #: closed-form estimates by which tilings are compared: cycles of the task alone, DRAM bytes
    latency_cycles: int
    dram_bytes: int
    #: estimate of when the first frame is done and another fragment may start on it
    first_frame_cycles: int
    #: RUNs of the task
    steps: int
    #: one chunk, whose weight tiles take no less time to load than to use
    streams: bool
    #: weight tiles that the buffer holds at once (all of them where they are resident)
    weight_buffers: int = 2

    def deepened(self, weight_buffers: int) -> Tiling:
        """The same tiling with room for other than two weight tiles: more may be loaded before
        the task can start, while the DRAM port is idle."""
        size = self.weight_buffer_bytes // self.weight_buffers * weight_buffers
        return replace(self, weight_buffers=weight_buffers, weight_buffer_bytes=size)

    @property
    def sram_bytes(self) -> int:
        """The task's working set, beside tensors that are kept on chip."""
        return (
            self.weight_buffer_bytes
            + self.input_buffer_bytes
            + self.row_buffer_bytes
            + self.output_buffer_bytes
        )

    def cost_cycles(self, port: Port) -> float:
        """What the search minimises: latency, the time that the bytes take of the DRAM port which
        all tasks share, and a share of the time for which the next task waits for a frame."""
        traffic = self.dram_bytes / port.bytes_per_cycle
        return self.latency_cycles + traffic + FIRST_FRAME_SHARE * self.first_frame_cycles


class Cut(Protocol):
    """What a tiling of any kind is chosen by."""

    @property
    def sram_bytes(self) -> int:
        """The task's working set."""

    def cost_cycles(self, port: Port) -> float:
        """What the search minimises."""


AnyCut = TypeVar("AnyCut", bound=Cut)


def ladder_of(tilings: Iterable[AnyCut], port: Port) -> tuple[AnyCut, ...]:
    """The tilings worth choosing, by rising working set and falling cost."""
    found = [(t.sram_bytes, t.cost_cycles(port), t) for t in tilings]
    found.sort(key=lambda item: item[:2])
    ladder: list[AnyCut] = []
    least = float("inf")
    for _, cost, tiling in found:
        if cost < least:
            ladder.append(tiling)
            least = cost
    return tuple(ladder)


@dataclass(frozen=True, slots=True)
class TaskSetting:
    """A task as the search sees it: which of its tensors are on the chip already or stay there."""

    shape: TaskShape
    fragment: Fragment
    batch: int
    #: bit i: source i (then the residuals) is on the chip
    on_chip: int
    keep_output: bool

    @property
    def loaded_sources(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.shape.sources)) if not self.on_chip >> i & 1)

    @property
    def loaded_residuals(self) -> tuple[int, ...]:
        first = len(self.shape.sources)
        return tuple(
            i for i in range(len(self.shape.residuals)) if not self.on_chip >> (first + i) & 1
        )

    @property
    def source_row_bytes(self) -> int:
        return sum(self.shape.sources[i].row_bytes for i in self.loaded_sources)

    @property
    def residual_row_bytes(self) -> int:
        return sum(self.shape.residuals[i].row_bytes for i in self.loaded_residuals)

    @property
    def blocks(self) -> int:
        """Weight blocks of the task; 0 without an array."""
        return self.shape.blocks_per_group(self.fragment) * self.shape.output_groups(self.fragment)

    def channels(self, blocks: tuple[int, int]) -> int:
        """Output channels of the output groups in a range of weight blocks; all without an
        array."""
        shape = self.shape
        if shape.array is None:
            return shape.k
        first = shape.weight_prefix(blocks[0], self.fragment)
        size = shape.weight_prefix(blocks[1], self.fragment) - first
        return ceil_div(size, shape.channel_bytes)


def input_rows(
    setting: TaskSetting, frames: int, rows: int, inputs: int, cached: bool
) -> tuple[int, int]:
    """Rows that the input buffer holds: of every loaded source, of every loaded residual.

    Args:
        frames, rows: of a chunk, as in ``Tiling``.
        inputs: input buffers.
        cached: whether all frames stay.
    """
    shape = setting.shape
    needed = shape.window.needed(shape.window.rows_out)
    residual_rows = shape.window.rows_out if shape.residual_before_pool else shape.out_rows
    if cached:
        return setting.batch * needed, setting.batch * residual_rows
    if rows >= shape.out_rows:
        copies = min(inputs, ceil_div(setting.batch, frames)) * frames
        return copies * needed, copies * residual_rows
    first_array = shape.pool.needed(rows)
    step = rows * shape.pool.stride
    ring = shape.window.live_rows(shape.pool.live_rows(rows))
    residual = max(step, first_array) if shape.residual_before_pool else rows
    if inputs == 2:
        # the next frame's first chunk is the largest
        more = max(step * shape.window.stride, shape.window.needed(first_array))
        ring = min(2 * shape.window.rows_in, ring + more)
        residual *= 2
    return ring, residual


def chunks_of(
    shape: TaskShape, batch: int, chunk_frames: int, chunk_rows: int, col_parts: int
) -> list[Chunk]:
    """The chunk loop, in order. Whole frames where ``chunk_rows`` covers the output."""
    whole = chunk_rows >= shape.out_rows
    result = []
    frame_step = chunk_frames if whole else 1
    cols = shape.out_cols
    width = ceil_div(cols, col_parts)
    for frame in range(0, batch, frame_step):
        frames = (frame, min(batch, frame + frame_step))
        array_done = in_done = residual_done = 0
        for row in range(0, shape.out_rows, chunk_rows):
            last = min(shape.out_rows, row + chunk_rows)
            array = max(array_done, shape.pool.needed(last))
            needed = max(in_done, shape.window.needed(array))
            residual = array if shape.residual_before_pool else last
            for part in range(0, cols, width):
                result.append(
                    Chunk(
                        frames,
                        (row, last),
                        (array_done, array),
                        (in_done, needed),
                        (residual_done, residual),
                        (part, min(cols, part + width)),
                    )
                )
                in_done = needed
                residual_done = residual
            array_done = array
    return result


def chunk_transfers(setting: TaskSetting, chunk: Chunk) -> list[tuple[int, int, int]]:
    """The LOADs of a chunk's inputs: (index of the source, then of the residuals; bytes of a
    contiguous piece; pieces)."""
    shape = setting.shape
    frames = chunk.frames[1] - chunk.frames[0]
    result = []
    for index, (sources, loaded, rows) in enumerate(
        (
            (shape.sources, setting.loaded_sources, chunk.in_rows),
            (shape.residuals, setting.loaded_residuals, chunk.residual_rows),
        )
    ):
        touched = shape.window.touched(*rows) if index == 0 else rows[1] - rows[0]
        if touched == 0:
            continue
        for i in loaded:
            source = sources[i]
            if touched == rows[1] - rows[0]:
                whole = touched == source.rows
                size, runs = touched * source.row_bytes, frames
                if whole:
                    size, runs = size * frames, 1
            else:
                size, runs = source.row_bytes, touched * frames
            result.append((i if index == 0 else len(shape.sources) + i, size, runs))
    return result


def store_transfer(setting: TaskSetting, chunk: Chunk, channels: int) -> tuple[int, int]:
    """The STORE of a chunk's outputs of ``channels`` channels: (bytes of a piece, pieces);
    (0, 0) where the output stays on the chip or no output row is finished."""
    shape = setting.shape
    frames = chunk.frames[1] - chunk.frames[0]
    rows = chunk.out_rows[1] - chunk.out_rows[0]
    cols = chunk.cols[1] - chunk.cols[0]
    if setting.keep_output or rows == 0:
        return 0, 0
    if channels < shape.k:
        return channels, frames * rows * cols
    if rows == shape.out_rows and cols == shape.out_cols:
        return frames * shape.out_bytes, 1
    return rows * cols * channels, frames


def chunk_run_cycles(
    setting: TaskSetting, chunk: Chunk, blocks: tuple[int, int], channels: int
) -> int:
    """Cycles of the RUN of a chunk over a range of weight blocks making ``channels`` channels."""
    frames = chunk.frames[1] - chunk.frames[0]
    rows = (chunk.array_rows[1] - chunk.array_rows[0]) * frames
    out_rows = (chunk.out_rows[1] - chunk.out_rows[0]) * frames
    cols = chunk.cols[1] - chunk.cols[0]
    return setting.shape.run_cycles(
        setting.fragment, blocks, rows, out_rows, channels, cols if setting.shape.array else None
    )
