"""A task as the circuits see it: its operators, its numbers, where its rows lie in the buffer."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from fragenv.graph.operators import ACTIVATION_KINDS, POOL_KINDS, Operator, OpKind
from fragenv.rtl.errors import EmitError
from fragenv.rtl.memory_map import MemoryMap
from fragenv.rtl.weights import channel_constants, fixed_point, weight_stream
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import TaskRecord
from fragenv.schedule.tiling import Order

if TYPE_CHECKING:
    from fragenv.models.parameters import Quantisation

Limits = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a tensor in the buffer: per frame a ring of ``count`` rows."""

    base: int
    count: int
    row_bytes: int
    frame_step: int
    #: number in the ring of row 0 of frame 0, and of each further frame relative to the one before
    #: (0 where every frame has a ring of its own)
    first: int = 0
    frame_rows: int = 0
    #: rings of frames there are; frame f uses number f % frames
    frames: int = 1

    @property
    def ring_bytes(self) -> int:
        return self.count * self.row_bytes

    def frame_base(self, frame: int) -> int:
        return self.base + (frame % self.frames) * self.frame_step

    def offset(self, frame: int, row: int) -> int:
        """Offset in the frame's ring of a row, which may lie in the padding."""
        return (self.first + frame * self.frame_rows + row) % self.count * self.row_bytes

    def spans(self, frames: tuple[int, int], rows: tuple[int, int]) -> list[tuple[int, int]]:
        """Address ranges of rows [rows[0], rows[1]) of some frames."""
        result = []
        for frame in range(*frames):
            base, size = self.frame_base(frame), (rows[1] - rows[0]) * self.row_bytes
            if size >= self.ring_bytes:
                result.append((base, base + self.ring_bytes))
                continue
            start = self.offset(frame, rows[0])
            end = start + size
            result.append((base + start, base + min(end, self.ring_bytes)))
            if end > self.ring_bytes:
                result.append((base, base + end - self.ring_bytes))
        return [s for s in result if s[0] < s[1]]


