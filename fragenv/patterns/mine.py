"""Mining: every subgraph that can be one task, grouped into patterns.

A task writes one tensor. So a subgraph is a cone: one operator (the root) whose output leaves, and
operators all of whose consumers are inside. Such a set is connected (every operator reaches the
root) and convex (only the root's output leaves, and coming back from there would be a cycle);
cones are therefore grown backwards from each root, and nothing else needs to be looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import MAC_KINDS, POOL_KINDS, Operator, OpKind
from fragenv.patterns.canonical import Edge, PatternIndex
from fragenv.patterns.clusters import activation_clusters
from fragenv.patterns.pattern import Occurrence, Pattern, label

#: operators per pattern and level of depth, unless the caller says otherwise
OPERATORS_PER_LEVEL = 8


@dataclass(frozen=True, slots=True)
class MinedPattern:
    """A pattern with every place where it occurs (occurrences may overlap)."""

    pattern: Pattern
    occurrences: tuple[Occurrence, ...]

    @property
    def gain(self) -> int:
        """Operators covered by all occurrences together."""
        return len(self.pattern.kinds) * len(self.occurrences)


def mine(
    graph: DataflowGraph, max_depth: int = 1, max_operators: int | None = None
) -> tuple[MinedPattern, ...]:
    """All patterns that can be one task, by falling gain, then by key.

    An occurrence is a connected, convex set of operators such that

    * one tensor leaves it: all others are read inside only and are not outputs of the graph;
    * no operator runs on the host (softmax); a concatenation, which moves no data, is alone at
      depth 1;
    * at most ``max_depth`` multiply-accumulate operators are on a path, and for 1, in total;
    * an activation is together with its producer if nobody else reads what it activates (a
      concatenation excepted);
    * if there are multiply-accumulate operators, all others come after one: of the operators
      that the same number of them precedes on the longest path, at most as many pool and as many
      add as multiply (one each where there are none to multiply).

    It has at most ``max_operators`` operators (default 8 for each level of depth), which bounds
    the number of sets; an operator with its own activations is always an occurrence, so that
    the patterns cover every operator of the chip.

    Raises:
        FragenvError: ``max_depth`` or ``max_operators`` is below 1.
    """
    limit = OPERATORS_PER_LEVEL * max_depth if max_operators is None else max_operators
    if max_depth < 1 or limit < 1:
        raise FragenvError(
            f"patterns need max_depth and max_operators of at least 1, got {max_depth} and {limit}"
        )
    cones = _Cones(graph, max_depth, limit)
    position = {op.name: i for i, op in enumerate(graph.operators)}
    labels = {op.name: label(op) for op in graph.operators}
    index = PatternIndex()
    found: dict[Pattern, list[Occurrence]] = {}
    for cone in cones:
        operators = sorted(cone, key=lambda op: position[op.name])
        pattern, parts = index.classify(
            tuple(op.kind for op in operators),
            tuple(labels[op.name] for op in operators),
            internal_edges(operators),
        )
        names = tuple(operators[i].name for i in parts)
        found.setdefault(pattern, []).append(Occurrence(pattern, names))
    mined = (MinedPattern(pattern, tuple(places)) for pattern, places in found.items())
    return tuple(sorted(mined, key=lambda m: (-m.gain, m.pattern.key)))


def internal_edges(operators: list[Operator]) -> tuple[Edge, ...]:
    producer = {op.output: i for i, op in enumerate(operators)}
    return tuple(
        sorted(
            (producer[tensor], i, 0 if op.kind is OpKind.ADD else slot)
            for i, op in enumerate(operators)
            for slot, tensor in enumerate(op.inputs)
            if tensor in producer
        )
    )


class _Cones:
    """Iterates over the occurrences of a graph, each a list of operators.

    Works on clusters: an operator with the activations that follow it alone. Only the first
    operator of a cluster may be anything else than an activation.
    """

    def __init__(self, graph: DataflowGraph, max_depth: int, max_operators: int) -> None:
        self.max_depth, self.max_operators = max_depth, max_operators
        #: parallel multipliers are for deeper patterns: at depth 1 a fragment has one array
        self.max_macs = 1 if max_depth == 1 else max_operators
        self.clusters = activation_clusters(graph, graph.chip_operators)
        self.kinds = [cluster[0].kind for cluster in self.clusters]
        home = {op.name: i for i, cluster in enumerate(self.clusters) for op in cluster}
        #: by cluster: clusters that may join it from behind, and all that must be inside before
        self.feeders: list[list[int]] = [[] for _ in self.clusters]
        self.readers: list[frozenset[int]] = []
        for i, cluster in enumerate(self.clusters):
            tensor = cluster[-1].output
            readers = graph.consumers[tensor]
            self.readers.append(frozenset(home[r] for r in readers if r in home))
            chip_only = all(r in home for r in readers)
            if chip_only and tensor not in graph.outputs:
                for reader in self.readers[i]:
                    if max_depth > 1 or OpKind.CONCAT not in (self.kinds[i], self.kinds[reader]):
                        self.feeders[reader].append(i)

    def __iter__(self) -> Iterator[list[Operator]]:
        for root in range(len(self.clusters)):
            for cone in self._grow(frozenset({root}), frozenset()):
                if self._is_task(cone):
                    yield [op for i in cone for op in self.clusters[i]]

    def _grow(self, inside: frozenset[int], barred: frozenset[int]) -> Iterator[frozenset[int]]:
        """``inside`` and all larger cones without ``barred``, each exactly once."""
        yield inside
        behind = {feeder for i in inside for feeder in self.feeders[i]} - inside - barred
        for feeder in sorted(behind):
            if self.readers[feeder] <= inside:
                larger = inside | {feeder}
                if self._may_grow(larger):
                    yield from self._grow(larger, barred)
                barred |= {feeder}

    def _may_grow(self, cone: frozenset[int]) -> bool:
        """False if neither ``cone`` nor any larger one can be a task."""
        count = Counter(_stage(self.kinds[i]) for i in cone)
        macs = max(count["mac"], count["pool"], count["add"])
        missing = macs - count["mac"] if macs > 1 else 0
        size = missing + sum(len(self.clusters[i]) for i in cone)
        if macs > self.max_macs or size > self.max_operators:
            return False
        return max(self._levels(cone).values()) <= self.max_depth

    def _is_task(self, cone: frozenset[int]) -> bool:
        levels = self._levels(cone)
        if 0 in levels.values() and any(self.kinds[i] in MAC_KINDS for i in cone):
            return False
        count = Counter((level, _stage(self.kinds[i])) for i, level in levels.items())
        return all(
            count[level, stage] <= max(1, count[level, "mac"])
            for level in set(levels.values())
            for stage in ("pool", "add")
        )

    def _levels(self, cone: frozenset[int]) -> dict[int, int]:
        """Multiply-accumulate operators on the longest path up to and with each cluster.

        Clusters are numbered in a topological order of their first operators.
        """
        levels: dict[int, int] = {}
        for i in sorted(cone):
            before = max((levels[f] for f in self.feeders[i] if f in cone), default=0)
            levels[i] = before + (self.kinds[i] in MAC_KINDS)
        return levels


def _stage(kind: OpKind) -> str:
    if kind in MAC_KINDS:
        return "mac"
    return "pool" if kind in POOL_KINDS else kind.value
