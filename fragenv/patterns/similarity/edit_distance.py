"""Graph edit distance of typed graphs: what "alike" means here, computed exactly.

The cheapest series of edits that turns one graph into the other, where an edit inserts, deletes or
changes an operator or an edge (Sanfeliu, Fu: A distance measure between attributed relational
graphs for pattern recognition, IEEE TSMC 13, 1983). Costs count circuits: 1 is an operator built
anew. They are metrics on operators and on edges, so that the distance is a metric on graphs: 0
exactly where nothing below tells the two apart, symmetric, and never longer by way of a third
graph.

===============================================  ======================================
an operator more or less                         1
another kind                                     1, or 0.5 within a family of circuits
another kernel, stride, dilation                 0.1 per octave of rows, and of columns
other channels, in and out                       0.05 per octave each
all changes of one operator                      at most 1
an edge more or less                             0.5
an edge into other input slots                   0.25
===============================================  ======================================

Rows and columns of tensors are loop bounds without a circuit and cost nothing.
"""

from __future__ import annotations

from itertools import combinations
from math import inf, log2

import numpy as np
import numpy.typing as npt

from fragenv.errors import FragenvError
from fragenv.graph.operators import ACTIVATION_KINDS, POOL_KINDS, Operator, OpKind
from fragenv.patterns.similarity.typed import TypedGraph

OPERATOR_COST, EDGE_COST, SLOT_COST = 1.0, 0.5, 0.25
FAMILY_COST = 0.5
WINDOW_COST, CHANNEL_COST = 0.1, 0.05
#: larger graphs are refused: the search may take minutes
MOST_OPERATORS = 8
#: kinds that one circuit runs, with other loop bounds
_FAMILIES = (frozenset({OpKind.CONV, OpKind.GEMM}), POOL_KINDS, ACTIVATION_KINDS)

_Matrix = npt.NDArray[np.float64]


def operator_cost(a: Operator, b: Operator) -> float:
    """What changing one operator into the other costs, 0 to 1."""
    kinds = _kind(a), _kind(b)
    cost = 0.0
    if kinds[0] != kinds[1]:
        related = any(a.kind in family and b.kind in family for family in _FAMILIES)
        if not related:
            return OPERATOR_COST
        cost = FAMILY_COST
    octaves = [abs(log2(x / y)) for x, y in zip(_window(a), _window(b), strict=True)]
    channels = abs(log2(a.nest.k / b.nest.k)) + abs(log2(a.nest.c / b.nest.c))
    return min(OPERATOR_COST, cost + WINDOW_COST * sum(octaves) + CHANNEL_COST * channels)


def _kind(op: Operator) -> tuple[OpKind, str]:
    grouped = "grouped" if op.kind is OpKind.CONV and op.nest.groups > 1 else ""
    return op.kind, "depthwise" if op.is_depthwise else grouped


def _window(op: Operator) -> tuple[int, ...]:
    return (op.nest.r, op.nest.s, *op.nest.stride, *op.nest.dilation)


def edge_cost(first: tuple[int, ...] | None, second: tuple[int, ...] | None) -> float:
    """What changing the slots of one edge into those of the other costs; None is no edge."""
    if first == second:
        return 0.0
    return EDGE_COST if first is None or second is None else SLOT_COST


def edit_distance(a: TypedGraph, b: TypedGraph) -> float:
    """The exact distance, by depth-first branch and bound.

    Operators of ``a`` are mapped one after the other to one of ``b`` or to none. The bound of what
    is left is an assignment of the operators left on both sides, each with half of the edges that
    their numbers of edges say must change (Riesen, Bunke: Approximate graph edit distance
    computation by means of bipartite graph matching, Image and Vision Computing 27, 2009), solved
    for every set of operators left by dynamic programming.

    Raises:
        FragenvError: a graph has more than ``MOST_OPERATORS`` operators.
    """
    if max(len(a), len(b)) > MOST_OPERATORS:
        raise FragenvError(
            f"exact edit distance takes graphs of at most {MOST_OPERATORS} operators, got "
            f"{len(a)} and {len(b)}; compare larger ones with the encoder"
        )
    return _Search(a, b).run()


