"""Scalar dataflow graphs, compact: one multiplication or addition of numbers per node.

A million operations fit in a few arrays, where a graph of objects would take gigabytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import networkx as nx

from fragenv.errors import FragenvError

#: scalar operations; those whose operands may be exchanged come first
COMMUTATIVE = ("add", "mul", "max", "min")
OPERATIONS = (*COMMUTATIVE, "sub", "div", "neg", "relu")
_UNARY = frozenset({"neg", "relu"})
_LEAF = -1
_NONE = -1


class ScalarGraph:
    """Values in a topological order, numbered from 0: leaves (elements of arrays) and operations.

    ``outputs`` are the values that are stored; ``leaf_of`` says which element a leaf is.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.outputs: list[int] = []
        self.leaf_of: dict[int, tuple[str, tuple[object, ...]]] = {}
        self._kinds = array("b")
        self._left = array("i")
        self._right = array("i")

    def __len__(self) -> int:
        return len(self._kinds)

    def __repr__(self) -> str:
        return f"ScalarGraph({self.name!r}, {self.num_operations:,} operations)"

    @property
    def num_operations(self) -> int:
        return len(self._kinds) - len(self.leaf_of)

    def leaf(self, array_name: str, index: tuple[object, ...]) -> int:
        """A new leaf: one element of an array, a constant, a partial sum."""
        self.leaf_of[len(self)] = (array_name, index)
        return self._append(_LEAF, _NONE, _NONE)

    def operation(self, kind: str, left: int, right: int | None = None) -> int:
        """A new operation on values made before it.

        Raises:
            ValueError: an unknown kind, the wrong number of operands, or an operand made later.
        """
        if kind not in OPERATIONS or (right is None) != (kind in _UNARY):
            raise ValueError(f"no scalar operation '{kind}' with these operands")
        if not 0 <= left < len(self) or not (right is None or 0 <= right < len(self)):
            raise ValueError(f"operands {left} and {right} are not among {len(self)} values")
        return self._append(OPERATIONS.index(kind), left, _NONE if right is None else right)

    def _append(self, kind: int, left: int, right: int) -> int:
        self._kinds.append(kind)
        self._left.append(left)
        self._right.append(right)
        return len(self._kinds) - 1

    def is_leaf(self, value: int) -> bool:
        return self._kinds[value] == _LEAF

    def kind(self, value: int) -> str:
        """The operation's name."""
        return OPERATIONS[self._kinds[value]]

    def operands(self, value: int) -> tuple[int, ...]:
        """One or two values; none for a leaf."""
        left, right = self._left[value], self._right[value]
        if left == _NONE:
            return ()
        return (left,) if right == _NONE else (left, right)

    def operations(self) -> Iterator[int]:
        """The values that are no leaves, operands first."""
        return (value for value, kind in enumerate(self._kinds) if kind != _LEAF)

    def array_of(self, value: int) -> str:
        """The array that a leaf belongs to; "computed" for the result of an operation."""
        return self.leaf_of[value][0] if value in self.leaf_of else "computed"


def from_networkx(graph: nx.DiGraph) -> ScalarGraph:
    """The scalar graph that ``fragenv.graph.unroll.unroll`` makes, or any like it.

    Nodes carry a ``kind``. A node without predecessors is a leaf, its kind the name of its array; a
    node of kind "output" stores its only predecessor; every other kind is an operation of
    ``OPERATIONS``. Operands are in the order of the edges, or of their ``slot`` where edges have
    one; parallel edges, or a single one into a binary operation, give one value twice.

    Raises:
        FragenvError: a cycle, an unknown kind, an operation with too many operands, no operation.
    """
    name = str(graph.name or "scalar graph")
    result = ScalarGraph(name)
    made: dict[object, int] = {}
    # one look at all edges is faster than asking for the slots at every node
    plain = not graph.is_multigraph() and all(s is None for *_, s in graph.edges(data="slot"))
    for node, kind in _ordered(graph, name):
        if kind is None:
            raise FragenvError(f"{name}: node '{node}' has no kind")
        sources = graph.predecessors(node) if plain else _by_slot(graph, node)
        operands = [made[source] for source in sources]
        if kind == "output":
            if len(operands) != 1:
                raise FragenvError(f"{name}: output '{node}' stores {len(operands)} values, not 1")
            result.outputs.append(operands[0])
            made[node] = operands[0]
        elif not operands:
            made[node] = result.leaf(str(kind), (node,))
        else:
            made[node] = _operation(result, node, str(kind), operands)
    if not result.num_operations:
        raise FragenvError(f"{name}: the scalar graph has no operation")
    return result


def _ordered(graph: nx.DiGraph, name: str) -> list[tuple[object, object]]:
    """Nodes with their kinds, operands first: as they were added, where that will do (sorting a
    million nodes takes longer than mining them)."""
    kinds = dict(graph.nodes(data="kind"))
    position = {node: i for i, node in enumerate(kinds)}
    if all(position[first] < position[second] for first, second in graph.edges()):
        return list(kinds.items())
    try:
        return [(node, kinds[node]) for node in nx.topological_sort(graph)]
    except nx.NetworkXUnfeasible:
        raise FragenvError(f"{name}: the scalar graph has a cycle; unroll loops in time") from None


def _by_slot(graph: nx.DiGraph, node: object) -> list[object]:
    """Operands by slot where all edges have one, repeated where edges are parallel."""
    edges = list(graph.in_edges(node, data="slot"))
    if all(slot is not None for *_, slot in edges):
        edges.sort(key=lambda edge: edge[2])
    return [edge[0] for edge in edges]


def _operation(result: ScalarGraph, node: object, kind: str, operands: list[int]) -> int:
    if kind not in OPERATIONS:
        raise FragenvError(
            f"{result.name}: node '{node}' is of unknown kind '{kind}'; known are "
            + ", ".join(OPERATIONS)
        )
    if len(operands) == 1 and kind not in _UNARY:
        operands = operands * 2
    if len(operands) != (1 if kind in _UNARY else 2):
        raise FragenvError(
            f"{result.name}: '{node}' ({kind}) has {len(operands)} operands; write long sums as "
            "trees of additions of two"
        )
    return result.operation(kind, *operands)
