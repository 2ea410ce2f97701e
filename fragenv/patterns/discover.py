"""Discovery: every connected, convex piece of a graph that repeats, whoever may run it.

``mine`` answers what one task may be; here no hardware rule applies: concatenations, softmaxes and
products of activations take part, and any number of tensors may leave. What bounds the search is
the depth of the critical path and that a pattern must repeat.

Sets grow by one cluster at a time. Nothing is missed: a connected, convex set of two or more has a
source or a sink that is no cut vertex (a leaf block of its block tree has one), so that taking it
away leaves a connected, convex set (Balister et al., Algorithms for generating convex sets in
acyclic digraphs, J. Discrete Algorithms 7, 2009). Depth, size and the number of disjoint
occurrences never shrink when a set grows, so that what breaks a bound is never grown (the rule of
Apriori; for one large graph: Kuramochi, Karypis, Finding frequent patterns in a large sparse graph,
DMKD 11, 2005).
"""

from __future__ import annotations

from collections.abc import Iterator

from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import ACTIVATION_KINDS, MAC_KINDS, Operator
from fragenv.patterns.canonical import PatternIndex
from fragenv.patterns.clusters import activation_clusters
from fragenv.patterns.mine import OPERATORS_PER_LEVEL, MinedPattern, internal_edges
from fragenv.patterns.pattern import Occurrence, Pattern, label
from fragenv.patterns.support import has_disjoint

#: multiply-accumulate operators on a path; deeper patterns are compositions of these
DEEPEST = 4
#: sets of one size, above which the search is refused rather than left to fill the memory
MOST_SETS = 1_000_000
#: ends the label of an activation that is not the only reader of a producer within the pattern
APART = "(apart)"

#: indices of clusters, ascending, which is a topological order
_Set = tuple[int, ...]


def discover(
    graph: DataflowGraph,
    max_depth: int = 1,
    min_occurrences: int = 2,
    max_operators: int | None = None,
) -> tuple[MinedPattern, ...]:
    """All frequent patterns of ``graph``, by falling gain, then by key.

    An occurrence is a set of operators that is connected (edges taken without direction), convex
    (no path leaves it and comes back), with at most ``max_depth`` multiply-accumulate operators on
    any path inside it, and with every activation beside its producer where it is the only reader.
    An activation beside a producer that others read too is labelled "(apart)".
    A pattern is frequent if ``min_occurrences`` of its occurrences share no operator; all its
    occurrences are listed, those that overlap too. The graph need not be connected: pieces are
    found in every component. A depth beyond the graph's own changes nothing.

    Args:
        max_depth: 1 to 4.
        min_occurrences: 1 lists everything, frequent or not.
        max_operators: of one pattern; by default 8 for each level of depth.

    Raises:
        FragenvError: an argument is out of range, or the sets of one size are more than memory
            should hold.
    """
    limit = OPERATORS_PER_LEVEL * max_depth if max_operators is None else max_operators
    if not 1 <= max_depth <= DEEPEST:
        raise FragenvError(
            f"max_depth must be 1 to {DEEPEST}, got {max_depth}: it counts the multiply-accumulate "
            "operators on a pattern's longest path"
        )
    if limit < 1 or min_occurrences < 1:
        raise FragenvError(
            "max_operators and min_occurrences must be at least 1, "
            f"got {limit} and {min_occurrences}"
        )
    search = _Search(graph, max_depth, limit, min_occurrences)
    mined = (MinedPattern(pattern, tuple(places)) for pattern, places in search.run().items())
    return tuple(sorted(mined, key=lambda m: (-m.gain, m.pattern.key)))


