"""The layers of a fused pattern: the chains that one circuit each runs, and how they are wired.

A layer is a task of its own in all but its tensors: an array operator, or none, with the addition,
pool and activations behind it (``TaskShape``). Between layers rows stay on the chip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import POOL_KINDS, Operator, OpKind
from fragenv.schedule.shape import Source, TaskShape, task_shape

#: circuits of a fused fragment at most
MAX_LAYERS = 4


@dataclass(frozen=True, slots=True)
class Wire:
    """A tensor that a layer reads: the output of another layer, or input ``index`` of the task."""

    inside: bool
    index: int


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: the shape of its chain, what it reads (its sources, then its residuals), and
    whether its output leaves the task."""

    shape: TaskShape
    reads: tuple[Wire, ...]
    leaves: bool

    @property
    def tensors(self) -> tuple[Source, ...]:
        """Rows of what it reads, in the order of ``reads``."""
        return (*self.shape.sources, *self.shape.residuals)

    def array_rows(self, out_rows: int) -> int:
        """Rows of the first stage that the output rows [0, ``out_rows``) need."""
        return self.shape.pool.needed(out_rows)

    def needed(self, read: int, out_rows: int) -> int:
        """Rows of what it reads as number ``read`` that the output rows [0, ``out_rows``) need."""
        array = self.array_rows(out_rows)
        if read < len(self.shape.sources):
            return self.shape.window.needed(array)
        return array if self.shape.residual_before_pool else out_rows

    def lowest(self, read: int, out_rows: int) -> int:
        """The first row of it that is needed once the output rows [0, ``out_rows``) are done; the
        number of its rows where none is."""
        shape = self.shape
        source = read < len(shape.sources)
        done, total, window = out_rows, shape.out_rows, shape.pool
        # a pool without rows before it reads its windows where they come from
        if not shape.only_pool and (source or shape.residual_before_pool):
            done, total, window = self.array_rows(out_rows), shape.array_rows, shape.window
        if done == total:
            return self.tensors[read].rows
        return max(0, done * window.stride - window.padding) if source else done


@dataclass(frozen=True)
class FusedShape:
    """Layers in an order in which each comes after those that it reads; tensors have no names."""

    layers: tuple[Layer, ...]

    @cached_property
    def out_rows(self) -> int:
        """Rows of the outputs, which all have equally many."""
        return next(layer.shape.out_rows for layer in self.layers if layer.leaves)

    @cached_property
    def inputs(self) -> tuple[Source, ...]:
        """Rows of the task's inputs."""
        found = {
            wire.index: tensor
            for layer in self.layers
            for wire, tensor in zip(layer.reads, layer.tensors, strict=True)
            if not wire.inside
        }
        return tuple(found[i] for i in sorted(found))

    @property
    def weight_bytes(self) -> int:
        return sum(layer.shape.weight_bytes for layer in self.layers)

    @cached_property
    def readers(self) -> dict[Wire, list[tuple[int, int]]]:
        """Per tensor: (layer, number among what it reads) of all that read it."""
        found: dict[Wire, list[tuple[int, int]]] = {}
        for i, layer in enumerate(self.layers):
            for number, wire in enumerate(layer.reads):
                found.setdefault(wire, []).append((i, number))
        return found


@dataclass(frozen=True, slots=True)
class FusedPattern:
    """An occurrence as layers, with the names that its shape leaves out."""

    shape: FusedShape
    #: operators of each layer
    operators: tuple[tuple[str, ...], ...]
    inputs: tuple[str, ...]
    #: what each layer makes
    tensors: tuple[str, ...]


def split(
    graph: DataflowGraph,
    operators: Sequence[str],
    parts: Mapping[str, tuple[str, ...]],
    max_layers: int = MAX_LAYERS,
) -> FusedPattern | None:
    """The layers of an occurrence; None where it has one layer, more than ``max_layers``, one that
    no circuit runs, or one whose output is read inside and leaves the task as well.

    An operator joins the layer behind whose last operator it comes, if nobody else reads that one's
    output and the layer stays a chain; otherwise it begins a layer. ``parts`` maps a concatenated
    tensor to the tensors it consists of.
    """
    position = {op.name: i for i, op in enumerate(graph.operators)}
    inside = sorted(operators, key=position.__getitem__)
    chains: list[list[Operator]] = []
    for op in (graph.op(name) for name in inside):
        if op.kind is OpKind.CONCAT:
            continue
        behind = [c for c in chains if c[-1].output in op.inputs]
        home = behind[-1] if behind and _joins(graph, behind[-1], op) else None
        if home is None:
            chains.append([op])
        else:
            home.append(op)
    # a layer comes after what it reads, its residual included
    chains.sort(key=lambda chain: position[chain[-1].name])
    if not 1 < len(chains) <= max_layers:
        return None
    names = tuple(tuple(op.name for op in chain) for chain in chains)
    shapes = [task_shape(graph, chain, parts) for chain in names]
    made = {chain[-1].output: i for i, chain in enumerate(chains)}
    found = [shape for shape in shapes if shape is not None]
    if len(found) < len(shapes):
        return None
    read = [(*s.sources, *s.residuals) for s in found]
    outside = dict.fromkeys(s.tensor for r in read for s in r if s.tensor not in made)
    inputs = {name: i for i, name in enumerate(outside)}
    taken = {s.tensor for r in read for s in r}
    if any(name in taken and _leaves(graph, name, set(operators)) for name in made):
        return None
    layers = tuple(
        Layer(
            shape.without_names(),
            tuple(
                Wire(True, made[s.tensor]) if s.tensor in made else Wire(False, inputs[s.tensor])
                for s in (*shape.sources, *shape.residuals)
            ),
            chain[-1].output not in taken,
        )
        for shape, chain in zip(found, chains, strict=True)
    )
    for layer in layers:
        for wire, tensor in zip(layer.reads, layer.tensors, strict=True):
            # flattened on the way: its rows are no longer rows
            if wire.inside and tensor.rows != layers[wire.index].shape.out_rows:
                return None
    if len({layer.shape.out_rows for layer in layers if layer.leaves}) > 1:
        return None
    return FusedPattern(FusedShape(layers), names, tuple(inputs), tuple(made))


def _leaves(graph: DataflowGraph, tensor: str, inside: set[str]) -> bool:
    """Whether a tensor, or a concatenation that it is a part of, is read outside."""
    if tensor in graph.outputs:
        return True
    readers = [graph.op(name) for name in graph.consumers[tensor]]
    return any(
        op.name not in inside or (op.kind is OpKind.CONCAT and _leaves(graph, op.output, inside))
        for op in readers
    )


def _joins(graph: DataflowGraph, chain: list[Operator], op: Operator) -> bool:
    """Whether the circuit that runs ``chain`` runs ``op`` behind it in the same pass."""
    if op.is_mac or len(graph.consumers[chain[-1].output]) > 1:
        return False
    kinds = {other.kind for other in chain}
    if op.kind is OpKind.ADD:
        return OpKind.ADD not in kinds and op.inputs[0] != op.inputs[1]
    if op.kind is OpKind.LRN:
        return False
    return op.kind not in POOL_KINDS or not kinds & POOL_KINDS
