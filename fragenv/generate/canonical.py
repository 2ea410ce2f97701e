"""Which architectures are the same function: what uniqueness and novelty count.

Nodes off every path from input to output have no effect, and a ``skip`` only hands its sum on. Both
are removed; what is left is hashed (Weisfeiler-Lehman), and where two hashes meet, VF2 decides. A
sum may take one tensor several times by way of skips: edges carry how often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import networkx as nx
from networkx.algorithms.isomorphism import (
    DiGraphMatcher,
    categorical_edge_match,
    categorical_node_match,
)

from fragenv.generate.architecture import SKIP, Architecture
from fragenv.patterns.canonical import structure, wl_hash

#: node types, and (from, to, number) with the edges between two nodes numbered from 0
Reduced = tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]


def reduced(architecture: Architecture) -> Reduced:
    """The architecture without dead nodes and skips; its own numbering kept otherwise."""
    # what a node's sum is made of: (node that is no skip) -> times
    value: dict[int, Counter[int]] = {}
    sums: dict[int, Counter[int]] = {}
    kept = []
    for node in sorted(architecture.live):
        total: Counter[int] = Counter()
        for source in architecture.predecessors[node]:
            if source in value:
                total.update(value[source])
        if architecture.ops[node] == SKIP:
            value[node] = total
        else:
            value[node], sums[node] = Counter({node: 1}), total
            kept.append(node)
    place = {node: i for i, node in enumerate(kept)}
    edges = [
        (place[source], place[node], number)
        for node in kept
        for source, times in sums[node].items()
        for number in range(times)
    ]
    return tuple(architecture.ops[node] for node in kept), tuple(sorted(edges))


def key(architecture: Architecture) -> str:
    """A short text: equal for architectures that are the same, almost never for others."""
    return _key(reduced(architecture))


def same(a: Architecture, b: Architecture) -> bool:
    """Whether the two compute the same function of equal weights, exactly."""
    first, second = reduced(a), reduced(b)
    return first == second or (_key(first) == _key(second) and _isomorphic(first, second))


@lru_cache(maxsize=65_536)
def _key(form: Reduced) -> str:
    return wl_hash(structure(*form))


def _isomorphic(a: Reduced, b: Reduced) -> bool:
    matcher = DiGraphMatcher(
        _structure(a),
        _structure(b),
        node_match=categorical_node_match("label", None),
        edge_match=categorical_edge_match("slots", None),
    )
    return bool(matcher.is_isomorphic())


def _structure(form: Reduced) -> nx.DiGraph:
    return structure(*form)


class Distinct:
    """A set of architectures in which the same function is held once."""

    def __init__(self) -> None:
        self._members: dict[str, list[Architecture]] = {}
        self._forms: set[Reduced] = set()

    def add(self, architecture: Architecture) -> bool:
        """Whether the architecture is new; it is held then."""
        if architecture in self:
            return False
        self._members.setdefault(key(architecture), []).append(architecture)
        self._forms.add(reduced(architecture))
        return True

    def __contains__(self, architecture: object) -> bool:
        if not isinstance(architecture, Architecture):
            return False
        if reduced(architecture) in self._forms:
            return True
        members = self._members.get(key(architecture), [])
        return any(same(architecture, other) for other in members)

    def __iter__(self) -> Iterator[Architecture]:
        return (member for members in self._members.values() for member in members)

    def __len__(self) -> int:
        return len(self._forms)
