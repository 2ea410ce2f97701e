"""Fused tasks: several layers that pass rows to one another through rings in the tensor buffer.

The rows of the outputs are cut into tiles. For every tile each layer computes the rows that the
tile needs and that were not computed for the tile before, so that nothing is computed twice and no
halo is loaded twice (line buffers between layers: Alwani et al., "Fused-layer CNN accelerators",
MICRO 2016). Weights of all layers stay in the buffer from their first use to the end of the task.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from fragenv.hardware.fragment import Fragment
from fragenv.hardware.timing import ceil_div
from fragenv.schedule.layers import FusedShape, Wire
from fragenv.schedule.tiling import Chunk, Port, TaskSetting, chunk_run_cycles, ladder_of

#: tiles of a frame worth trying: the fewest rows for each number
TILES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
#: RUNs of a task; finer tiles only where no coarser ones fit
MAX_FUSED_STEPS = 512


@dataclass(frozen=True, slots=True)
class FusedSetting:
    """A fused task as the search sees it.

    ``circuits``: that of each layer; layers with equal ``units`` share one and take turns.
    """

    shape: FusedShape
    circuits: tuple[Fragment, ...]
    units: tuple[int, ...]
    batch: int
    #: bit i: input i is on the chip
    on_chip: int
    keep_output: bool

    def layer(self, index: int) -> TaskSetting:
        """A layer as a task: what it reads in rings or kept tensors counts as on the chip."""
        layer = self.shape.layers[index]
        everything = (1 << len(layer.reads)) - 1
        keeps = self.keep_output or not layer.leaves
        return TaskSetting(layer.shape, self.circuits[index], self.batch, everything, keeps)

    @property
    def loaded(self) -> tuple[int, ...]:
        """Inputs that are loaded from DRAM."""
        return tuple(i for i in range(len(self.shape.inputs)) if not self.on_chip >> i & 1)


@dataclass(frozen=True, slots=True)
class Ring:
    """Rows of a tensor on their way through the buffer: ``rows`` of them at a time,
    ``frame_rows`` of each frame, one frame after the other."""

    rows: int
    frame_rows: int
    row_bytes: int

    @property
    def bytes(self) -> int:
        return self.rows * self.row_bytes


@dataclass(frozen=True, slots=True)
class FusedTiling:
    """How a fused task is cut. Sizes in bytes of the chip's buffer."""

    #: output rows of a tile
    rows: int
    #: tiles by which loads run ahead, and layers run ahead of those that read them
    loads_ahead: int
    layers_ahead: int
    output_buffers: int
    sram_bytes: int
    #: closed-form estimates by which tilings are compared
    latency_cycles: int
    dram_bytes: int
    #: RUNs of the task
    steps: int

    def cost_cycles(self, port: Port) -> float:
        """Latency, and the time that the bytes take of the DRAM port which all tasks share."""
        return self.latency_cycles + self.dram_bytes / port.bytes_per_cycle


