"""Commands to records: the fields of each, and which bytes of the buffer it reads and writes."""

from __future__ import annotations

from dataclasses import replace

from fragenv.graph.operators import Operator
from fragenv.hardware.fragment import Stage
from fragenv.hardware.timing import ceil_div, pixel_tiles
from fragenv.rtl.errors import EmitError
from fragenv.rtl.isa import OP_DEPTHWISE, OP_MAC
from fragenv.rtl.memory_map import MemoryMap
from fragenv.rtl.record import Fields, Record, Work, dma_fields, target_fields, window_records
from fragenv.rtl.task import Rows, Task
from fragenv.rtl.windows import Windows, full_windows, geometry, rectangles, source_fields
from fragenv.schedule.program import Command, CommandKind, Role
from fragenv.schedule.tiling import Chunk, Order

Span = tuple[int, int]
#: fields that mean nothing to an array
_WINDOW_ONLY = ("bias", "multiplier", "shift")


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
        work.records = [
            replace(r, fields={**r.fields, "counts": int(i == last)})
            for i, r in enumerate(work.records)
        ]
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
        fields = dma_fields(
            1, 1, command.bytes, self.memory.dram_tensors[command.tensor], 0, base, command.bytes
        )
        return Work([Record(fields)], reads=[(base, base + command.bytes)])

    def _weight_place(self, task: Task, step: int) -> int:
        """Buffer address of the first weight block of a step."""
        base = self.memory.buffer[f"{task.name}.weights"]
        first = task.plan.steps[step].blocks[0]
        if task.tiling.order is Order.RESIDENT:
            return base + task.shape.weight_prefix(first, task.fragment)
        count = task.tiling.weight_buffers
        size = task.tiling.weight_buffer_bytes // count
        return base + size * (self.tile_numbers[task.number][step] % count)

    def _load_weights(self, task: Task, command: Command) -> Work:
        offset = task.shape.weight_prefix(command.blocks[0], task.fragment)
        size = task.shape.weight_prefix(command.blocks[1], task.fragment) - offset
        if size != command.bytes:
            raise EmitError(
                f"its weight tile has {size} bytes, the schedule counts {command.bytes}"
            )
        place = self._weight_place(task, command.step)
        fields = dma_fields(
            0, 1, size, self.memory.dram_weights[task.number] + offset, 0, place, size
        )
        return Work([Record(fields)], writes=[(place, place + size)])

    def _load_input(self, task: Task, command: Command) -> Work:
        index = command.source
        rows = task.input_rows(self.memory, index, task.epoch(command.step))
        source = (*task.shape.sources, *task.shape.residuals)[index]
        window = task.shape.window if index < len(task.shape.sources) else full_windows(source.rows)
        (frame, end), (first, last) = command.frames, command.rows
        frame_bytes = source.rows * source.row_bytes
        dram = self.memory.dram_tensors[command.tensor]
        work = Work(writes=rows.spans(command.frames, command.rows))
        for number in range(frame, end):
            for row in range(first, last):
                place = rows.frame_base(number) + rows.offset(number, row)
                self.loaded[task.record.group][place] = (number, row)

        def add(pieces: int, size: int, frame: int, row: int, dram_step: int, step: int) -> None:
            base = rows.frame_base(frame)
            ring = rows.ring_bytes if step < rows.ring_bytes else pieces * step
            address = dram + frame * frame_bytes + row * source.row_bytes
            fields = dma_fields(0, pieces, size, address, dram_step, base, ring)
            fields |= {"buffer_first": rows.offset(frame, row), "buffer_step": step}
            work.records.append(Record(fields))

        if task.record.ring_read(index) is not None or window.touched(first, last) == last - first:
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
        fields = dma_fields(
            1, command.runs, command.run_bytes, dram, dram_step, rows.base, command.bytes
        )
        fields["buffer_step"] = command.run_bytes
        return Work([Record(fields)], reads=[(rows.base, rows.base + command.bytes)])

    # ---- RUN ----
    def _check_loaded(self, task: Task, index: int, rows: Rows, frames: Span, span: Span) -> None:
        """Refuse a program whose prefetching overwrites rows that a RUN still needs: the RUN's
        place in the program is after what overwrites them, so that no wait could help."""
        if task.record.on_chip >> index & 1:
            return
        window = task.shape.window
        skips = index < len(task.shape.sources) and window.stride > window.extent
        for frame in range(*frames):
            for row in range(*span):
                needed = not skips or window.touched(row, row + 1)
                place = rows.frame_base(frame) + rows.offset(frame, row)
                if needed and self.loaded[task.record.group].get(place) != (frame, row):
                    raise EmitError(
                        f"row {row} of frame {frame} is overwritten before it is used; choose "
                        "another schedule",
                        task.operators[0].name,
                        task.operators[0].kind,
                    )

    def _run(self, task: Task, command: Command) -> Work:
        step = task.plan.steps[command.step]
        work = Work()
        if task.first is not None and step.chunk.array_rows[0] < step.chunk.array_rows[1]:
            self._first(task, command, work)
        if (
            task.pool is not None
            and step.finishes
            and step.chunk.out_rows[0] < step.chunk.out_rows[1]
        ):
            self._pool(task, command, work)
        if not work.records:
            raise EmitError(f"RUN {command.id} of task {task.number} computes nothing")
        if task.record.ring_written is not None:
            rows, _ = task.output_rows(self.memory, command.step)
            for frame in range(*step.chunk.frames):
                for row in range(*step.chunk.out_rows):
                    place = rows.frame_base(frame) + rows.offset(frame, row)
                    self.loaded[task.record.group][place] = (frame, row)
        return work

    def _sources(
        self, task: Task, command: Command, rows: Span, work: Work
    ) -> list[tuple[Rows, int]]:
        """Where each source lies and its channels; ``rows`` are those read of each."""
        result = []
        frames = task.plan.steps[command.step].chunk.frames
        for index, channels in enumerate(task.shape.part_channels):
            place = task.input_rows(self.memory, index, task.epoch(command.step))
            self._check_loaded(task, index, place, frames, rows)
            work.reads += place.spans(frames, rows)
            result.append((place, channels))
        return result

    def _residual(
        self, task: Task, stage: Operator, command: Command, rows: Span, first: Span, work: Work
    ) -> Fields | None:
        """The residual record for output rows ``rows``; ``first`` is (column, channel) of the first
        output."""
        arithmetic = task.addition(stage)
        if arithmetic is None:
            return None
        index, frames = len(task.shape.sources), task.plan.steps[command.step].chunk.frames
        place = task.input_rows(self.memory, index, task.epoch(command.step))
        self._check_loaded(task, index, place, frames, rows)
        work.reads += place.spans(frames, rows)
        return arithmetic | {
            "base": place.frame_base(frames[0]) + first[0] * task.shape.k + first[1],
            "ring": place.ring_bytes,
            "row0": place.offset(frames[0], rows[0]),
            "row_step": place.row_bytes,
            "col_step": task.shape.k,
            "frame_step": place.frame_step,
        }

    def _first(self, task: Task, command: Command, work: Work) -> None:
        """The records of the first stage: one of an array, one per part of a vector operation."""
        op, chunk = task.first, task.plan.steps[command.step].chunk
        assert op is not None
        cols = chunk.cols if task.pool is None else (0, task.shape.array_cols)
        rows = chunk.array_rows
        channels = task.channel_range(command.step)
        if task.pool is not None:
            pixel = task.pass_channels(command.step)
            target, row, frame = task.first_rows(self.memory, pixel), rows[0], 0
        else:
            target, pixel = task.output_rows(self.memory, command.step)
            kept = task.plan.setting.keep_output
            row, frame = (rows[0], chunk.frames[0]) if kept else (0, 0)
        channel = channels[0] if pixel == task.shape.k else 0
        windows = Windows(op, chunk.frames, rows, cols)
        sources = self._sources(task, command, windows.rows_read(), work)
        fields = geometry(windows) | target_fields(target, frame, row, pixel, channel)
        residual = self._residual(task, op, command, rows, (cols[0], channels[0]), work)
        if task.array is not None:
            record, weights = self._array(task, command, windows, sources, fields)
            work.reads.append(weights)
            work.records.append(replace(record, residual=residual))
        else:
            work.records += window_records(task, op, windows, sources, fields, residual)
        work.writes += target.spans(
            (frame, frame + chunk.frames[1] - chunk.frames[0]), (row, row + rows[1] - rows[0])
        )

    def _array(
        self,
        task: Task,
        command: Command,
        windows: Windows,
        sources: list[tuple[Rows, int]],
        fields: Fields,
    ) -> tuple[Record, Span]:
        """The record of an array, and the bytes of its weights."""
        op, shape, fragment = windows.op, task.shape, task.fragment
        blocks = task.plan.steps[command.step].blocks
        depthwise = shape.array is Stage.DEPTHWISE
        lanes_in = 1 if depthwise else fragment.lanes_in
        parts = shape.part_channels if shape.groups == 1 else (shape.c // shape.groups,)
        per_group, kernel = shape.blocks_per_group(fragment), shape.kernel
        rest = blocks[0] % per_group
        part = 0
        while rest >= (size := ceil_div(parts[part], lanes_in) * kernel):
            part, rest = part + 1, rest - size
        lane, element = divmod(rest, kernel)
        r, s = divmod(element, op.nest.s)
        first, last = task.channel_range(command.step)
        done = task.first_channel(blocks[1] // per_group) - first
        of_group = fragment.lanes_out if depthwise else shape.k // shape.groups
        step = fragment.lanes_out if depthwise else shape.c // shape.groups
        conv = first // of_group
        cols = windows.cols[1] - windows.cols[0]
        frames = windows.frames[1] - windows.frames[0]
        height = windows.rows[1] - windows.rows[0]
        full, pixels, remainder = pixel_tiles(frames * height * cols)
        tiles = full + (remainder > 0)
        if tiles > 1 and (blocks[0] % per_group or blocks[1] % per_group):
            raise EmitError("a weight tile ends inside an output group", op.name, op.kind)
        inputs = [
            source_fields(windows, rows, total, conv * step if shape.groups > 1 else 0)
            | {
                "in_groups": ceil_div(channels, lanes_in),
                "in_lanes_last": channels - (ceil_div(channels, lanes_in) - 1) * lanes_in,
            }
            for (rows, total), channels in zip(sources, parts, strict=True)
        ]
        zero, low, high = task.numbers.limits(op)
        place = self._weight_place(task, command.step)
        prefix = [shape.weight_prefix(b, fragment) for b in blocks]
        return Record(
            {
                **fields,
                "op": OP_DEPTHWISE if depthwise else OP_MAC,
                "pad_value": task.numbers.pad_value(op),
                "out_zero": zero,
                "clamp_min": low,
                "clamp_max": high,
                "tile_pixels": pixels,
                "tiles": tiles,
                "parts": len(parts),
                "out_channels": last - first,
                "done_channels": done,
                "group_channels": of_group,
                "first_left": of_group - (first - conv * of_group),
                "group_step": step,
                "first_part": part,
                "first_group": lane,
                "first_r": r,
                "first_s": s,
                "first_y": r * op.nest.dilation[0],
                "first_x": s * op.nest.dilation[1],
                "first_row": r * inputs[part]["k_row_step"],
                "first_col": s * inputs[part]["k_col_step"],
                "w_base": place,
                "passes": (blocks[1] - blocks[0]) * tiles,
                **dict.fromkeys(_WINDOW_ONLY, 0),
            },
            tuple(inputs),
        ), (place, place + prefix[1] - prefix[0])

    def _pool(self, task: Task, command: Command, work: Work) -> None:
        op = task.pool
        assert op is not None
        chunk: Chunk = task.plan.steps[command.step].chunk
        target, pixel = task.output_rows(self.memory, command.step)
        kept = task.plan.setting.keep_output
        row, frame = (chunk.out_rows[0], chunk.frames[0]) if kept else (0, 0)
        frames = chunk.frames[1] - chunk.frames[0]
        channels = task.pass_channels(command.step)
        first = task.channel_range(command.step)[0]
        channel = first if channels < pixel else 0
        windows = Windows(op, chunk.frames, chunk.out_rows, (0, op.nest.q))
        if task.first is None:
            sources = self._sources(task, command, windows.rows_read(), work)
        else:
            windows = replace(windows, frames=(0, frames))
            sources = [(task.first_rows(self.memory, channels), channels)]
            work.reads += sources[0][0].spans(windows.frames, windows.rows_read())
        for part in rectangles(windows):
            at = row + part.rows[0] - chunk.out_rows[0]
            fields = geometry(part) | target_fields(
                target, frame, at, pixel, channel + part.cols[0] * pixel
            )
            residual = self._residual(task, op, command, part.rows, (part.cols[0], first), work)
            work.records += window_records(task, op, part, sources, fields, residual)
        height = chunk.out_rows[1] - chunk.out_rows[0]
        work.writes += target.spans((frame, frame + frames), (row, row + height))


def _tile_numbers(task: Task) -> list[int]:
    loads = -1
    numbers = []
    for step in task.plan.steps:
        loads += step.weights is not None
        numbers.append(loads)
    if task.tiling.order is Order.STATIONARY or task.tiling.order is Order.STREAMED:
        return numbers
    return [0] * len(numbers)
