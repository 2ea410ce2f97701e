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

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from fragenv.hardware.fragment import Fragment
from fragenv.hardware.timing import ACC_PIXELS, ceil_div, dma_cycles
from fragenv.schedule.shape import TaskShape

#: tilings with more steps than this are looked at only where none with fewer fits, so that programs
#: stay short; more are allowed where one chunk's weights stream through faster than they arrive
MAX_STEPS = 16
MAX_STEPS_PER_FRAME = 4
MAX_STREAM_STEPS = 256
#: what a cycle until the first frame counts, beside a cycle until the last
FIRST_FRAME_SHARE = 0.02
#: a smaller working set is preferred while it costs at most this factor more
SLACK = 1.02


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


def _row_options(rows: int) -> list[int]:
    """Rows per chunk worth trying: the fewest for each number of chunks 1, 2, 3, 4, 6, 8, ..."""
    counts = [n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128) if n < rows]
    return sorted({ceil_div(rows, n) for n in counts} | {1, rows}, reverse=True)


def _tile_options(setting: TaskSetting, one_pixel_tile: bool) -> list[int]:
    """Weight blocks per tile worth trying: whole output groups, or parts of one where the chunk
    fits the accumulators."""
    shape, fragment = setting.shape, setting.fragment
    per_group = shape.blocks_per_group(fragment)
    groups = shape.output_groups(fragment)
    options = {ceil_div(groups, n) * per_group for n in (1, 2, 3, 4, 6, 8) if n <= groups}
    power = 1
    while power < groups:
        options.add(power * per_group)
        power *= 2
    if one_pixel_tile:
        options.update(ceil_div(per_group, n) for n in (2, 4, 8, 16) if n < per_group)
    return sorted(options, reverse=True)


