"""What a fused task must do, row by row and operator by operator: an independent reference.

Nothing here uses the shapes, rings or plans of the scheduler but to compare with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import POOL_KINDS, Operator, OpKind
from fragenv.schedule.fused import Ring
from fragenv.schedule.fused_plan import FusedPlan
from fragenv.schedule.layers import FusedPattern
from fragenv.schedule.tiling import Chunk

#: a row: frame and number
Row = tuple[int, int]


def rows_read(op: Operator, row: int) -> set[int]:
    """The input rows in the window of an output row."""
    if op.kind is not OpKind.CONV and op.kind not in POOL_KINDS:
        return {row}
    nest = op.nest
    first = row * nest.stride[0] - nest.padding[0]
    return {first + i * nest.dilation[0] for i in range(nest.r)} & set(range(nest.h))


def chain_reads(
    graph: DataflowGraph,
    parts: Mapping[str, tuple[str, ...]],
    operators: tuple[str, ...],
    chunk: Chunk,
) -> tuple[dict[str, set[int]], set[int]]:
    """Rows of each tensor that a chain reads for a chunk, and the rows that its pool reads of what
    comes before it in the chain. Of those only the chunk's own are computed; the others are there
    from before."""
    reads: dict[str, set[int]] = {}
    pooled: set[int] = set()
    needed = set(range(*chunk.out_rows))
    for number in reversed(range(len(operators))):
        op = graph.op(operators[number])
        read = {i for row in needed for i in rows_read(op, row)}
        before = graph.op(operators[number - 1]).output if number else None
        for tensor in op.inputs:
            for part in parts.get(tensor, (tensor,)):
                if part != before:
                    reads.setdefault(part, set()).update(read)
        if number and op.kind in POOL_KINDS:
            pooled, read = read, set(range(*chunk.array_rows))
        needed = read
    return reads, pooled


@dataclass
class RingUse:
    """Who wrote each row of a ring, and which nodes read it."""

    ring: Ring
    writers: dict[Row, list[int]] = field(default_factory=dict)
    readers: dict[Row, list[int]] = field(default_factory=dict)


class Replay:
    """A plan's commands as a graph: LOAD, RUN and STORE of step i are nodes 3i, 3i + 1, 3i + 2.
    Only waits order them, whatever their durations and the order of the units."""

    def __init__(
        self,
        graph: DataflowGraph,
        parts: Mapping[str, tuple[str, ...]],
        pattern: FusedPattern,
        plan: FusedPlan,
    ) -> None:
        self.graph, self.parts, self.pattern, self.plan = graph, parts, pattern, plan
        self.before = self._closure()
        self.rings = self._uses()

    def _closure(self) -> list[int]:
        """Per node the set of nodes that are over when it starts, as bits."""
        before = [0] * (3 * len(self.plan.fused))

        def after(node: int, others: Iterable[int]) -> None:
            for other in others:
                assert other < node, "a wait for something later"
                before[node] |= before[other] | 1 << other

        for i, one in enumerate(self.plan.fused):
            after(3 * i, (3 * w + 1 for w in one.input_waits))
            after(3 * i + 1, (3 * w + 1 for w in one.run_waits))
            after(3 * i + 1, [3 * i])
            if one.step.store_wait >= 0:
                after(3 * i + 1, [3 * one.step.store_wait + 2])
            after(3 * i + 2, [3 * i + 1])
        return before

    def ordered(self, first: int, second: int) -> bool:
        """Whether a node is over whenever another one starts."""
        return bool(self.before[second] >> first & 1)

    def tensor(self, layer: int, read: int) -> str:
        """The tensor that a layer reads."""
        wire = self.pattern.shape.layers[layer].reads[read]
        return (self.pattern.tensors if wire.inside else self.pattern.inputs)[wire.index]

    def _uses(self) -> dict[str, RingUse]:
        uses: dict[str, RingUse] = {}
        for number, layer in enumerate(self.plan.layers):
            for read, ring in enumerate(layer.reads):
                if ring is not None:
                    use = uses.setdefault(self.tensor(number, read), RingUse(ring))
                    assert use.ring == ring
        for i, one in enumerate(self.plan.fused):
            (frame, _), made = one.step.chunk.frames, one.step.chunk.out_rows
            for read, rows in one.loads:
                use = uses[self.tensor(one.layer, read)]
                for row in range(*rows):
                    use.writers.setdefault((frame, row), []).append(3 * i)
            own = self.pattern.tensors[one.layer]
            assert (own in uses) == (self.plan.layers[one.layer].writes is not None)
            if own in uses:
                assert self.plan.layers[one.layer].writes == uses[own].ring
                for row in range(*made):
                    uses[own].writers.setdefault((frame, row), []).append(3 * i + 1)
            operators = self.pattern.operators[one.layer]
            reads, _ = chain_reads(self.graph, self.parts, operators, one.step.chunk)
            for tensor, numbers in reads.items():
                if tensor in uses:
                    for row in numbers:
                        uses[tensor].readers.setdefault((frame, row), []).append(3 * i + 1)
        return uses

    def check_rings(self) -> None:
        """Every row is written once, before all that read it, and overwritten after them."""
        for tensor, use in self.rings.items():
            places: dict[int, list[Row]] = {}
            for (frame, row), writers in use.writers.items():
                assert len(writers) == 1, f"row {row} of '{tensor}' is written twice"
                places.setdefault((frame * use.ring.frame_rows + row) % use.ring.rows, []).append(
                    (frame, row)
                )
            for key, readers in use.readers.items():
                assert key in use.writers, f"row {key} of '{tensor}' is never written"
                for reader in readers:
                    assert self.ordered(use.writers[key][0], reader), (tensor, key, "too late")
            for rows in places.values():
                rows.sort()
                for old, new in pairwise(rows):
                    writer = use.writers[new][0]
                    for earlier in [*use.readers.get(old, []), *use.writers[old]]:
                        assert self.ordered(earlier, writer), (tensor, old, new, "overwritten")

    def check_layers(self) -> None:
        """Every layer makes every row once, in order; rows between its stages stay as long as its
        pool needs them; output buffers are empty when they are filled again."""
        for number, layer in enumerate(self.plan.layers):
            steps = [i for i, one in enumerate(self.plan.fused) if one.layer == number]
            rows_out = self.graph.tensors[self.pattern.tensors[number]].shape[1]
            for first, second in pairwise(steps):
                assert self.ordered(3 * first + 1, 3 * second + 1)
            chunks = [self.plan.fused[i].step.chunk for i in steps]
            for frame in range(self.plan.setting.batch):
                own = [c for c in chunks if c.frames == (frame, frame + 1)]
                assert [r for c in own for r in range(*c.out_rows)] == list(range(rows_out))
                self._check_row_buffer(number, own)
            stores = [i for i in steps if self.plan.steps[i].store is not None]
            buffers = layer.tiling.output_buffers
            for old, new in zip(stores, stores[buffers:], strict=False):
                assert self.ordered(3 * old + 2, 3 * new + 1)

    def _check_row_buffer(self, number: int, chunks: list[Chunk]) -> None:
        layer, operators = self.plan.layers[number], self.pattern.operators[number]
        if not layer.tiling.row_buffer_bytes:
            return
        shape = layer.setting.shape
        places = layer.tiling.row_buffer_bytes // (shape.array_cols * shape.k)
        made = 0
        for chunk in chunks:
            assert chunk.array_rows[0] == made
            made = chunk.array_rows[1]
            _, pooled = chain_reads(self.graph, self.parts, operators, chunk)
            assert not pooled or max(pooled) < made
            assert not pooled or made - min(pooled) <= places
