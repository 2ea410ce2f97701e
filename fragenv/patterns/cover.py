"""Cover: which of the overlapping occurrences to use, as an exact choice or with a stated bound.

The value of a cover is what building circuits for it brings and costs, both counted in operators:

    value = sum over chosen occurrences of the tensors they hide
          - sum over the patterns in use of their operators

A tensor is hidden if only operators of the same occurrence read it: it never exists as a whole. A
pattern's circuit is built once, however often it is used; so whole blocks that repeat win over
halves of blocks (more is hidden) and over pairs of blocks (a smaller circuit used more often). This
is the description length of Cook and Holder (Substructure discovery using minimum description
length, JAIR 1, 1994) counted in operators, maximised as a weighted set packing by HiGHS.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, inf

import networkx as nx
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from fragenv.graph.dataflow import DataflowGraph
from fragenv.patterns.mine import MinedPattern
from fragenv.patterns.pattern import Occurrence, Pattern
from fragenv.patterns.sparse_rows import matrix_of

#: seconds that the exact search may take, unless the caller says otherwise
DEFAULT_SECONDS = 20.0
#: more candidates than this go to the greedy choice only
MOST_CANDIDATES = 200_000
#: what counts as a whole number in the solver's answers
_ROUNDING = 1e-6
#: scipy's status of a problem solved to the end
_OPTIMAL = 0


@dataclass(frozen=True, slots=True)
class Cover:
    """Disjoint occurrences, by pattern, and how good their choice is.

    ``patterns`` are by falling gain (here the gain counts disjoint operators: what is covered).
    No cover has a value above ``bound``. ``alone`` names the operators outside every chosen
    occurrence.
    """

    patterns: tuple[MinedPattern, ...]
    value: int
    bound: int
    alone: tuple[str, ...] = field(repr=False)

    @property
    def optimal(self) -> bool:
        """Whether no better cover exists."""
        return self.value >= self.bound


def cover(
    graph: DataflowGraph, mined: Iterable[MinedPattern], seconds: float = DEFAULT_SECONDS
) -> Cover:
    """The best choice of disjoint occurrences out of ``mined``.

    Contracting every chosen occurrence leaves an acyclic graph: they can run one after the other.
    (Two convex sets may still need each other's results, where each writes two tensors.)

    Args:
        seconds: for the exact search; after that the best cover so far is returned with its bound.
    """
    candidates = _Candidates(graph, mined)
    best = candidates.repaired(candidates.greedy())
    bound = candidates.trivial_bound()
    if candidates.places and len(candidates.places) <= MOST_CANDIDATES:
        chosen, bound = _solve(candidates, seconds, bound)
        if candidates.value(chosen) > candidates.value(best):
            best = chosen
    return candidates.cover(best, bound)


class _Candidates:
    """The occurrences that hide a tensor, numbered."""

    def __init__(self, graph: DataflowGraph, mined: Iterable[MinedPattern]) -> None:
        self.graph = graph
        self.places: list[Occurrence] = []
        self.hidden: list[int] = []
        self.of_pattern: dict[Pattern, list[int]] = {}
        for m in mined:
            for place in m.occurrences:
                hidden = len(hidden_tensors(graph, place.operators))
                if hidden:
                    self.of_pattern.setdefault(m.pattern, []).append(len(self.places))
                    self.places.append(place)
                    self.hidden.append(hidden)
        # a pattern whose circuit costs more than all its places can hide is never worth it
        for pattern, members in list(self.of_pattern.items()):
            if sum(self.hidden[i] for i in members) <= len(pattern.kinds):
                del self.of_pattern[pattern]
        kept = [i for members in self.of_pattern.values() for i in members]
        renumbered = {old: new for new, old in enumerate(kept)}
        self.places = [self.places[i] for i in kept]
        self.hidden = [self.hidden[i] for i in kept]
        self.of_pattern = {p: [renumbered[i] for i in m] for p, m in self.of_pattern.items()}

    def value(self, chosen: Sequence[int]) -> int:
        """The value of a cover, as the module's first lines define it."""
        used = {self.places[i].pattern for i in chosen}
        return sum(self.hidden[i] for i in chosen) - sum(len(p.kinds) for p in used)

    def trivial_bound(self) -> int:
        """Every tensor that some occurrence hides is hidden, by the smallest circuit alone."""
        tensors = {t for o in self.places for t in hidden_tensors(self.graph, o.operators)}
        return max(0, len(tensors) - min((len(p.kinds) for p in self.of_pattern), default=0))

    def greedy(self) -> list[int]:
        """Pattern by pattern, the one that brings most in what is left.

        What a pattern brings only falls as operators are used up, so that a value computed earlier
        is an upper bound and most patterns need not be looked at again.
        """
        used: set[str] = set()
        chosen: list[int] = []
        queue = [(-inf, pattern.key, pattern) for pattern in self.of_pattern]
        heapq.heapify(queue)
        while queue:
            _, key, pattern = heapq.heappop(queue)
            fresh = self._packed(pattern, used)
            value = sum(self.hidden[i] for i in fresh) - len(pattern.kinds)
            if value <= 0:
                continue
            if queue and -value > queue[0][0]:
                heapq.heappush(queue, (-value, key, pattern))
                continue
            chosen += fresh
            used.update(name for i in fresh for name in self.places[i].operators)
        return chosen

    def _packed(self, pattern: Pattern, used: set[str]) -> list[int]:
        taken: set[str] = set()
        packed = []
        for i in self.of_pattern[pattern]:
            names = self.places[i].operators
            if used.isdisjoint(names) and taken.isdisjoint(names):
                taken.update(names)
                packed.append(i)
        return packed

    def circles(self, chosen: Iterable[int]) -> list[list[int]]:
        """Occurrences of ``chosen`` that wait for each other in a circle: one circle for every
        strongly connected part of the contracted graph, none if all can run."""
        home = {name: i for i in chosen for name in self.places[i].operators}
        contracted = nx.DiGraph()
        for first, second in self.graph.nx.edges():
            a, b = home.get(first, first), home.get(second, second)
            if a != b:
                contracted.add_edge(a, b)
        knots = (k for k in nx.strongly_connected_components(contracted) if len(k) > 1)
        edges = (nx.find_cycle(contracted.subgraph(knot)) for knot in knots)
        return [[a for a, _ in circle if isinstance(a, int)] for circle in edges]

    def repaired(self, chosen: list[int]) -> list[int]:
        """``chosen`` without one occurrence of every circle."""
        while circles := self.circles(chosen):
            worst = {min(circle, key=lambda i: (self.hidden[i], i)) for circle in circles}
            chosen = [i for i in chosen if i not in worst]
        hidden: Counter[Pattern] = Counter()
        for i in chosen:
            hidden[self.places[i].pattern] += self.hidden[i]
        paid = {p for p in hidden if hidden[p] > len(p.kinds)}
        return [i for i in chosen if self.places[i].pattern in paid]

    def cover(self, chosen: Sequence[int], bound: int) -> Cover:
        by_pattern: dict[Pattern, list[Occurrence]] = {}
        for i in sorted(chosen):
            by_pattern.setdefault(self.places[i].pattern, []).append(self.places[i])
        patterns = [MinedPattern(p, tuple(places)) for p, places in by_pattern.items()]
        patterns.sort(key=lambda m: (-m.gain, m.pattern.key))
        covered = {name for i in chosen for name in self.places[i].operators}
        alone = tuple(op.name for op in self.graph.operators if op.name not in covered)
        return Cover(tuple(patterns), self.value(chosen), bound, alone)


def hidden_tensors(graph: DataflowGraph, operators: Iterable[str]) -> tuple[str, ...]:
    """Tensors that only ``operators`` read and that are no outputs of the graph."""
    inside = set(operators)
    made = (graph.op(name).output for name in inside)
    return tuple(
        tensor
        for tensor in made
        if tensor not in graph.outputs
        and (readers := graph.consumers[tensor])
        and inside.issuperset(readers)
    )


def _solve(candidates: _Candidates, seconds: float, bound: int) -> tuple[list[int], int]:
    """The best cover found, and what no cover exceeds."""
    places, patterns = candidates.places, list(candidates.of_pattern)
    number = {pattern: len(places) + j for j, pattern in enumerate(patterns)}
    rows, right = _packing_rows(candidates, number)
    profit = np.array([*candidates.hidden, *(-len(p.kinds) for p in patterns)], dtype=float)
    # the pattern's variable is integral by itself: it is the largest of its places' variables
    integer = np.array([1] * len(places) + [0] * len(patterns))
    deadline = time.monotonic() + seconds
    # the linear relaxation of such packings is integral more often than not, and quick
    relaxed = True
    while True:
        result = milp(
            -profit,
            integrality=np.zeros_like(integer) if relaxed else integer,
            bounds=Bounds(0, 1),
            constraints=_constraint(rows, right, len(profit)),
            options={"time_limit": max(0.1, deadline - time.monotonic()), "mip_rel_gap": 0.0},
        )
        if relaxed and result.status == _OPTIMAL:
            bound = min(bound, floor(-result.fun + _ROUNDING))
        elif result.mip_dual_bound is not None:
            bound = min(bound, floor(-result.mip_dual_bound + _ROUNDING))
        if result.x is None:
            return [], bound
        if relaxed and np.abs(result.x - result.x.round()).max() > _ROUNDING:
            relaxed = False
            continue
        chosen = [i for i in range(len(places)) if result.x[i] > 0.5]
        circles = candidates.circles(chosen)
        if not circles or time.monotonic() > deadline:
            return candidates.repaired(chosen), bound
        for circle in circles:  # not all of a circle at once; solved anew without that choice
            rows.append(dict.fromkeys(circle, 1.0))
            right.append(len(circle) - 1.0)


def _packing_rows(
    candidates: _Candidates, number: Mapping[Pattern, int]
) -> tuple[list[dict[int, float]], list[float]]:
    """Rows (variable to coefficient) and right sides of ``rows @ x <= right``.

    An operator is in one occurrence; the occurrences of one pattern around one operator exclude
    each other, so that their sum is at most the pattern's variable.
    """
    around: dict[str, list[int]] = defaultdict(list)
    of_pattern: dict[tuple[Pattern, str], list[int]] = defaultdict(list)
    for i, place in enumerate(candidates.places):
        for name in place.operators:
            around[name].append(i)
            of_pattern[place.pattern, name].append(i)
    rows: list[dict[int, float]] = [dict.fromkeys(m, 1.0) for m in around.values() if len(m) > 1]
    right = [1.0] * len(rows)
    seen: set[tuple[int, ...]] = set()
    for (pattern, _), members in of_pattern.items():
        if tuple(members) not in seen:
            seen.add(tuple(members))
            rows.append({**dict.fromkeys(members, 1.0), number[pattern]: -1.0})
            right.append(0.0)
    return rows, right


def _constraint(rows: list[dict[int, float]], right: list[float], width: int) -> LinearConstraint:
    return LinearConstraint(matrix_of(rows, width), -inf, np.array(right))