class Task:
    """One task of a program.

    Raises:
        EmitError: the library has no circuit for one of the operators.
    """

    def __init__(
        self, problem: Problem, number: int, record: TaskRecord, numbers: Quantisation | None
    ) -> None:
        self.problem, self.number, self.record, self.numbers = problem, number, record, numbers
        self.choice, self.plan = record.choice, record.plan
        self.shape, self.tiling = self.choice.shape, self.plan.tiling
        self.fragment = problem.library[self.choice.fragment]
        self.operators = [problem.operators[n] for n in self.choice.operators]
        head = self.operators[0]
        for op in self.operators:
            _check(op)
        self.array = head if head.is_mac else None
        self.pool = next((op for op in self.operators if op.kind in POOL_KINDS), None)
        if self.array is None and self.pool is None:
            raise EmitError("an activation on its own has no circuit yet", head.name, head.kind)
        if len(self.choice.sources) != 1:
            raise EmitError("concatenated inputs have no circuit yet", head.name, head.kind)
        self.source = problem.tensors[self.choice.sources[0]]
        self.output = problem.tensors[self.choice.output]
        self.weight_shape = (0, 0, 0, 0)
        if self.array is not None:
            nest = self.array.nest
            self.weight_shape = (nest.k, nest.c, nest.r, nest.s)

    @property
    def name(self) -> str:
        return f"task{self.number}"

    # ---- numbers ----
    def stream(self) -> bytes:
        """The weight stream; zeros where the schedule is emitted without weights."""
        assert self.array is not None
        op, shape, fragment = self.array, self.weight_shape, self.fragment
        if self.numbers is None:
            k, c, r, s = shape
            return bytes(k * (c * r * s + 8))
        mac = self.numbers.macs[op.name]
        weight = mac.weight
        features = self.problem.graph.tensors[op.inputs[0]].shape
        if op.kind is OpKind.GEMM and len(features) == 3:
            # the chip stores rows, columns, channels; the file counts channels first
            channels, rows, cols = features
            weight = weight.reshape(-1, channels, rows, cols).transpose(0, 2, 3, 1)
        weight = np.ascontiguousarray(weight).reshape(shape)
        x = self.numbers.tensors[op.inputs[0]]
        y = self.numbers.tensors[self._stage_output(op)]
        factors = x.scale * mac.scale / y.scale
        constants = channel_constants(weight, mac.bias, x.zero_point, factors, op.name)
        return weight_stream(weight, constants, fragment.lanes_in, fragment.lanes_out)

    def _activations(self, stage: Operator) -> list[Operator]:
        """The activations right after a stage."""
        result = []
        for op in self.operators[self.operators.index(stage) + 1 :]:
            if op.kind not in ACTIVATION_KINDS:
                break
            result.append(op)
        return result

    def _stage_output(self, stage: Operator) -> str:
        after = self._activations(stage)
        return after[-1].output if after else stage.output

    def limits(self, stage: Operator) -> tuple[int, int, int]:
        """(zero point, least, largest) of what a stage writes, its activations applied.

        Raises:
            EmitError: an activation changes the scale.
        """
        if self.numbers is None:
            return 0, -128, 127
        scale = self.numbers.tensors[self._stage_output(stage)]
        low, high = -128, 127
        for op in self._activations(stage):
            if self.numbers.tensors[op.inputs[0]] != scale:
                raise EmitError(
                    "its input has another scale; quantise both alike", op.name, op.kind
                )
            if op.kind is OpKind.RELU:
                low = max(low, scale.zero_point)
                continue
            for name, lower in (("min", True), ("max", False)):
                value = op.attribute(name, float("-inf") if lower else float("inf"))
                if isfinite(value):
                    bound = min(127, max(-128, round(value / scale.scale) + scale.zero_point))
                    low, high = (max(low, bound), high) if lower else (low, min(high, bound))
        return scale.zero_point, low, high

    def pad_value(self, stage: Operator) -> int:
        """What padding reads as: the zero point, or for a maximum the least number."""
        if stage.kind is OpKind.MAXPOOL:
            return -128
        return self.numbers.tensors[stage.inputs[0]].zero_point if self.numbers else 0

    def pool_constants(self) -> tuple[int, int, int]:
        """(bias, multiplier, shift) of the pool's requantiser."""
        assert self.pool is not None
        op = self.pool
        count = 1 if op.kind is OpKind.MAXPOOL else op.nest.r * op.nest.s
        if self.numbers is None:
            return (0, *fixed_point(1 / count))
        x, y = self.numbers.tensors[op.inputs[0]], self.numbers.tensors[self._stage_output(op)]
        return (-count * x.zero_point, *fixed_point(x.scale / (y.scale * count)))

    # ---- places ----
    def input_rows(self, memory: MemoryMap, epoch: int) -> Rows:
        """Where the input lies; ``epoch`` counts how often all frames were loaded before."""
        source = self.shape.sources[0]
        batch = self.problem.batch
        if self.record.on_chip & 1:
            base = memory.buffer[f"tensor.{self.source}"]
            step = source.rows * source.row_bytes
            return Rows(base, source.rows, source.row_bytes, step, frames=batch)
        base = memory.buffer[f"{self.name}.input"]
        needed = self.shape.window.needed(self.shape.window.rows_out)
        held = self.tiling.input_buffer_bytes // source.row_bytes
        if self.tiling.cached or self.tiling.chunk_rows >= self.shape.out_rows:
            return Rows(
                base, needed, source.row_bytes, needed * source.row_bytes, frames=held // needed
            )
        first = epoch * batch * needed
        return Rows(base, held, source.row_bytes, 0, first=first, frame_rows=needed)

    def array_rows(self, memory: MemoryMap, channels: int) -> Rows:
        """The row buffer between array and pool."""
        count = self.shape.pool.live_rows(self.tiling.chunk_rows)
        row = self.shape.array_cols * channels
        return Rows(
            memory.buffer[f"{self.name}.rows"],
            count,
            row,
            count * row,
            frames=self.tiling.chunk_frames,
        )

    def output_rows(self, memory: MemoryMap, step: int) -> tuple[Rows, int]:
        """Where a step's output rows go, as rows counted from the chunk's first one (or from row 0
        of the tensor where it is kept), and the channels of a pixel there."""
        chunk, shape = self.plan.steps[step].chunk, self.shape
        if self.plan.setting.keep_output:
            base = memory.buffer[f"tensor.{self.output}"]
            return Rows(
                base,
                shape.out_rows,
                shape.out_row_bytes,
                shape.out_bytes,
                frames=self.problem.batch,
            ), shape.k
        channels, most = self.pass_channels(step), self.pass_channels(0)
        first = self.plan.steps[0].chunk
        cols = chunk.cols[1] - chunk.cols[0]
        rows = chunk.out_rows[1] - chunk.out_rows[0]
        largest = (first.frames[1] - first.frames[0]) * (first.cols[1] - first.cols[0]) * most
        largest *= first.out_rows[1] - first.out_rows[0]
        slot = sum(s.store is not None for s in self.plan.steps[:step]) % self.tiling.output_buffers
        base = memory.buffer[f"{self.name}.output"] + slot * largest
        row = cols * channels
        # frames of a chunk follow each other; the first of them is number 0
        return Rows(base, rows, row, rows * row, frames=chunk.frames[1] - chunk.frames[0]), channels

    def pass_channels(self, step: int) -> int:
        """Channels of the buffers behind the array during a step."""
        if self.tiling.order is not Order.STATIONARY:
            return self.shape.k
        first, last = self.channel_range(step)
        return last - first

    def channel_range(self, step: int) -> tuple[int, int]:
        """Output channels of the groups that a step's weight blocks belong to."""
        if self.array is None:
            return 0, self.shape.k
        per_group = self.shape.blocks_per_group(self.fragment)
        first, last = self.plan.steps[step].blocks
        lanes, k = self.fragment.lanes_out, self.shape.k
        return first // per_group * lanes, min(k, -(-last // per_group) * lanes)

    def epoch(self, step: int) -> int:
        """How often all frames' inputs were loaded before the pass of a step."""
        if (
            self.tiling.order is not Order.STATIONARY
            or self.tiling.cached
            or not self.tiling.tile_blocks
        ):
            return 0
        return self.plan.steps[step].blocks[0] // self.tiling.tile_blocks


def _check(op: Operator) -> None:
    """Refuse what the library has no stage for."""
    known = op.is_mac or op.kind in POOL_KINDS or op.kind in ACTIVATION_KINDS
    if not known:
        raise EmitError("there is no circuit for it yet; choose another network", op.name, op.kind)
    if op.is_mac and op.nest.groups > 1:
        kind = "depthwise" if op.is_depthwise else "grouped"
        raise EmitError(f"{kind} convolution has no circuit yet", op.name, op.kind)
    padded = any(op.nest.padding) and op.kind is OpKind.AVGPOOL
    if padded and not op.attribute("count_include_pad"):
        raise EmitError(
            "a mean that leaves padding out has no circuit yet; set count_include_pad=1",
            op.name,
            op.kind,
        )
