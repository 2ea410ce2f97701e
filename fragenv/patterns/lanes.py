"""Lanes: the replicas of a dot product as the work of a multiply-accumulate array.

An array of lanes_in x lanes_out multipliers feeds one vector of lanes_in values to lanes_out dot
products at once. Which replicas can share it is read off the graph: those whose products read the
same values on one side (the input of a fully connected layer, the window of a convolution, or the
kernel for all windows).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from fragenv.errors import FragenvError
from fragenv.patterns.scalar import DotProduct, ScalarPattern, inner_values
from fragenv.patterns.scalar_graph import ScalarGraph


@dataclass(frozen=True, slots=True)
class Sharing:
    """One side of the products: ``operand`` names the array its values come from.

    ``groups`` holds, for each distinct vector of values, the replicas (indices into the pattern's
    ``roots``) that read it, in the order of their first replicas.
    """

    operand: str
    groups: tuple[tuple[int, ...], ...] = field(repr=False)

    @property
    def vectors(self) -> int:
        """Distinct vectors."""
        return len(self.groups)

    @property
    def most_readers(self) -> int:
        """Replicas that read the most popular vector."""
        return max(len(group) for group in self.groups)


@dataclass(frozen=True, slots=True)
class LaneMapping:
    """Replicas of a dot product on an array: products side by side in input lanes, the replicas of
    one group of ``shared`` in output lanes, the groups one after the other. ``other`` is the side
    that each lane keeps for itself."""

    dot: DotProduct
    shared: Sharing
    other: Sharing

    @property
    def lanes_in(self) -> int:
        """Input lanes of the array that runs a whole dot product at once."""
        return self.dot.products

    @property
    def lanes_out(self) -> int:
        """Output lanes of the array that runs a whole group at once."""
        return self.shared.most_readers

    def place(self, replica: int) -> tuple[int, int]:
        """Group (step in time) and output lane of a replica on the whole array.

        Raises:
            FragenvError: the pattern has no such replica.
        """
        for step, group in enumerate(self.shared.groups):
            if replica in group:
                return step, group.index(replica)
        raise FragenvError(f"the dot product has no replica {replica}")

    def steps(self, lanes_in: int, lanes_out: int) -> int:
        """Passes over an array of ``lanes_in`` x ``lanes_out`` multipliers until all is computed.

        Raises:
            FragenvError: fewer than one lane.
        """
        if lanes_in < 1 or lanes_out < 1:
            raise FragenvError(f"an array has at least 1 x 1 lanes, got {lanes_in} x {lanes_out}")
        groups = sum(-(-len(group) // lanes_out) for group in self.shared.groups)
        return -(-self.dot.products // lanes_in) * groups


def map_to_lanes(
    graph: ScalarGraph, pattern: ScalarPattern, shared: str | None = None
) -> LaneMapping:
    """The replicas of ``pattern`` as the work of a multiply-accumulate array.

    Args:
        graph: the graph that ``pattern`` was mined in.
        shared: the array whose vectors go to all output lanes; by default the side whose vectors
            have most readers, the second operand if both have as many.

    Raises:
        FragenvError: the pattern holds no dot product, or none of its operands is ``shared``.
    """
    dot = pattern.dot
    if dot is None:
        raise FragenvError(
            f"{graph.name}: pattern '{pattern.name}' multiplies no two values from outside, so "
            "that an array of multipliers has nothing to do for it"
        )
    sides = _sides(graph, pattern)
    if shared is None:
        first = 0 if sides[0].most_readers > sides[1].most_readers else 1
    else:
        names = [side.operand for side in sides]
        if shared not in names:
            raise FragenvError(
                f"{graph.name}: no operand '{shared}'; there are {' and '.join(names)}"
            )
        first = names.index(shared)
    return LaneMapping(dot, sides[first], sides[1 - first])


def _sides(graph: ScalarGraph, pattern: ScalarPattern) -> tuple[Sharing, Sharing]:
    """Both operands of all products. Which operand is on which side goes by the names of their
    arrays, where these are the same by the order in which they are multiplied."""
    inner = inner_values(graph)
    groups: tuple[dict[bytes, list[int]], dict[bytes, list[int]]] = ({}, {})
    names: tuple[set[str], set[str]] = (set(), set())
    for replica, root in enumerate(pattern.roots):
        vectors = array("i"), array("i")
        for product in _products(graph, inner, root, pattern.dot):
            pair = sorted(graph.operands(product), key=graph.array_of)
            for side, value in enumerate(pair):
                vectors[side].append(value)
                names[side].add(graph.array_of(value))
        for side, vector in enumerate(vectors):
            # the order of products is no part of a dot product
            key = array("i", sorted(vector)).tobytes()
            groups[side].setdefault(key, []).append(replica)
    first, second = (
        Sharing("/".join(sorted(names[side])), tuple(map(tuple, groups[side].values())))
        for side in (0, 1)
    )
    return first, second


def _products(
    graph: ScalarGraph, inner: bytearray, root: int, dot: DotProduct | None
) -> Iterator[int]:
    """The products of two outside values in the replica's largest sum.

    Sums that a factor separates (a * (b*c + d*e)) are told apart by their number of products.
    """
    sums: list[list[int]] = [[]]
    stack = [(root, sums[0])]
    while stack:
        value, found = stack.pop()
        parts = [v for v in graph.operands(value) if inner[v]]
        kind = graph.kind(value)
        if kind == "mul" and not parts:
            found.append(value)
        if kind != "add":
            for part in parts:
                sums.append([])
                stack.append((part, sums[-1]))
        else:
            stack += [(part, found) for part in parts]
    wanted = dot.products if dot is not None else 0
    return iter(next(found for found in sums if len(found) == wanted))