class RowPlan:
    """Which rows each layer computes for each tile of a frame, ``rows`` output rows per tile."""

    def __init__(self, shape: FusedShape, rows: int) -> None:
        self.shape, self.rows = shape, rows
        self.tiles = ceil_div(shape.out_rows, rows)
        #: per tile and layer: output rows [0, n) that are done after the tile
        self.done = tuple(self._done(t) for t in range(self.tiles))
        self._nothing = (0,) * len(shape.layers)
        #: per tensor and tile: rows [0, n) of a frame that are there for the tile
        self._there = {wire: self._rows_of(wire) for wire in shape.readers}
        self._rings: dict[tuple[Wire, int], Ring] = {}

    def _done(self, tile: int) -> tuple[int, ...]:
        layers = self.shape.layers
        done = [0] * len(layers)
        for i in reversed(range(len(layers))):
            if layers[i].leaves:
                done[i] = min(self.shape.out_rows, (tile + 1) * self.rows)
            elif tile == self.tiles - 1:
                done[i] = layers[i].shape.out_rows
            else:
                readers = self.shape.readers[Wire(True, i)]
                done[i] = max(layers[c].needed(n, done[c]) for c, n in readers)
        return tuple(done)

    def _rows_of(self, wire: Wire) -> list[int]:
        if wire.inside:
            return [done[wire.index] for done in self.done]
        readers, layers = self.shape.readers[wire], self.shape.layers
        return [max(layers[c].needed(n, done[c]) for c, n in readers) for done in self.done]

    def before(self, tile: int) -> tuple[int, ...]:
        """Output rows of each layer that are done before a tile."""
        return self.done[tile - 1] if tile else self._nothing

    def most_rows(self, layer: int) -> int:
        """The most output rows that a layer computes for one tile."""
        return max(self.done[t][layer] - self.before(t)[layer] for t in range(self.tiles))

    def there(self, wire: Wire, tile: int) -> int:
        """Rows [0, n) of a tensor that are there for a tile; tiles may be those of the next
        frame, whose rows follow."""
        frame, tile = divmod(tile, self.tiles)
        rows = self._there[wire]
        return frame * rows[-1] + rows[tile]

    def ring(self, wire: Wire, ahead: int) -> Ring:
        """The ring of a tensor whose maker is ``ahead`` tiles ahead of its readers."""
        if (wire, ahead) not in self._rings:
            self._rings[wire, ahead] = self._ring(wire, ahead)
        return self._rings[wire, ahead]

    def _ring(self, wire: Wire, ahead: int) -> Ring:
        readers, layers = self.shape.readers[wire], self.shape.layers
        frame_rows = self.there(wire, self.tiles - 1)
        most = 0
        for tile in range(self.tiles):
            done = self.before(tile)
            # also rows that a stride skips: their LOAD may come after the next tile's
            lowest = (layers[c].lowest(n, done[c]) for c, n in readers)
            first = min(self.there(wire, tile - 1), *lowest)
            most = max(most, self.there(wire, tile + ahead) - first)
        layer, number = readers[0]
        row_bytes = layers[layer].tensors[number].row_bytes
        return Ring(most, frame_rows, row_bytes)

    def chunk(self, layer: int, tile: int, frame: int) -> Chunk | None:
        """What a layer computes for a tile of a frame; None for nothing."""
        one = self.shape.layers[layer]
        first, last = self.before(tile)[layer], self.done[tile][layer]
        if first == last:
            return None
        array = one.array_rows(first), one.array_rows(last)
        residual = array if one.shape.residual_before_pool else (first, last)
        window = one.shape.window
        inputs = window.needed(array[0]), window.needed(array[1])
        cols = (0, one.shape.out_cols)
        return Chunk((frame, frame + 1), (first, last), array, inputs, residual, cols)


@lru_cache(maxsize=4096)
def row_plan(shape: FusedShape, rows: int) -> RowPlan:
    """The ``RowPlan`` of a shape, made once: it does not depend on circuits or on what is kept."""
    return RowPlan(shape, rows)


def layer_cycles(plan: RowPlan, layer: int, setting: TaskSetting) -> list[int]:
    """Cycles of the RUN of a layer for each tile of a frame; 0 where it computes nothing."""
    known: dict[tuple[int, ...], int] = {}
    result = []
    for tile in range(plan.tiles):
        chunk = plan.chunk(layer, tile, 0)
        if chunk is None:
            result.append(0)
            continue
        size = chunk.extents()
        if size not in known:
            known[size] = chunk_run_cycles(setting, chunk, (0, setting.blocks), setting.shape.k)
        result.append(known[size])
    return result


