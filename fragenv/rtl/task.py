"""A task as the circuits see it: its operators, and where its rows lie in the buffer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fragenv.graph.operators import ACTIVATION_KINDS, POOL_KINDS, Operator, OpKind
from fragenv.hardware.fragment import Stage
from fragenv.rtl.errors import EmitError
from fragenv.rtl.isa import MAX_PARTS
from fragenv.rtl.memory_map import MemoryMap, ring_name
from fragenv.rtl.numbers import TaskNumbers
from fragenv.schedule.fused import Ring
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import ProgramTask
from fragenv.schedule.shape import Source
from fragenv.schedule.tiling import Order, input_rows

if TYPE_CHECKING:
    from fragenv.models.parameters import Quantisation


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
    """One task of a program: an optional first stage (``first``: array, or an addition, activation
    or normalisation on its own), an optional addition to it or to the pool, an optional pool.

    Raises:
        EmitError: the library has no circuit for one of the operators.
    """

    def __init__(
        self, problem: Problem, number: int, record: ProgramTask, numbers: Quantisation | None
    ) -> None:
        self.problem, self.number, self.record = problem, number, record
        self.choice, self.plan = record.choice, record.plan
        self.shape, self.tiling = self.choice.shape, self.plan.tiling
        self.fragment = self.plan.setting.fragment
        self.operators = [problem.operators[n] for n in self.choice.operators]
        head = self.operators[0]
        self.array = head if head.is_mac else None
        self.first = None if head.kind in POOL_KINDS else head
        self.pool = next((op for op in self.operators if op.kind in POOL_KINDS), None)
        self.add = next((op for op in self.operators if op.kind is OpKind.ADD), None)
        self.source_names = [problem.tensors[t] for t in self.choice.sources]
        self.output = problem.tensors[self.choice.output]
        self.numbers = TaskNumbers(problem, self.operators, self.shape, numbers)
        for op in self.operators:
            self._check(op)
            self.numbers.check_parts(op)

    def _check(self, op: Operator) -> None:
        """Refuse what the library has no stage for."""
        known = op.is_mac or op.kind in POOL_KINDS | ACTIVATION_KINDS | {OpKind.ADD, OpKind.LRN}
        if not known:
            raise EmitError("there is no circuit for it; choose another network", op.name, op.kind)
        parts = len(self.shape.sources)
        if op.is_mac and parts > 1 and (op.nest.groups > 1 or parts > MAX_PARTS):
            raise EmitError(
                f"a grouped convolution cannot read a concatenation, others one of {MAX_PARTS} "
                f"parts at most; it has {parts}",
                op.name,
                op.kind,
            )
        if op.kind is OpKind.LRN and parts > 1:
            raise EmitError("normalising a concatenation has no circuit", op.name, op.kind)
        if op.kind is OpKind.ADD and len(self.shape.residuals) > 1:
            raise EmitError("adding a concatenation has no circuit", op.name, op.kind)

    @property
    def name(self) -> str:
        return f"task{self.number}"

    def stream(self) -> bytes:
        """The weight stream of the array."""
        assert self.array is not None
        return self.numbers.stream(self.array, self.fragment)

    @property
    def window_before(self) -> int:
        """Channels that a normalisation reads before each one; 0 for other tasks."""
        if self.first is None or self.first.kind is not OpKind.LRN:
            return 0
        return (int(self.first.attribute("size", 5)) - 1) // 2

    def addition(self, stage: Operator) -> dict[str, int] | None:
        """The arithmetic of the addition to what ``stage`` makes; None where there is none."""
        if self.add is None:
            return None
        if stage is self.add:
            return self.numbers.addition(self.add, None)
        first = self.first if self.shape.residual_before_pool else self.pool
        return self.numbers.addition(self.add, stage) if stage is first else None

    # ---- places ----
    def input_rows(self, memory: MemoryMap, index: int, epoch: int) -> Rows:
        """Where source ``index`` lies, the residual counted after the sources; ``epoch`` counts how
        often all frames were loaded before."""
        shape, batch, setting = self.shape, self.problem.batch, self.plan.setting
        source = (*shape.sources, *shape.residuals)[index]
        if self.record.on_chip >> index & 1:
            base = memory.buffer[f"tensor.{self.source_names[index]}"]
            step = source.rows * source.row_bytes
            return Rows(base, source.rows, source.row_bytes, step, frames=batch)
        ring = self.record.ring_read(index)
        if ring is not None:
            return self._ring_rows(memory, ring, self.source_names[index])
        tiling = self.tiling
        held, held_residual = input_rows(
            setting, tiling.chunk_frames, tiling.chunk_rows, tiling.input_buffers, tiling.cached
        )
        base = memory.buffer[f"{self.name}.input"]
        needed = shape.window.needed(shape.window.rows_out)
        if index < len(shape.sources):
            before = [shape.sources[i] for i in setting.loaded_sources if i < index]
            base += held * sum(s.row_bytes for s in before)
        else:
            base += held * setting.source_row_bytes
            held, needed = held_residual, source.rows
        return self._ring(base, source, held, needed, epoch)

    def _ring(self, base: int, source: Source, held: int, needed: int, epoch: int) -> Rows:
        if self.tiling.cached or self.tiling.chunk_rows >= self.shape.out_rows:
            step = needed * source.row_bytes
            return Rows(base, needed, source.row_bytes, step, frames=held // needed)
        first = epoch * self.problem.batch * needed
        return Rows(base, held, source.row_bytes, 0, first=first, frame_rows=needed)

    def _ring_rows(self, memory: MemoryMap, ring: Ring, tensor: str) -> Rows:
        """Where a tensor's rows pass through the layers of a fused task."""
        base = memory.buffer[ring_name(self.record, tensor)]
        return Rows(base, ring.rows, ring.row_bytes, 0, frame_rows=ring.frame_rows)

    def first_rows(self, memory: MemoryMap, channels: int) -> Rows:
        """The row buffer between the first stage and the pool."""
        count = self.shape.pool.live_rows(self.tiling.chunk_rows)
        row = self.shape.array_cols * channels
        base = memory.buffer[f"{self.name}.rows"]
        return Rows(base, count, row, count * row, frames=self.tiling.chunk_frames)

    def output_rows(self, memory: MemoryMap, step: int) -> tuple[Rows, int]:
        """Where a step's output rows go, as rows counted from the chunk's first one (or from row 0
        of the tensor where it stays on the chip), and the channels of a pixel there."""
        chunk, shape = self.plan.steps[step].chunk, self.shape
        if self.record.ring_written is not None:
            return self._ring_rows(memory, self.record.ring_written, self.output), shape.k
        if self.record.keeps_output:
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

    def first_channel(self, group: int) -> int:
        """First output channel of an output group."""
        lanes, k, groups = self.fragment.lanes_out, self.shape.k, self.shape.groups
        if self.shape.array is Stage.DEPTHWISE or groups == 1:
            return min(k, group * lanes)
        size = k // groups
        outer, inner = divmod(group, -(-size // lanes))
        return outer * size + min(size, inner * lanes)

    def channel_range(self, step: int) -> tuple[int, int]:
        """Output channels of the groups that a step's weight blocks belong to."""
        if self.array is None:
            return 0, self.shape.k
        per_group = self.shape.blocks_per_group(self.fragment)
        first, last = self.plan.steps[step].blocks
        return self.first_channel(first // per_group), self.first_channel(-(-last // per_group))

    def epoch(self, step: int) -> int:
        """How often all frames' inputs were loaded before the pass of a step."""
        if (
            self.tiling.order is not Order.STATIONARY
            or self.tiling.cached
            or not self.tiling.tile_blocks
        ):
            return 0
        return self.plan.steps[step].blocks[0] // self.tiling.tile_blocks