class TilingSearch:
    """Enumerates the tilings of one setting and evaluates each in closed form."""

    def __init__(self, setting: TaskSetting, port: Port) -> None:
        self.setting, self.port, self.shape = setting, port, setting.shape
        shape = self.shape
        self.weight_bytes = shape.weight_bytes
        self.blocks = setting.blocks
        self.source_row_bytes = setting.source_row_bytes
        self.residual_row_bytes = setting.residual_row_bytes
        self._kinds: tuple[list[Chunk], list[tuple[Chunk, int]]] = ([], [])
        self._key: tuple[int | Order, ...] = ()
        self.per_group = shape.blocks_per_group(setting.fragment)

    def candidates(self, long: bool) -> Iterator[Tiling]:
        """The tilings of the family, whatever they need of the buffer: those with few steps, or
        (``long``) the smallest chunks whatever the number of steps."""
        shape, batch = self.shape, self.setting.batch
        if long:
            for frames in sorted({1, batch}) if shape.out_rows == 1 else [1]:
                yield from self._of_chunk(frames, 1, 1, None)
            if not shape.pool_window and shape.array is not None:
                for parts in (2, 4, 8, 16):
                    if parts <= shape.out_cols:
                        yield from self._of_chunk(1, 1, parts, None)
            return
        limit = MAX_STEPS + MAX_STEPS_PER_FRAME * batch
        for rows in _row_options(shape.out_rows):
            whole = rows == shape.out_rows
            for frames in sorted({1, batch, ceil_div(batch, 2)}) if whole else [1]:
                yield from self._of_chunk(frames, rows, 1, limit)

    def _of_chunk(
        self, frames: int, rows: int, parts: int, max_steps: int | None
    ) -> Iterator[Tiling]:
        shape, setting = self.shape, self.setting
        count = ceil_div(setting.batch, frames) * ceil_div(shape.out_rows, rows) * parts
        if max_steps is not None and count > max_steps:
            return
        chunks = chunks_of(shape, setting.batch, frames, rows, parts)
        pixels = frames * (chunks[0].array_rows[1]) * shape.array_cols
        loads_input = bool(setting.loaded_sources or setting.loaded_residuals)
        input_choices = (1, 2) if loads_input and len(chunks) > 1 else (1,)
        output_choices = (1,) if setting.keep_output or len(chunks) == 1 else (1, 2)
        options = _tile_options(setting, pixels <= ACC_PIXELS) if shape.array else [0]
        for tile in options:
            tiles = ceil_div(self.blocks, tile) if tile else 1
            for order, cached in self._orders(tile, count, loads_input):
                steps = count + tiles - 1 if order is Order.RESIDENT else count * tiles
                if max_steps is not None and steps > max_steps and count > 1:
                    continue
                outs = (1, 2) if order is Order.STATIONARY and tiles > 1 else output_choices
                for inputs in (1,) if cached else input_choices:
                    for outputs in (1,) if setting.keep_output else outs:
                        tiling = self._evaluate(
                            chunks, frames, rows, parts, tile, order, cached, inputs, outputs
                        )
                        if max_steps is None or steps <= (
                            MAX_STREAM_STEPS if tiling.streams else max_steps
                        ):
                            yield tiling

    def smallest_bytes(self) -> int:
        """The working set of the smallest tiling: one row (or a part of it) at a time."""
        shape, setting = self.shape, self.setting
        least = None
        parts_options = [1] if shape.pool_window or shape.array is None else [1, 2, 4, 8, 16]
        for parts in parts_options:
            if parts > shape.out_cols:
                continue
            chunks = chunks_of(shape, setting.batch, 1, 1, parts)
            pixels = chunks[0].array_rows[1] * shape.array_cols
            tile = _tile_options(setting, pixels <= ACC_PIXELS)[-1] if shape.array else 0
            for order, cached in self._orders(tile, len(chunks), True):
                size = sum(self._sizes(chunks, 1, 1, parts, tile, order, cached, 1, 1))
                least = size if least is None else min(least, size)
        assert least is not None
        return least

    def _orders(self, tile: int, chunks: int, loads: bool) -> list[tuple[Order, bool]]:
        if tile == 0 or tile >= self.blocks:
            return [(Order.RESIDENT, False)]
        whole_groups = tile % self.per_group == 0
        orders = [(Order.STREAMED, False)]
        if whole_groups or chunks == 1:
            orders.append((Order.RESIDENT, False))
        if whole_groups and chunks > 1:
            orders.append((Order.STATIONARY, False))
            if loads:
                orders.append((Order.STATIONARY, True))
        return orders

    def _buffers(
        self, chunks: list[Chunk], frames: int, rows: int, parts: int, inputs: int
    ) -> tuple[int, int, int]:
        """Input ring, row buffer of the pool per channel, output chunk per channel: bytes."""
        shape, setting = self.shape, self.setting
        whole = rows >= shape.out_rows
        array_rows = shape.pool.live_rows(rows)
        if whole:
            copies = min(inputs, ceil_div(setting.batch, frames)) * frames
            ring = copies * shape.window.needed(shape.window.rows_out)
            residual = copies * (shape.window.rows_out if shape.residual_before_pool else rows)
        else:
            step = rows * shape.pool.stride
            ring = shape.window.live_rows(array_rows)
            residual = step if shape.residual_before_pool else rows
            if inputs == 2:
                ring = min(2 * shape.window.rows_in, ring + step * shape.window.stride)
                residual *= 2
        in_bytes = ring * self.source_row_bytes + residual * self.residual_row_bytes
        has_rows = shape.pool_window > 0 and shape.array is not None
        row_buffer = frames * array_rows * shape.array_cols if has_rows else 0
        out = frames * rows * ceil_div(shape.out_cols, parts)
        return in_bytes, row_buffer, out

    def _sizes(
        self,
        chunks: list[Chunk],
        frames: int,
        rows: int,
        parts: int,
        tile: int,
        order: Order,
        cached: bool,
        inputs: int,
        outputs: int,
    ) -> tuple[int, int, int, int]:
        """Bytes of the weight, input, row and output buffers."""
        shape, setting = self.shape, self.setting
        in_bytes, row_pixels, out_pixels = self._buffers(chunks, frames, rows, parts, inputs)
        weights = self.weight_bytes
        if order is not Order.RESIDENT:
            weights = 2 * shape.weight_prefix(min(tile, self.blocks), setting.fragment)
        channels = setting.channels((0, tile)) if order is Order.STATIONARY else shape.k
        if cached:
            rows_all = shape.window.needed(shape.window.rows_out)
            in_bytes = setting.batch * (
                rows_all * self.source_row_bytes
                + chunks[-1].residual_rows[1] * self.residual_row_bytes
            )
        out = 0 if setting.keep_output else outputs * out_pixels * channels
        return weights, in_bytes, row_pixels * channels, out

    def _evaluate(
        self,
        chunks: list[Chunk],
        frames: int,
        rows: int,
        parts: int,
        tile: int,
        order: Order,
        cached: bool,
        inputs: int,
        outputs: int,
    ) -> Tiling:
        weights, ring, row_buffer, out = self._sizes(
            chunks, frames, rows, parts, tile, order, cached, inputs, outputs
        )
        totals = self._totals(chunks, frames, rows, parts, tile, order, cached)
        latency = totals.latency(inputs, outputs)
        # with the weight tiles outside, no frame is done before the last tile
        released = self.setting.batch if order is Order.STATIONARY else frames
        return Tiling(
            order=order,
            chunk_frames=frames,
            chunk_rows=rows,
            col_parts=parts,
            tile_blocks=tile,
            cached=cached,
            input_buffers=inputs,
            output_buffers=outputs,
            weight_buffer_bytes=weights,
            input_buffer_bytes=ring,
            row_buffer_bytes=row_buffer,
            output_buffer_bytes=out,
            latency_cycles=latency,
            first_frame_cycles=latency * released // self.setting.batch,
            dram_bytes=totals.dram_bytes,
            steps=totals.steps,
            streams=len(chunks) == 1 and totals.tile_cycles >= totals.tail_run,
        )

    def _totals(self, chunks: list[Chunk], *key: int | Order) -> _Totals:
        """Totals do not depend on the number of buffers; the last ones are kept."""
        if key != self._key:
            _, _, _, tile, order, cached = key
            self._key = key
            self._last = _Totals(
                self.setting,
                self.port,
                self._chunk_kinds(chunks),
                int(tile),
                Order(order),
                cached > 0,
            )
        return self._last

    def _chunk_kinds(self, chunks: list[Chunk]) -> list[tuple[Chunk, int]]:
        """The chunks up to their position: one of each kind and how many there are; the first
        chunk comes first and alone, the kind of the last one last."""
        if chunks is not self._kinds[0]:
            counts: dict[tuple[int, ...], list[Chunk]] = {}
            for chunk in chunks[1:]:
                counts.setdefault(chunk.extents(), []).append(chunk)
            if len(chunks) > 1:
                last = chunks[-1].extents()
                counts[last] = counts.pop(last)
            kinds = [(chunks[0], 1), *((group[0], len(group)) for group in counts.values())]
            self._kinds = (chunks, kinds)
        return self._kinds[1]


