"""The exact search for the best tiling: every tiling of the family, evaluated in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TypeVar

from fragenv.hardware.timing import ACC_PIXELS, ceil_div
from fragenv.schedule.fused import FusedTiling
from fragenv.schedule.tiling import (
    Chunk,
    Order,
    Port,
    TaskSetting,
    Tiling,
    chunk_run_cycles,
    chunk_transfers,
    chunks_of,
    input_rows,
    ladder_of,
    store_transfer,
)

#: tilings with more steps than this are looked at only where none with fewer fits, so that programs
#: stay short; more are allowed where the weights stream through one chunk, most where they are used
#: faster than they arrive
MAX_STEPS = 16
MAX_STEPS_PER_FRAME = 4
MAX_ONE_CHUNK_STEPS = 64
MAX_STREAM_STEPS = 256
#: a smaller working set is preferred while it costs at most this factor more
SLACK = 1.02
#: settings whose tilings are kept in the process; a network has hundreds, each a few kilobytes
SETTINGS_HELD = 8192


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
        self._key: tuple[int, int, int, int, Order, bool] | None = None
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
                        limit = MAX_STREAM_STEPS if tiling.streams else MAX_ONE_CHUNK_STEPS
                        if max_steps is None or steps <= (limit if count == 1 else max_steps):
                            yield tiling

    def smallest_bytes(self) -> int:
        """The working set of the smallest tiling: one row (or a part of it) at a time."""
        shape, setting = self.shape, self.setting
        least = None
        parts_options = [1] if shape.pool_window or shape.array is None else [1, 2, 4, 8, 16]
        for parts in parts_options:
            if parts > shape.out_cols:
                continue
            pixels = shape.pool.needed(1) * shape.array_cols
            tile = _tile_options(setting, pixels <= ACC_PIXELS)[-1] if shape.array else 0
            chunks = setting.batch * shape.out_rows * parts
            for order, cached in self._orders(tile, chunks, True):
                size = sum(self._sizes(1, 1, parts, tile, order, cached, 1, 1))
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

    def _sizes(
        self,
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
        weights = self.weight_bytes
        if order is not Order.RESIDENT:
            weights = 2 * shape.weight_prefix(min(tile, self.blocks), setting.fragment)
        channels = setting.channels((0, tile)) if order is Order.STATIONARY else shape.k
        ring, residual = input_rows(setting, frames, rows, inputs, cached)
        in_bytes = ring * self.source_row_bytes + residual * self.residual_row_bytes
        row_pixels = frames * shape.row_buffer_pixels(rows)
        out_pixels = frames * rows * ceil_div(shape.out_cols, parts)
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
            frames, rows, parts, tile, order, cached, inputs, outputs
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

    def _totals(
        self,
        chunks: list[Chunk],
        frames: int,
        rows: int,
        parts: int,
        tile: int,
        order: Order,
        cached: bool,
    ) -> _Totals:
        """Totals do not depend on the number of buffers; the last ones are kept."""
        key = (frames, rows, parts, tile, order, cached)
        if key != self._key:
            self._key = key
            kinds = self._chunk_kinds(chunks)
            self._last = _Totals(self.setting, self.port, kinds, tile, order, cached)
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


@lru_cache(maxsize=SETTINGS_HELD)
def tiling_ladder(setting: TaskSetting, port: Port, long: bool) -> tuple[Tiling, ...]:
    """The tilings worth choosing, by rising working set and falling cost (see
    ``TilingSearch.candidates`` for ``long``). Held for other problems that ask for the same."""
    return ladder_of(TilingSearch(setting, port).candidates(long), port)


@lru_cache(maxsize=SETTINGS_HELD)
def smallest_bytes(setting: TaskSetting, port: Port) -> int:
    """``TilingSearch.smallest_bytes``, held like the ladders."""
    return TilingSearch(setting, port).smallest_bytes()


AnyTiling = TypeVar("AnyTiling", Tiling, FusedTiling)


def choose(ladder: tuple[AnyTiling, ...], sram_bytes: int, port: Port) -> AnyTiling | None:
    """The best tiling that fits, or one within ``SLACK`` of its cost that is smaller (which leaves
    room for prefetching) and has few steps; None where none fits."""
    fitting = [t for t in ladder if t.sram_bytes <= sram_bytes]
    if not fitting:
        return None
    limit = SLACK * fitting[-1].cost_cycles(port)
    close = (t for t in fitting if t.cost_cycles(port) <= limit)
    return min(close, key=lambda t: t.sram_bytes * (1 + t.steps / 2))


def chosen_tilings(
    ladder: tuple[AnyTiling, ...], least_bytes: int, most_bytes: int, port: Port
) -> list[AnyTiling]:
    """What ``choose`` gives for any room from ``least_bytes`` to ``most_bytes``, without
    repetition."""
    rooms = {least_bytes, *(t.sram_bytes for t in ladder if t.sram_bytes > least_bytes)}
    found = [choose(ladder, room, port) for room in sorted(rooms) if room <= most_bytes]
    return list(dict.fromkeys(t for t in found if t is not None))