class _Search:
    """Maps operator 0, 1, ... of ``a``; ``len(b)`` stands for none."""

    def __init__(self, a: TypedGraph, b: TypedGraph) -> None:
        self.a, self.b = a, b
        self.n, self.m = len(a), len(b)
        self.change = [[operator_cost(x, y) for y in b.operators] for x in a.operators]
        self.rest = self._bounds()
        self.best = inf
        self.image: list[int] = []

    def run(self) -> float:
        self._map(0.0, (1 << self.m) - 1)
        return self.best

    def _bounds(self) -> list[list[float]]:
        """[i][free]: no less than what mapping operators i, i+1, ... into the set ``free`` adds."""
        outs, ins = zip(*(_degrees(self.a)), strict=True) if self.n else ((), ())
        outs_b, ins_b = zip(*(_degrees(self.b)), strict=True) if self.m else ((), ())
        half = EDGE_COST / 2
        change = [
            [
                self.change[i][j] + half * (abs(outs[i] - outs_b[j]) + abs(ins[i] - ins_b[j]))
                for j in range(self.m)
            ]
            for i in range(self.n)
        ]
        insert = [OPERATOR_COST + half * (outs_b[j] + ins_b[j]) for j in range(self.m)]
        sets = np.arange(1 << self.m)
        last = np.zeros(len(sets))
        for j in range(self.m):
            last += insert[j] * (sets >> j & 1)
        rows = [last]
        for i in reversed(range(self.n)):
            row = rows[-1] + OPERATOR_COST + half * (outs[i] + ins[i])
            for j in range(self.m):
                inside = (sets >> j & 1).astype(bool)
                mapped = change[i][j] + rows[-1][sets[inside] ^ 1 << j]
                row[inside] = np.minimum(row[inside], mapped)
            rows.append(row)
        return [row.tolist() for row in reversed(rows)]

    def _map(self, cost: float, free: int) -> None:
        i = len(self.image)
        if i == self.n:
            self.best = min(self.best, cost + self._inserted(free))
            return
        options = []
        for j in (*(j for j in range(self.m) if free >> j & 1), self.m):
            left = free & ~(1 << j)
            now = cost + self._added(i, j)
            options.append((now + self.rest[i + 1][left], now, j, left))
        for bound, now, j, left in sorted(options):
            if bound >= self.best - 1e-9:
                return
            self.image.append(j)
            self._map(now, left)
            self.image.pop()

    def _added(self, i: int, j: int) -> float:
        """Cost of mapping operator i to j, with its edges to operators mapped before."""
        a, b = self.a.slots, self.b.slots
        cost = self.change[i][j] if j < self.m else OPERATOR_COST
        for other, image in enumerate(self.image):
            cost += edge_cost(a.get((i, other)), b.get((j, image)))
            cost += edge_cost(a.get((other, i)), b.get((image, j)))
        return cost

    def _inserted(self, free: int) -> float:
        """Cost of the operators of ``b`` that nothing was mapped to, and of their edges."""
        touched = sum(1 for s, d in self.b.slots if free >> s & 1 or free >> d & 1)
        return OPERATOR_COST * free.bit_count() + EDGE_COST * touched


def _degrees(graph: TypedGraph) -> list[tuple[int, int]]:
    """(edges out, edges in) of every operator; parallel ones count once."""
    outs, ins = [0] * len(graph), [0] * len(graph)
    for src, dst in graph.slots:
        outs[src] += 1
        ins[dst] += 1
    return list(zip(outs, ins, strict=True))


def distance_matrix(graphs: list[TypedGraph]) -> _Matrix:
    """Distances of all pairs."""
    result = np.zeros((len(graphs), len(graphs)))
    for i, j in combinations(range(len(graphs)), 2):
        result[i, j] = result[j, i] = edit_distance(graphs[i], graphs[j])
    return result