class _Totals:
    """Sums over all steps of a tiling: DMA cycles, array cycles, bytes."""

    def __init__(
        self,
        setting: TaskSetting,
        port: Port,
        kinds: list[tuple[Chunk, int]],
        tile: int,
        order: Order,
        cached: bool,
    ) -> None:
        self.setting, self.port, self.order = setting, port, order
        total = setting.blocks
        full, rest = divmod(total, tile) if tile else (1, 0)
        self.tiles = full + (rest > 0)
        #: (blocks, how often) of the weight tiles: equal ones, then a smaller last
        self.kinds = [((0, tile or total), full)]
        if rest:
            self.kinds.append(((total - rest, total), 1))
        input_passes = self.tiles if order is Order.STATIONARY and not cached else 1
        self.input_cycles = self.run_cycles = self.store_cycles = 0
        self.first_input = self.last_store = 0
        self.dram_bytes = 0
        for number, (chunk, count) in enumerate(kinds):
            load, load_bytes, run, store, store_bytes = self._chunk(chunk, number == 0)
            self.first_input = self.first_input or load
            self.last_store = store // (self.tiles if order is Order.STATIONARY else 1)
            self.input_cycles += count * load * input_passes
            self.dram_bytes += count * (load_bytes * input_passes + store_bytes)
            self.run_cycles += count * run
            self.store_cycles += count * store
        chunks = sum(count for _, count in kinds)
        weight_bytes = setting.shape.weight_bytes
        passes = chunks if order is Order.STREAMED else 1
        first = setting.shape.weight_prefix(tile, setting.fragment) if tile else weight_bytes
        self.tile_cycles = port.cycles(first) if weight_bytes else 0
        self.weight_cycles = self.tile_cycles * self.tiles * passes
        self.dram_bytes += weight_bytes * passes
        self.tail_run = self.run_cycles // (chunks * self.tiles)
        self.steps = chunks * self.tiles
        if order is Order.RESIDENT:
            self.steps = chunks + self.tiles - 1

    def _chunk(self, chunk: Chunk, first: bool) -> tuple[int, int, int, int, int]:
        """(load cycles, load bytes, RUN cycles, store cycles, store bytes) of one chunk: loads of
        one pass, RUNs and stores of all."""
        setting, port, shape = self.setting, self.port, self.setting.shape
        transfers = chunk_transfers(setting, chunk)
        load = sum(port.cycles(size, runs) for _, size, runs in transfers)
        load_bytes = sum(size * runs for _, size, runs in transfers)
        whole = (0, setting.blocks)
        if self.order is Order.STATIONARY:
            run = store = 0
            for blocks, count in self.kinds:
                channels = setting.channels(blocks)
                run += count * chunk_run_cycles(setting, chunk, blocks, channels)
                size, runs = store_transfer(setting, chunk, channels)
                store += count * (port.cycles(size, runs) if size else 0)
        else:
            kinds = self.kinds if self.order is Order.STREAMED or first else [(whole, 1)]
            part = chunk.without_output()
            run = sum(n * chunk_run_cycles(setting, part, b, shape.k) for b, n in kinds)
            run += chunk_run_cycles(setting, chunk, whole, shape.k)
            run -= chunk_run_cycles(setting, part, whole, shape.k)
            size, runs = store_transfer(setting, chunk, shape.k)
            store = port.cycles(size, runs) if size else 0
        size, runs = store_transfer(setting, chunk, shape.k)
        return load, load_bytes, run, store, size * runs

    def latency(self, inputs: int, outputs: int) -> int:
        """Cycles of the task alone: what cannot overlap, then the larger of DMA and array."""
        head = self.first_input + self.tile_cycles
        dma = self.input_cycles + self.weight_cycles + self.store_cycles
        serial = self.run_cycles
        if inputs == 1:
            serial += self.input_cycles - self.first_input
        if outputs == 1:
            serial += self.store_cycles - self.last_store
        return head + max(serial, dma - head - self.last_store + self.tail_run) + self.last_store


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


def tiling_ladder(setting: TaskSetting, port: Port, long: bool) -> tuple[Tiling, ...]:
    """The tilings worth choosing, by rising working set and falling cost (see
    ``TilingSearch.candidates`` for ``long``)."""
    found = [
        (t.sram_bytes, t.cost_cycles(port), t) for t in TilingSearch(setting, port).candidates(long)
    ]
    found.sort(key=lambda item: item[:2])
    ladder: list[Tiling] = []
    least = float("inf")
    for _, cost, tiling in found:
        if cost < least:
            ladder.append(tiling)
            least = cost
    return tuple(ladder)


def choose(ladder: tuple[Tiling, ...], sram_bytes: int, port: Port) -> Tiling | None:
    """The best tiling that fits, or one within ``SLACK`` of its cost that is smaller (which leaves
    room for prefetching) and has few steps; None where none fits."""
    fitting = [t for t in ladder if t.sram_bytes <= sram_bytes]
    if not fitting:
        return None
    limit = SLACK * fitting[-1].cost_cycles(port)
    close = (t for t in fitting if t.cost_cycles(port) <= limit)
    return min(close, key=lambda t: t.sram_bytes * (1 + t.steps / 2))
