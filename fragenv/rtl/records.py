"""Commands to records: the fields of each, and which bytes of the buffer it reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fragenv.graph.operators import Operator, OpKind
from fragenv.hardware.timing import ceil_div, pixel_tiles
from fragenv.rtl.errors import EmitError
from fragenv.rtl.isa import OP_MAC, OP_MAX, OP_SUM
from fragenv.rtl.memory_map import MemoryMap
from fragenv.rtl.task import Rows, Task
from fragenv.rtl.weights import stream_offset
from fragenv.schedule.program import Command, CommandKind, Role
from fragenv.schedule.tiling import Order

Span = tuple[int, int]
#: fields that mean nothing to a window operation
_ARRAY_ONLY = (
    *("tile_pixels", "tiles", "tile_row_end", "in_groups", "in_lanes_last", "passes", "w_base"),
    *("first_group", "first_r", "first_s", "first_y", "first_x", "first_row", "first_col"),
)


@dataclass
class Work:
    """What a command becomes: the fields of its records, and the buffer bytes that it touches."""

    records: list[Mapping[str, int]] = field(default_factory=list)
    reads: list[Span] = field(default_factory=list)
    writes: list[Span] = field(default_factory=list)


class Translator:
    """Translates the commands of one program; commands come in the order of their ids."""

    def __init__(self, tasks: list[Task], memory: MemoryMap) -> None:
        self.tasks, self.memory = tasks, memory
        #: per task and step: number of the weight tile that the step uses, in the order of loading
        self.tile_numbers = [_tile_numbers(task) for task in tasks]
        #: per task: address of a row in its input ring -> (frame, row) loaded there last
        self.loaded: list[dict[int, Span]] = [{} for _ in tasks]

    def work(self, command: Command) -> Work:
        """The records of a LOAD, STORE or RUN; the last one completes the command."""
        work = self._work(command)
        last = len(work.records) - 1
        work.records = [{**r, "counts": int(i == last)} for i, r in enumerate(work.records)]
        return work

    def _work(self, command: Command) -> Work:
        if command.role is Role.SPILL:
            return self._spill(command)
        task = self.tasks[command.task]
        if command.kind is CommandKind.RUN:
            return self._run(task, command)
        if command.kind is CommandKind.STORE:
            return self._store(task, command)
        if command.role is Role.WEIGHTS:
            return self._load_weights(task, command)
        return self._load_input(task, command)

    # ---- DMA ----
    def _spill(self, command: Command) -> Work:
        base = self.memory.buffer[f"tensor.{command.tensor}"]
        fields = _dma(
            1, 1, command.bytes, self.memory.dram_tensors[command.tensor], 0, base, command.bytes
        )
        return Work([fields], reads=[(base, base + command.bytes)])

    def _weight_place(self, task: Task, step: int) -> int:
        """Buffer address of the first weight block of a step."""
        base = self.memory.buffer[f"{task.name}.weights"]
        first = task.plan.steps[step].blocks[0]
        if task.tiling.order is Order.RESIDENT:
            return base + self._offset(task, first)
        count = task.tiling.weight_buffers
        size = task.tiling.weight_buffer_bytes // count
        return base + size * (self.tile_numbers[task.number][step] % count)

    def _offset(self, task: Task, blocks: int) -> int:
        return stream_offset(
            blocks, task.weight_shape, task.fragment.lanes_in, task.fragment.lanes_out
        )

    def _load_weights(self, task: Task, command: Command) -> Work:
        offset = self._offset(task, command.blocks[0])
        size = self._offset(task, command.blocks[1]) - offset
        if size != command.bytes:
            raise EmitError(
                f"its weight tile has {size} bytes, the schedule counts {command.bytes}"
            )
        place = self._weight_place(task, command.step)
        fields = _dma(0, 1, size, self.memory.dram_weights[task.number] + offset, 0, place, size)
        return Work([fields], writes=[(place, place + size)])

    def _load_input(self, task: Task, command: Command) -> Work:
        rows = task.input_rows(self.memory, task.epoch(command.step))
        source, window = task.shape.sources[0], task.shape.window
        (frame, end), (first, last) = command.frames, command.rows
        frame_bytes = source.rows * source.row_bytes
        dram = self.memory.dram_tensors[command.tensor]
        work = Work(writes=rows.spans(command.frames, command.rows))
        for number in range(frame, end):
            for row in range(first, last):
                place = rows.frame_base(number) + rows.offset(number, row)
                self.loaded[task.number][place] = (number, row)

        def add(pieces: int, size: int, frame: int, row: int, dram_step: int, step: int) -> None:
            base = rows.frame_base(frame)
            ring = rows.ring_bytes if step < rows.ring_bytes else pieces * step
            address = dram + frame * frame_bytes + row * source.row_bytes
            fields = _dma(0, pieces, size, address, dram_step, base, ring)
            work.records.append(
                fields | {"buffer_first": rows.offset(frame, row), "buffer_step": step}
            )

        if window.touched(first, last) == last - first:
            pieces, size = command.runs, command.run_bytes
            step = rows.frame_step if pieces > 1 else 0
            if size > rows.ring_bytes:  # whole frames, one after the other
                step = size
            add(pieces, size, frame, first, frame_bytes, step)
            return work
        # the stride skips rows: those of each kernel row are a sequence of pieces
        ring_step = window.stride * source.row_bytes % rows.ring_bytes
        for number in range(frame, end):
            for offset in range(window.extent):
                row = first + (offset - first - window.padding) % window.stride
                count = ceil_div(last - row, window.stride)
                if count > 0:
                    dram_step = window.stride * source.row_bytes
                    add(count, source.row_bytes, number, row, dram_step, ring_step)
        return work

    def _store(self, task: Task, command: Command) -> Work:
        shape, chunk = task.shape, task.plan.steps[command.step].chunk
        rows, channels = task.output_rows(self.memory, command.step)
        dram = self.memory.dram_tensors[command.tensor] + chunk.frames[0] * shape.out_bytes
        dram += chunk.out_rows[0] * shape.out_row_bytes + chunk.cols[0] * shape.k
        whole = channels == shape.k
        dram_step = shape.out_bytes if whole else shape.k
        if not whole:
            dram += task.channel_range(command.step)[0]
        fields = _dma(1, command.runs, command.run_bytes, dram, dram_step, rows.base, command.bytes)
        fields["buffer_step"] = command.run_bytes
        return Work([fields], reads=[(rows.base, rows.base + command.bytes)])

    # ---- RUN ----
    def _check_loaded(self, task: Task, op: Operator, rows: Rows, frames: Span, span: Span) -> None:
        """Refuse a program whose prefetching overwrites rows that a RUN still needs: the RUN's
        place in the program is after that LOAD, so that no wait could help."""
        if task.record.on_chip & 1:
            return
        window = task.shape.window
        for frame in range(*frames):
            for row in range(*span):
                needed = window.stride <= window.extent or window.touched(row, row + 1)
                place = rows.frame_base(frame) + rows.offset(frame, row)
                if needed and self.loaded[task.number].get(place) != (frame, row):
                    raise EmitError(
                        f"row {row} of frame {frame} is overwritten before it is used; choose "
                        "another schedule",
                        op.name,
                        op.kind,
                    )

    def _run(self, task: Task, command: Command) -> Work:
        step = task.plan.steps[command.step]
        work = Work()
        if task.array is not None and step.chunk.array_rows[0] < step.chunk.array_rows[1]:
            self._array(task, command, work)
        if (
            task.pool is not None
            and step.finishes
            and step.chunk.out_rows[0] < step.chunk.out_rows[1]
        ):
            self._pool(task, command, work)
        if not work.records:
            raise EmitError(f"RUN {command.id} of task {task.number} computes nothing")
        return work

    def _array(self, task: Task, command: Command, work: Work) -> None:
        op, fragment = task.array, task.fragment
        assert op is not None
        step = task.plan.steps[command.step]
        chunk = step.chunk
        source = task.input_rows(self.memory, task.epoch(command.step))
        first_channel, last_channel = task.channel_range(command.step)
        cols = chunk.cols if task.pool is None else (0, task.shape.array_cols)
        if task.pool is None:
            target, pixel = task.output_rows(self.memory, command.step)
            first_row = chunk.array_rows[0] if task.plan.setting.keep_output else 0
            target_frame = chunk.frames[0] if task.plan.setting.keep_output else 0
        else:
            pixel = task.pass_channels(command.step)
            target, first_row, target_frame = (
                task.array_rows(self.memory, pixel),
                chunk.array_rows[0],
                0,
            )
        channel = first_channel if pixel == task.shape.k else 0
        zero, low, high = task.limits(op)
        fields = _window(op, source, chunk.frames, chunk.array_rows, cols)
        _check_ring(op, source)
        frames = chunk.frames[1] - chunk.frames[0]
        height = chunk.array_rows[1] - chunk.array_rows[0]
        full, pixels, rest = pixel_tiles(frames * height, cols[1] - cols[0])
        wide = pixels < cols[1] - cols[0]
        tiles = frames * height * ceil_div(cols[1] - cols[0], pixels) if wide else full + (rest > 0)
        per_row = op.nest.s
        per_lane = op.nest.r * per_row
        groups = ceil_div(op.nest.c, fragment.lanes_in)
        lane, kernel = divmod(step.blocks[0] % (groups * per_lane), per_lane)
        r, s = divmod(kernel, per_row)
        if tiles > 1 and (lane or kernel or step.blocks[1] % (groups * per_lane)):
            raise EmitError("a weight tile ends inside an output group", op.name, op.kind)
        weights = self._weight_place(task, command.step)
        size = self._offset(task, step.blocks[1]) - self._offset(task, step.blocks[0])
        fields |= {
            "op": OP_MAC,
            "pad_value": task.pad_value(op),
            "out_zero": zero,
            "clamp_min": low,
            "clamp_max": high,
            "tile_pixels": pixels,
            "tiles": tiles,
            "tile_row_end": int(wide),
            "in_groups": groups,
            "in_lanes_last": op.nest.c - (groups - 1) * fragment.lanes_in,
            "out_channels": last_channel - first_channel,
            "first_group": lane,
            "first_r": r,
            "first_s": s,
            "first_y": r * op.nest.dilation[0],
            "first_x": s * op.nest.dilation[1],
            "first_row": r * fields["k_row_step"],
            "first_col": s * fields["k_col_step"],
            "w_base": weights,
            "passes": (step.blocks[1] - step.blocks[0]) * tiles,
            **_target(target, target_frame, first_row, pixel, channel),
            "bias": 0,
            "multiplier": 0,
            "shift": 0,
        }
        work.records.append(fields)
        work.reads.append((weights, weights + size))
        span = _rows_read(op, chunk.array_rows)
        self._check_loaded(task, op, source, chunk.frames, span)
        work.reads += source.spans(chunk.frames, span)
        frames_there = (target_frame, target_frame + frames)
        work.writes += target.spans(frames_there, (first_row, first_row + height))

    def _pool(self, task: Task, command: Command, work: Work) -> None:
        op = task.pool
        assert op is not None
        chunk = task.plan.steps[command.step].chunk
        channels = task.pass_channels(command.step)
        target, pixel = task.output_rows(self.memory, command.step)
        kept = task.plan.setting.keep_output
        first_row, target_frame = (chunk.out_rows[0], chunk.frames[0]) if kept else (0, 0)
        channel = task.channel_range(command.step)[0] if channels < pixel else 0
        frames = (0, chunk.frames[1] - chunk.frames[0])
        if task.array is not None:
            source = task.array_rows(self.memory, channels)
        else:
            source, frames = task.input_rows(self.memory, 0), chunk.frames
        zero, low, high = task.limits(op)
        bias, multiplier, shift = task.pool_constants()
        fields = _window(op, source, frames, chunk.out_rows, (0, op.nest.q), channels)
        _check_ring(op, source)
        fields |= {
            "op": OP_MAX if op.kind is OpKind.MAXPOOL else OP_SUM,
            "pad_value": task.pad_value(op),
            "out_zero": zero,
            "clamp_min": low,
            "clamp_max": high,
            "out_channels": channels,
            **_target(target, target_frame, first_row, pixel, channel),
            "bias": bias,
            "multiplier": multiplier,
            "shift": shift,
            **dict.fromkeys(_ARRAY_ONLY, 0),
        }
        work.records.append(fields)
        span = _rows_read(op, chunk.out_rows)
        if task.array is None:
            self._check_loaded(task, op, source, frames, span)
        work.reads += source.spans(frames, span)
        height = chunk.out_rows[1] - chunk.out_rows[0]
        frames_there = (target_frame, target_frame + chunk.frames[1] - chunk.frames[0])
        work.writes += target.spans(frames_there, (first_row, first_row + height))


def _tile_numbers(task: Task) -> list[int]:
    loads = -1
    numbers = []
    for step in task.plan.steps:
        loads += step.weights is not None
        numbers.append(loads)
    if task.tiling.order is Order.STATIONARY or task.tiling.order is Order.STREAMED:
        return numbers
    return [0] * len(numbers)


def _rows_read(op: Operator, rows: Span) -> Span:
    """Input rows that the windows of output rows reach, within the input."""
    nest = op.nest
    extent = (nest.r - 1) * nest.dilation[0] + 1
    first = rows[0] * nest.stride[0] - nest.padding[0]
    last = (rows[1] - 1) * nest.stride[0] - nest.padding[0] + extent
    return max(0, first), max(0, min(nest.h, last))


def _check_ring(op: Operator, source: Rows) -> None:
    """The circuit wraps an address once: a kernel may reach at most one ring further."""
    if (op.nest.r - 1) * op.nest.dilation[0] > source.count:
        raise EmitError("its kernel is larger than its input", op.name, op.kind)


def _dma(
    store: int, pieces: int, size: int, dram: int, dram_step: int, base: int, ring: int
) -> dict[str, int]:
    return {
        "store": store,
        "pieces": pieces,
        "piece_bytes": size,
        "dram_base": dram,
        "dram_step": dram_step,
        "buffer_base": base,
        "buffer_ring": ring,
        "buffer_first": 0,
        "buffer_step": 0,
    }


def _window(
    op: Operator, source: Rows, frames: Span, rows: Span, cols: Span, channels: int = 0
) -> dict[str, int]:
    """The fields of a sliding window over ``source`` for output rows and columns."""
    nest = op.nest
    pixel = channels or nest.c
    y0 = rows[0] * nest.stride[0] - nest.padding[0]
    x0 = cols[0] * nest.stride[1] - nest.padding[1]
    return {
        "in_rows": nest.h,
        "in_cols": nest.w,
        "src_base": source.frame_base(frames[0]),
        "src_ring": source.ring_bytes,
        "src_row0": source.offset(frames[0], y0),
        "src_row_step": nest.stride[0] % source.count * source.row_bytes,
        "src_col0": x0 * pixel,
        "src_col_step": nest.stride[1] * pixel,
        "src_frame_step": source.frame_step,
        "y0": y0,
        "x0": x0,
        "y_step": nest.stride[0],
        "x_step": nest.stride[1],
        "k_rows": nest.r,
        "k_cols": nest.s,
        "k_y_step": nest.dilation[0],
        "k_x_step": nest.dilation[1],
        "k_row_step": nest.dilation[0] * source.row_bytes,
        "k_col_step": nest.dilation[1] * pixel,
        "cols": cols[1] - cols[0],
        "rows": rows[1] - rows[0],
        "frames": frames[1] - frames[0],
    }


def _target(target: Rows, frame: int, row: int, pixel: int, channel: int) -> dict[str, int]:
    """The fields of where outputs go: ``pixel`` bytes per pixel, from ``channel`` on."""
    return {
        "dst_base": target.frame_base(frame) + channel,
        "dst_ring": target.ring_bytes,
        "dst_row0": target.offset(frame, row),
        "dst_row_step": target.row_bytes,
        "dst_col_step": pixel,
        "dst_frame_step": target.frame_step,
    }
