"""Patterns (what is worth a circuit) and their occurrences (where in a graph it is used)."""

from __future__ import annotations

from dataclasses import dataclass, field

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import MAC_KINDS, Operator, OpKind

#: operators that slide a window; their kernel, stride and dilation are part of their label
_WINDOWED = frozenset({OpKind.CONV, OpKind.MAXPOOL, OpKind.AVGPOOL})


@dataclass(frozen=True, slots=True)
class Pattern:
    """An isomorphism class of connected, convex subgraphs, as one member of the class.

    ``kinds`` and ``labels`` hold one entry per operator in a topological order; ``edges`` are
    sorted (source, destination, input slot) triples of indices into them. The slot of an
    addition's operands is always 0, since addition commutes. Two patterns are equal when their
    keys are: which member of the class stands for it does not matter.
    """

    key: str
    kinds: tuple[OpKind, ...] = field(compare=False)
    edges: tuple[tuple[int, int, int], ...] = field(compare=False)
    labels: tuple[str, ...] = field(compare=False)

    @property
    def name(self) -> str:
        """For people, such as ``conv3x3/1+relu+maxpool2x2/2``; not unique where wiring differs."""
        return "+".join(self.labels)

    @property
    def depth(self) -> int:
        """Multiply-accumulate operators on the longest path."""
        depths: list[int] = []
        for node, kind in enumerate(self.kinds):
            before = max((depths[src] for src, dst, _ in self.edges if dst == node), default=0)
            depths.append(before + (kind in MAC_KINDS))
        return max(depths)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A place of a graph where ``pattern`` matches.

    ``operators`` are names in a topological order; operator ``i`` plays the part of
    ``pattern.labels[i]``.
    """

    pattern: Pattern
    operators: tuple[str, ...]


def label(op: Operator) -> str:
    """What the hardware cares about in one operator: not its channels, rows, columns or padding.

    ``conv3x3/1``: kernel rows x columns / stride; ``dwconv`` is depthwise and ``gconv`` grouped;
    ``d2`` at the end is a dilation.
    """
    if op.kind not in _WINDOWED:
        return op.kind.value
    nest = op.nest
    prefix = "dw" if op.is_depthwise else "g" if op.kind is OpKind.CONV and nest.groups > 1 else ""
    dilation = "" if nest.dilation == (1, 1) else f"d{_pair(nest.dilation)}"
    return f"{prefix}{op.kind.value}{nest.r}x{nest.s}/{_pair(nest.stride)}{dilation}"


def _pair(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def external_inputs(graph: DataflowGraph, occurrence: Occurrence) -> tuple[str, ...]:
    """Tensors that the occurrence reads from outside, once each, by operator and then by slot."""
    inside = {graph.op(name).output for name in occurrence.operators}
    read = (tensor for name in occurrence.operators for tensor in graph.op(name).inputs)
    return tuple(dict.fromkeys(tensor for tensor in read if tensor not in inside))


def output_tensor(graph: DataflowGraph, occurrence: Occurrence) -> str:
    """The only tensor that leaves the occurrence: all others are read by its operators alone, so
    its producer comes last in any topological order."""
    return graph.op(occurrence.operators[-1]).output


def mac_operator(graph: DataflowGraph, occurrence: Occurrence) -> Operator | None:
    """The first multiply-accumulate operator of the occurrence (its only one at depth 1)."""
    operators = (graph.op(name) for name in occurrence.operators)
    return next((op for op in operators if op.is_mac), None)
