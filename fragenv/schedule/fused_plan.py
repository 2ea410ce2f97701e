"""A fused task written out: every RUN of every layer, its transfers, and what each waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fragenv.schedule.fused import (
    FusedSetting,
    FusedTiling,
    Ring,
    inner_wires,
    layer_cycles,
    loaded_wires,
    row_plan,
)
from fragenv.schedule.layers import Wire
from fragenv.schedule.steps import Step, TaskPlan, Transfer
from fragenv.schedule.tiling import Order, Port, TaskSetting, Tiling


class FusedStep(NamedTuple):
    """One RUN of one layer. The waits are indices of earlier steps of the task whose RUNs must be
    over: before this RUN, and before its inputs are loaded. ``loads``: of each input transfer, the
    number among what the layer reads, and rows."""

    layer: int
    step: Step
    run_waits: tuple[int, ...]
    input_waits: tuple[int, ...]
    loads: tuple[tuple[int, tuple[int, int]], ...]


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """A layer of a written out task, as the plan of a task that it is for its circuit."""

    setting: TaskSetting
    tiling: Tiling
    steps: tuple[Step, ...]
    #: per source and residual: the ring that it is read from, None for a kept tensor
    reads: tuple[Ring | None, ...]
    #: the ring that the layer writes, None where its output leaves the task
    writes: Ring | None


class FusedPlan:
    """A setting with its tiling, written out once and shared by all states that use it.

    Offers what ``TaskPlan`` offers to placing.
    """

    #: every RUN finishes its sums
    holds = False

    def __init__(self, setting: FusedSetting, tiling: FusedTiling, port: Port) -> None:
        self.setting, self.tiling = setting, tiling
        writer = _Writer(setting, tiling, port)
        self.fused = tuple(writer.steps)
        self.steps = tuple(s.step for s in self.fused)
        self.layers = tuple(writer.layer_plan(i) for i in range(len(setting.shape.layers)))
        self.run_cycles = sum(s.run_cycles for s in self.steps)
        self.weight_read_bytes = sum(s.weights.bytes for s in self.steps if s.weights)
        self.dram_read_bytes = self.weight_read_bytes + sum(
            t.bytes for s in self.steps for t in s.inputs
        )
        self.dram_write_bytes = sum(s.store.bytes for s in self.steps if s.store)
        self.transfers = sum(
            (s.weights is not None) + bool(s.inputs) + (s.store is not None) for s in self.steps
        )
        self.transfer_cycles = sum(
            s.weight_cycles + s.input_cycles + s.store_cycles for s in self.steps
        )
        self.units = len(set(setting.units))
        self.unit_cycles = tuple(
            sum(s.step.run_cycles for s in self.fused if setting.units[s.layer] == unit)
            for unit in range(self.units)
        )
        self.table = np.array([writer.row(s) for s in self.fused], dtype=np.int64)
        self.run_waits = _padded([s.run_waits for s in self.fused])
        self.input_waits = _padded([s.input_waits for s in self.fused])

    def deeper_plans(self, sram_bytes: int) -> list[TaskPlan]:
        """None: all weights are there before the first RUN."""
        return []


def _padded(waits: list[tuple[int, ...]]) -> npt.NDArray[np.int64]:
    """(steps, most waits of a step), filled with -1."""
    table = np.full((len(waits), max(map(len, waits))), -1, dtype=np.int64)
    for i, row in enumerate(waits):
        table[i, : len(row)] = row
    return table


class _Writer:
    def __init__(self, setting: FusedSetting, tiling: FusedTiling, port: Port) -> None:
        self.setting, self.tiling, self.port = setting, tiling, port
        self.shape = setting.shape
        self.plan = row_plan(setting.shape, tiling.rows)
        self.settings = [setting.layer(i) for i in range(len(self.shape.layers))]
        self.cycles = [layer_cycles(self.plan, i, s) for i, s in enumerate(self.settings)]
        self.rings = {w: self.plan.ring(w, tiling.loads_ahead) for w in loaded_wires(setting)}
        inner = inner_wires(self.shape)
        self.rings |= {w: self.plan.ring(w, tiling.layers_ahead) for w in inner}
        self.outputs = [i for i, layer in enumerate(self.shape.layers) if layer.leaves]
        self.steps: list[FusedStep] = []
        #: per layer: (tile counted over all frames, step) of its RUNs, and steps that stored
        self.ran: list[list[tuple[int, int]]] = [[] for _ in self.shape.layers]
        self.stored: list[list[int]] = [[] for _ in self.shape.layers]
        #: step whose RUN waited for the last rows of an input
        self.loader: dict[Wire, int] = {}
        for frame in range(setting.batch):
            for tile in range(self.plan.tiles):
                for layer in range(len(self.shape.layers)):
                    self._step(layer, tile, frame)

    def _last_before(self, layer: int, tile: int) -> int:
        """The last RUN of a layer for a tile before ``tile``; -1 for none."""
        return next((step for t, step in reversed(self.ran[layer]) if t < tile), -1)

    def _freed(self, wire: Wire, tile: int, ahead: int) -> set[int]:
        """RUNs after which a ring has room for the rows of a tile."""
        return {self._last_before(c, tile - ahead) for c, _ in self.shape.readers[wire]}

    def _step(self, number: int, tile: int, frame: int) -> None:
        chunk = self.plan.chunk(number, tile, frame)
        if chunk is None:
            return
        layer, setting = self.shape.layers[number], self.settings[number]
        at = frame * self.plan.tiles + tile
        waits = {self._last_before(number, at)}
        input_waits: set[int] = set()
        inputs: list[Transfer] = []
        loads: list[tuple[int, tuple[int, int]]] = []
        for position, wire in enumerate(layer.reads):
            if wire.inside:
                waits.add(self._last_before(wire.index, at + 1))
            elif wire in self.rings:
                first, last = self._new_rows(number, position, wire, tile)
                if first < last:
                    size = (last - first) * self.rings[wire].row_bytes
                    inputs.append(Transfer(wire.index, size, 1, self.port.cycles(size)))
                    loads.append((position, (first, last)))
                    input_waits |= self._freed(wire, at, self.tiling.loads_ahead)
                    self.loader[wire] = len(self.steps)
                elif self.loader.get(wire, -1) != len(self.steps):
                    # nothing is loaded while all windows lie in the padding
                    waits.add(self.loader.get(wire, -1))
        if not layer.leaves:
            waits |= self._freed(Wire(True, number), at, self.tiling.layers_ahead)
        weights = None
        if layer.shape.weight_bytes and not self.ran[number]:
            size = layer.shape.weight_bytes
            weights = Transfer(-1, size, 1, self.port.cycles(size))
        store, store_wait = None, -1
        if layer.leaves and not self.setting.keep_output:
            size = (chunk.out_rows[1] - chunk.out_rows[0]) * layer.shape.out_row_bytes
            store = Transfer(-1, size, 1, self.port.cycles(size))
            done = self.stored[number]
            if len(done) >= self.tiling.output_buffers:
                store_wait = done[-self.tiling.output_buffers]
            done.append(len(self.steps))
        step = Step(
            chunk=chunk,
            blocks=(0, setting.blocks),
            weights=weights,
            inputs=tuple(inputs),
            run_cycles=self.cycles[number][tile],
            store=store,
            finishes=True,
            weight_wait=-1,
            input_wait=-1,
            store_wait=store_wait,
            weight_cycles=weights.cycles if weights else 0,
            input_cycles=sum(t.cycles for t in inputs),
            store_cycles=store.cycles if store else 0,
        )
        self.ran[number].append((at, len(self.steps)))
        self.steps.append(
            FusedStep(
                number,
                step,
                tuple(sorted(waits - {-1})),
                tuple(sorted(input_waits - {-1})),
                tuple(loads),
            )
        )

    def _new_rows(self, number: int, position: int, wire: Wire, tile: int) -> tuple[int, int]:
        """The rows of an input that a tile is the first to need, for the layer that is the first
        to read them; none for others."""
        readers = (
            (c, n)
            for c, n in self.shape.readers[wire]
            if self.plan.done[tile][c] > self.plan.before(tile)[c]
        )
        if (number, position) != next(readers):
            return 0, 0
        return self.plan.there(wire, tile - 1) if tile else 0, self.plan.there(wire, tile)

    def row(self, fused: FusedStep) -> tuple[int, ...]:
        """What placing reads of a step, see ``placement.FIRST_FRAME`` and the following."""
        step, layer = fused.step, self.shape.layers[fused.layer]
        kept = {w.index for w in layer.reads if not w.inside} - set(self.setting.loaded)
        return (
            *step.chunk.frames,
            step.weight_cycles,
            step.weight_wait,
            step.input_cycles,
            step.input_wait,
            sum(1 << t.source for t in step.inputs),
            sum(1 << i for i in kept),
            self.setting.units[fused.layer],
            step.run_cycles,
            step.store_cycles,
            step.store_wait,
            self.outputs.index(fused.layer) if layer.leaves else -1,
        )

    def layer_plan(self, number: int) -> LayerPlan:
        layer = self.shape.layers[number]
        rows = self.plan.most_rows(number)
        stores = layer.leaves and not self.setting.keep_output
        shape, setting = layer.shape, self.settings[number]
        outputs = self.tiling.output_buffers
        output_bytes = outputs * rows * shape.out_row_bytes if stores else 0
        tiling = Tiling(
            order=Order.RESIDENT,
            chunk_frames=1,
            chunk_rows=rows,
            col_parts=1,
            tile_blocks=setting.blocks,
            cached=False,
            input_buffers=1,
            output_buffers=outputs,
            weight_buffer_bytes=shape.weight_bytes,
            input_buffer_bytes=0,
            row_buffer_bytes=shape.row_buffer_pixels(rows) * shape.k,
            output_buffer_bytes=output_bytes,
            latency_cycles=0,
            dram_bytes=0,
            first_frame_cycles=0,
            steps=len(self.ran[number]),
            streams=False,
        )
        steps = tuple(self.steps[i].step for _, i in self.ran[number])
        reads = tuple(self.rings.get(wire) for wire in layer.reads)
        return LayerPlan(setting, tiling, steps, reads, self.rings.get(Wire(True, number)))
