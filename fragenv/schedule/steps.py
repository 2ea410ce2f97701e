"""Steps: a tiling written out, one RUN each, with the transfers before and after it."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fragenv.schedule.tiling import (
    Chunk,
    Order,
    Port,
    TaskSetting,
    Tiling,
    chunk_run_cycles,
    chunk_transfers,
    chunks_of,
    store_transfer,
)


class Transfer(NamedTuple):
    """One LOAD or STORE: ``runs`` pieces of ``run_bytes`` contiguous bytes."""

    #: index among the task's sources and residuals; -1 for weights and outputs
    source: int
    run_bytes: int
    runs: int
    cycles: int

    @property
    def bytes(self) -> int:
        return self.run_bytes * self.runs


class Step(NamedTuple):
    """One RUN over weight blocks [blocks[0], blocks[1]) and the rows of ``chunk``.

    The three waits are indices of earlier steps, -1 for none: the weights may be loaded when the
    RUN of ``weight_wait`` is over, the inputs when that of ``input_wait`` is, and the RUN may start
    when the STORE of ``store_wait`` is over (each frees the buffer that is written again).
    """

    chunk: Chunk
    blocks: tuple[int, int]
    weights: Transfer | None
    inputs: tuple[Transfer, ...]
    run_cycles: int
    store: Transfer | None
    #: whether the chunk's outputs are complete (their channels of this pass) after this RUN
    finishes: bool
    weight_wait: int
    input_wait: int
    store_wait: int
    weight_cycles: int
    input_cycles: int
    store_cycles: int


#: plans that are kept in the process, up to some tens of kilobytes each
PLANS_HELD = 2048


class TaskPlan:
    """A setting with its tiling, written out once and shared by all states that use it."""

    def __init__(self, setting: TaskSetting, tiling: Tiling, port: Port) -> None:
        self.setting, self.tiling, self.port = setting, tiling, port
        #: circuits that it runs on
        self.units = 1
        self.steps = _write_out(setting, tiling, port)
        self.run_cycles = sum(s.run_cycles for s in self.steps)
        self.weight_read_bytes = sum(s.weights.bytes for s in self.steps if s.weights)
        self.dram_read_bytes = self.weight_read_bytes + sum(
            t.bytes for s in self.steps for t in s.inputs
        )
        self.dram_write_bytes = sum(s.store.bytes for s in self.steps if s.store)
        #: whether sums stay in the accumulators between RUNs
        per_group = setting.shape.blocks_per_group(setting.fragment)
        self.holds = per_group > 0 and any(s.blocks[1] % per_group for s in self.steps)
        #: LOADs and STOREs, those of a step's inputs counted as one
        self.transfers = sum(
            (s.weights is not None) + bool(s.inputs) + (s.store is not None) for s in self.steps
        )
        #: cycles of all LOADs and STOREs, and of the RUNs of each circuit
        self.transfer_cycles = sum(
            s.weight_cycles + s.input_cycles + s.store_cycles for s in self.steps
        )
        self.unit_cycles: tuple[int, ...] = (self.run_cycles,)
        #: what placing reads of each step, see ``placement.FIRST_FRAME`` and the following
        self.table: npt.NDArray[np.int64] = np.array(
            [
                (
                    *s.chunk.frames,
                    s.weight_cycles,
                    s.weight_wait,
                    s.input_cycles,
                    s.input_wait,
                    sum(1 << t.source for t in s.inputs),
                    setting.on_chip,
                    0,
                    s.run_cycles,
                    s.store_cycles,
                    s.store_wait,
                    0 if s.finishes else -1,
                )
                for s in self.steps
            ],
            dtype=np.int64,
        )
        #: steps whose RUNs are over before each RUN, and further ones before its input LOADs
        self.run_waits = np.arange(-1, len(self.steps) - 1, dtype=np.int64)[:, None]
        self.input_waits = np.empty((len(self.steps), 0), dtype=np.int64)

    def deeper_plans(self, sram_bytes: int) -> list[TaskPlan]:
        """This plan with more weight buffers, as far as its working set fits ``sram_bytes``: 4, 8,
        and so on up to all tiles. Only for a task that streams its weights through one chunk,
        which ends earlier by what was loaded before it could start; nothing for others."""
        plans: list[TaskPlan] = []
        plan = self
        # twice the buffers take as much again
        while plan._deepens and plan._sram_bytes + plan.tiling.weight_buffer_bytes <= sram_bytes:
            plan = plan._deeper
            plans.append(plan)
        return plans

    @cached_property
    def _sram_bytes(self) -> int:
        return self.tiling.sram_bytes

    @cached_property
    def _deepens(self) -> bool:
        tiling = self.tiling
        streams = tiling.streams and tiling.order is not Order.RESIDENT
        return streams and 2 * tiling.weight_buffers <= len(self.steps)

    @cached_property
    def _deeper(self) -> TaskPlan:
        deeper = self.tiling.deepened(2 * self.tiling.weight_buffers)
        return written_out(self.setting, deeper, self.port)


@lru_cache(maxsize=PLANS_HELD)
def written_out(setting: TaskSetting, tiling: Tiling, port: Port) -> TaskPlan:
    """The plan of a tiling, held for other problems that ask for the same."""
    return TaskPlan(setting, tiling, port)


def _write_out(setting: TaskSetting, tiling: Tiling, port: Port) -> tuple[Step, ...]:
    shape = setting.shape
    chunks = chunks_of(
        shape, setting.batch, tiling.chunk_frames, tiling.chunk_rows, tiling.col_parts
    )
    total = setting.blocks
    tiles = [(0, total)]
    if tiling.tile_blocks:
        size = tiling.tile_blocks
        tiles = [(b, min(total, b + size)) for b in range(0, total, size)]
    writer = _Writer(setting, tiling, port)
    if tiling.order is Order.STATIONARY:
        for number, tile in enumerate(tiles):
            for chunk in chunks:
                writer.step(chunk, tile, number, first=True, last=True)
    elif tiling.order is Order.STREAMED:
        for i, chunk in enumerate(chunks):
            for j, tile in enumerate(tiles):
                number = i * len(tiles) + j
                writer.step(chunk, tile, number, first=j == 0, last=j == len(tiles) - 1)
    else:
        for i, chunk in enumerate(chunks):
            for j, tile in enumerate(tiles if i == 0 else [(0, total)]):
                writer.step(chunk, tile, j, first=j == 0, last=i > 0 or j == len(tiles) - 1)
    return tuple(writer.steps)


class _Writer:
    def __init__(self, setting: TaskSetting, tiling: Tiling, port: Port) -> None:
        self.setting, self.tiling, self.port = setting, tiling, port
        self.steps: list[Step] = []
        self.loaded_tile = -1
        #: last step that used each weight tile, each chunk (in the order of their loads), and
        #: the step that stored each chunk
        self.tile_users: dict[int, int] = {}
        self.chunk_users: list[int] = []
        self.chunk_stores: list[int] = []

    def step(
        self, chunk: Chunk, blocks: tuple[int, int], number: int, first: bool, last: bool
    ) -> None:
        """Append one RUN; ``number`` counts weight tiles in the order of their loads; ``first`` and
        ``last`` say whether it is the chunk's first and last RUN of this pass."""
        setting, tiling, shape = self.setting, self.tiling, self.setting.shape
        index = len(self.steps)
        stationary = tiling.order is Order.STATIONARY
        weights, weight_wait = None, -1
        if shape.array is not None and number > self.loaded_tile:
            size = shape.weight_prefix(blocks[1], setting.fragment) - shape.weight_prefix(
                blocks[0], setting.fragment
            )
            weights = Transfer(-1, size, 1, self.port.cycles(size))
            self.loaded_tile = number
            if tiling.order is not Order.RESIDENT:
                weight_wait = self.tile_users.get(number - tiling.weight_buffers, -1)
        inputs: tuple[Transfer, ...] = ()
        input_wait = store_wait = -1
        if first:
            if not (tiling.cached and number > 0):
                inputs = tuple(
                    Transfer(source, size, runs, self.port.cycles(size, runs))
                    for source, size, runs in chunk_transfers(setting, chunk)
                )
            if not tiling.cached and len(self.chunk_users) >= tiling.input_buffers:
                input_wait = self.chunk_users[-tiling.input_buffers]
            if not setting.keep_output and len(self.chunk_stores) >= tiling.output_buffers:
                store_wait = self.chunk_stores[-tiling.output_buffers]
            self.chunk_users.append(index)
        channels = setting.channels(blocks) if stationary else shape.k
        store = None
        if last:
            size, runs = store_transfer(setting, chunk, channels)
            if size:
                store = Transfer(-1, size, runs, self.port.cycles(size, runs))
                self.chunk_stores.append(index)
        ran = chunk if last else chunk.without_output()
        self.steps.append(
            Step(
                chunk=chunk,
                blocks=blocks,
                weights=weights,
                inputs=inputs,
                run_cycles=chunk_run_cycles(setting, ran, blocks, channels),
                store=store,
                finishes=last,
                weight_wait=weight_wait,
                input_wait=input_wait,
                store_wait=store_wait,
                weight_cycles=weights.cycles if weights else 0,
                input_cycles=sum(t.cycles for t in inputs),
                store_cycles=store.cycles if store else 0,
            )
        )
        self.tile_users[number] = index
        self.chunk_users[-1] = index