class FusedSearch:
    """The tilings of a fused task, each evaluated in closed form."""

    def __init__(self, setting: FusedSetting, port: Port) -> None:
        self.setting, self.port, self.shape = setting, port, setting.shape
        self._last: tuple[RowPlan, dict[int, int], dict[int, int]] | None = None

    @cached_property
    def _settings(self) -> list[TaskSetting]:
        return [self.setting.layer(i) for i in range(len(self.shape.layers))]

    def ladder(self) -> tuple[FusedTiling, ...]:
        """The tilings worth choosing, by rising working set and falling cost."""
        rows = self.shape.out_rows
        options = sorted({ceil_div(rows, n) for n in TILES if n <= rows} | {1}, reverse=True)
        shared = len(set(self.setting.units)) == 1
        found: list[FusedTiling] = []
        for count in options:
            plan = row_plan(self.shape, count)
            steps = plan.tiles * len(self.shape.layers) * self.setting.batch
            if steps > MAX_FUSED_STEPS and count > 1:
                continue
            for loads in (0, 1) if self.setting.loaded else (0,):
                for layers in (0,) if shared else (0, 1):
                    for outputs in (1,) if self.setting.keep_output else (1, 2):
                        found.append(self.evaluate(plan, loads, layers, outputs))
        return ladder_of(found, self.port)

    def smallest_bytes(self) -> int:
        """The working set with one row at a time."""
        return self._bytes(row_plan(self.shape, 1), 0, 0, 1)

    def _bytes(self, plan: RowPlan, loads: int, layers: int, outputs: int) -> int:
        """The working set: weights, rings, rows before pools, outputs."""
        setting, shape = self.setting, self.shape
        total = shape.weight_bytes
        total += sum(plan.ring(wire, loads).bytes for wire in loaded_wires(setting))
        total += sum(plan.ring(wire, layers).bytes for wire in inner_wires(shape))
        for i, layer in enumerate(shape.layers):
            most = plan.most_rows(i)
            total += layer.shape.row_buffer_pixels(most) * layer.shape.k
            if layer.leaves and not setting.keep_output:
                total += outputs * most * layer.shape.out_row_bytes
        return total

    def evaluate(self, plan: RowPlan, loads: int, layers: int, outputs: int) -> FusedTiling:
        """One tiling: its working set and its estimates."""
        setting, shape = self.setting, self.shape
        moved = 0
        if not setting.keep_output:
            moved += sum(layer.shape.out_bytes for layer in shape.layers if layer.leaves)
        for wire in loaded_wires(setting):
            ring = plan.ring(wire, loads)
            moved += ring.frame_rows * ring.row_bytes
        latency = self._latency(plan, loads, layers, outputs, moved)
        return FusedTiling(
            rows=plan.rows,
            loads_ahead=loads,
            layers_ahead=layers,
            output_buffers=outputs,
            sram_bytes=self._bytes(plan, loads, layers, outputs),
            latency_cycles=latency,
            dram_bytes=moved * setting.batch + shape.weight_bytes,
            steps=plan.tiles * len(shape.layers) * setting.batch,
        )

    def _latency(self, plan: RowPlan, loads: int, layers: int, outputs: int, moved: int) -> int:
        """Cycles of the task alone: the busiest unit or the DMA, and what cannot overlap."""
        setting, port = self.setting, self.port
        busy, first_tile = self._busy(plan)
        per_frame = max(busy.values()) if layers or len(busy) == 1 else sum(busy.values())
        weights = sum(port.cycles(s.shape.weight_bytes) for s in self._settings if s.blocks)
        transfers = len(loaded_wires(setting)) + (not setting.keep_output)
        dma = port.cycles(moved) + plan.tiles * transfers * port.cycles(1)
        waits = 0 if loads and (outputs > 1 or setting.keep_output) else dma
        fill = sum(first_tile.values()) if layers else 0
        return weights + fill + setting.batch * max(per_frame + waits, dma)

    def _busy(self, plan: RowPlan) -> tuple[dict[int, int], dict[int, int]]:
        """Cycles of each unit for a frame, and for its first tile; those of the last plan are
        kept, since they do not depend on the buffers."""
        if self._last is None or self._last[0] is not plan:
            busy: dict[int, int] = {}
            first_tile: dict[int, int] = {}
            for i, one in enumerate(self._settings):
                unit, cycles = self.setting.units[i], layer_cycles(plan, i, one)
                busy[unit] = busy.get(unit, 0) + sum(cycles)
                first_tile[unit] = first_tile.get(unit, 0) + cycles[0]
            self._last = plan, busy, first_tile
        return self._last[1:]


def loaded_wires(setting: FusedSetting) -> list[Wire]:
    """The inputs that pass through rings."""
    return [Wire(False, i) for i in setting.loaded]


def inner_wires(shape: FusedShape) -> list[Wire]:
    """The tensors between layers."""
    return [Wire(True, i) for i, layer in enumerate(shape.layers) if not layer.leaves]