class _Search:
    """Grows the occurrences of frequent patterns level by level, all of one size at a time."""

    def __init__(
        self, graph: DataflowGraph, max_depth: int, max_operators: int, min_occurrences: int
    ) -> None:
        self.max_depth, self.max_operators = max_depth, max_operators
        self.min_occurrences = min_occurrences
        self.graph = graph
        self.clusters = activation_clusters(graph, graph.operators)
        self.sizes = [len(cluster) for cluster in self.clusters]
        self.macs = [cluster[0].kind in MAC_KINDS for cluster in self.clusters]
        self.home = home = {op.name: i for i, cluster in enumerate(self.clusters) for op in cluster}
        self.before: list[frozenset[int]] = []
        for cluster in self.clusters:
            makers = (graph.producer.get(tensor) for tensor in cluster[0].inputs)
            self.before.append(frozenset(home[maker] for maker in makers if maker is not None))
        self.after: list[frozenset[int]] = _reversed(self.before)
        #: bit j of entry i: a path leads from cluster j to cluster i (n*n/16 bytes together)
        self.ancestors: list[int] = []
        for sources in self.before:
            mask = 0
            for j in sources:
                mask |= self.ancestors[j] | 1 << j
            self.ancestors.append(mask)
        self.position = {op.name: i for i, op in enumerate(graph.operators)}
        self.labels = {op.name: label(op) for op in graph.operators}
        self.index = PatternIndex()
        #: operators of a set -> the sets of that size that are still to be looked at
        self.waiting: dict[int, set[_Set]] = {}

    def run(self) -> dict[Pattern, list[Occurrence]]:
        found: dict[Pattern, list[Occurrence]] = {}
        for i in range(len(self.clusters)):
            self._put((i,))
        while self.waiting:
            members_of = self._by_pattern(self.waiting.pop(min(self.waiting)))
            for pattern, members in members_of.items():
                sets = [places for places, _ in members]
                if has_disjoint(sets, self.min_occurrences):
                    found[pattern] = [Occurrence(pattern, names) for _, names in members]
                    for inside in sets:
                        for new in self._neighbours(inside):
                            self._put(tuple(sorted((*inside, new))))
        return found

    def _put(self, inside: _Set) -> None:
        """Keep a set for when its size is looked at, unless it breaks a bound."""
        size = sum(self.sizes[i] for i in inside)
        if size > self.max_operators:
            return
        level = self.waiting.setdefault(size, set())
        if inside not in level and self._depth(inside) <= self.max_depth:
            level.add(inside)
            if len(level) > MOST_SETS:
                raise FragenvError(
                    f"{self.graph.name}: more than {MOST_SETS:,} connected, convex sets of "
                    f"{size} operators; lower max_operators or max_depth, or raise min_occurrences"
                )

    def _by_pattern(self, level: set[_Set]) -> dict[Pattern, list[tuple[_Set, tuple[str, ...]]]]:
        """Sets and operator names (in the pattern's order) of one size, by pattern."""
        groups: dict[Pattern, list[tuple[_Set, tuple[str, ...]]]] = {}
        for inside in sorted(level):
            operators = [op for i in inside for op in self.clusters[i]]
            operators.sort(key=lambda op: self.position[op.name])
            pattern, parts = self.index.classify(
                tuple(op.kind for op in operators),
                tuple(self._label(op, inside) for op in operators),
                internal_edges(operators),
            )
            names = tuple(operators[i].name for i in parts)
            groups.setdefault(pattern, []).append((inside, names))
        return groups

    def _label(self, op: Operator, inside: _Set) -> str:
        """An activation whose producer is inside but has other readers too is another part: the
        tensor before it must be written. (Without the difference a pattern could be frequent
        though a pattern within it is not, and growing would miss it.)"""
        i = self.home[op.name]
        apart = op.kind in ACTIVATION_KINDS and self.clusters[i][0] is op
        apart = apart and not self.before[i].isdisjoint(inside)
        return f"{self.labels[op.name]}{APART}" if apart else self.labels[op.name]

    def _neighbours(self, inside: _Set) -> Iterator[int]:
        """Clusters beside the set that leave it convex.

        A reader is refused if another of its operands comes from the set by way of something
        outside; a producer likewise. No other path can break convexity: one from a reader back
        into the set would have left it convex before.
        """
        members = frozenset(inside)
        mask = sum(1 << i for i in inside)
        for new in frozenset().union(*(self.after[i] for i in inside)) - members:
            if not any(self.ancestors[j] & mask for j in self.before[new] - members):
                yield new
        for new in frozenset().union(*(self.before[i] for i in inside)) - members:
            # a reader of ``new`` outside the set from which a path leads into the set
            outside = self.after[new] - members
            if not any(self.ancestors[i] >> j & 1 for j in outside for i in inside if i > j):
                yield new

    def _depth(self, inside: _Set) -> int:
        """Multiply-accumulate operators on the longest path within the set."""
        depths: dict[int, int] = {}
        for i in inside:
            before = max((depths[j] for j in self.before[i] if j in depths), default=0)
            depths[i] = before + self.macs[i]
        return max(depths.values())


def _reversed(before: list[frozenset[int]]) -> list[frozenset[int]]:
    after: list[set[int]] = [set() for _ in before]
    for i, sources in enumerate(before):
        for j in sources:
            after[j].add(i)
    return [frozenset(readers) for readers in after]
