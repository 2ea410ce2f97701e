"""Architectures: cells of a network as typed directed acyclic graphs.

A node adds up what its predecessors give and applies its operator to the sum; all tensors of a cell
have one shape, so that any wiring is a network. The first node is the cell's input, the last its
output (the convention of Ying et al.: NAS-Bench-101, ICML 2019, with sums at every node).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from fragenv.errors import FragenvError
from fragenv.serialize import FileError, read_json, write_json

INPUT, OUTPUT, SKIP = "input", "output", "skip"
#: operators between input and output, by the names that files use; ``skip`` gives the sum itself
OPERATORS = (*(SKIP, "conv1x1", "conv3x3", "conv5x5", "depthwise3x3", "avgpool3x3", "maxpool3x3"),)
#: every node type
NODE_TYPES = (INPUT, *OPERATORS, OUTPUT)
_FORMAT, _VERSION = "fragenv-architectures", 1

Edge = tuple[int, int]


class ArchitectureError(FragenvError):
    """Nodes and edges that are not an architecture."""


@dataclass(frozen=True)
class Architecture:
    """A cell. Equality is that of the numbered graph; ``canonical.same`` ignores the numbering.

    Args:
        ops: the type of every node in a topological order: ``input`` first, ``output`` last.
        edges: (from, to) pairs, each once; kept sorted.
        origin: where the architecture comes from, for people; no part of equality.

    Raises:
        ArchitectureError: an unknown operator, a node or edge in the wrong place, a cycle, or no
            path from input to output.
    """

    ops: tuple[str, ...]
    edges: tuple[Edge, ...]
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check_ops(self.ops)
        _check_edges(self.ops, self.edges)
        object.__setattr__(self, "edges", tuple(sorted(self.edges)))
        if not self.live:
            raise ArchitectureError(
                "there is no path from input to output; connect node "
                f"{len(self.ops) - 1} (output) with something that node 0 (input) reaches"
            )

    def __len__(self) -> int:
        return len(self.ops)

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """The nodes that each node reads, ascending."""
        found: list[list[int]] = [[] for _ in self.ops]
        for src, dst in self.edges:
            found[dst].append(src)
        return tuple(tuple(sources) for sources in found)

    @cached_property
    def live(self) -> frozenset[int]:
        """The nodes on a path from input to output; nothing else has any effect. Empty only while
        an architecture without such a path is being refused."""
        forward = {0}
        for src, dst in self.edges:  # sorted by source, and sources come before their readers
            if src in forward:
                forward.add(dst)
        backward = {len(self.ops) - 1}
        for src, dst in sorted(self.edges, key=lambda edge: -edge[1]):
            if dst in backward:
                backward.add(src)
        both = forward & backward
        return frozenset(both) if 0 in both else frozenset()

    @staticmethod
    def of(ops: Sequence[str], edges: Iterable[Edge], origin: str = "") -> Architecture:
        """An architecture whose nodes may come in any order; they are sorted topologically.

        Raises:
            ArchitectureError: as the class; a cycle is named.
        """
        wanted = list(dict.fromkeys(edges))
        _check_types(ops)
        for edge in wanted:
            _check_ends(ops, edge)
        order = _topological(ops, wanted)
        place = {node: i for i, node in enumerate(order)}
        renamed = tuple((place[src], place[dst]) for src, dst in wanted)
        return Architecture(tuple(ops[node] for node in order), renamed, origin)

    def to_dict(self) -> dict[str, Any]:
        """What ``from_dict`` reads."""
        edges = [list(edge) for edge in self.edges]
        return {"ops": list(self.ops), "edges": edges, "origin": self.origin}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Architecture:
        """The architecture of a JSON object.

        Raises:
            ArchitectureError: fields are missing or of the wrong type, or as the class.
        """
        try:
            ops = tuple(str(op) for op in data["ops"])
            edges = tuple((int(src), int(dst)) for src, dst in data["edges"])
            origin = str(data.get("origin", ""))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ArchitectureError(
                "needs 'ops' (a list of names) and 'edges' (a list of pairs of numbers)"
            ) from None
        return Architecture(ops, edges, origin)


def save_architectures(path: Path, architectures: Sequence[Architecture]) -> None:
    """Write architectures as one JSON file, whole or not at all.

    Raises:
        FileError: the file cannot be written.
    """
    data = {"architectures": [architecture.to_dict() for architecture in architectures]}
    write_json(path, _FORMAT, _VERSION, data)


def load_architectures(path: Path) -> tuple[Architecture, ...]:
    """Read what ``save_architectures`` wrote.

    Raises:
        FileError: the file cannot be read, or an entry is no architecture; its number is named.
    """
    entries = read_json(path, _FORMAT, _VERSION).get("architectures")
    if not isinstance(entries, list):
        raise FileError(f"'{path}' is damaged: it has no list of architectures")
    found = []
    for number, entry in enumerate(entries):
        try:
            found.append(Architecture.from_dict(entry))
        except ArchitectureError as error:
            raise FileError(f"'{path}', architecture {number}: {error}") from None
    return tuple(found)


def _check_types(ops: Sequence[str]) -> None:
    for node, op in enumerate(ops):
        if op not in NODE_TYPES:
            close = get_close_matches(op, OPERATORS, 1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            raise ArchitectureError(
                f"node {node}: unknown operator '{op}'; {hint}known are {', '.join(OPERATORS)}"
            )
    for end in (INPUT, OUTPUT):
        if ops.count(end) != 1:
            raise ArchitectureError(f"needs exactly one '{end}' node, got {ops.count(end)}")


def _check_ops(ops: tuple[str, ...]) -> None:
    _check_types(ops)
    if ops[0] != INPUT or ops[-1] != OUTPUT:
        raise ArchitectureError(
            "the first node must be 'input' and the last 'output'; Architecture.of sorts nodes"
        )


def _check_ends(ops: Sequence[str], edge: Edge) -> None:
    src, dst = edge
    if not (0 <= src < len(ops) and 0 <= dst < len(ops)):
        raise ArchitectureError(f"edge {src} -> {dst} ends outside of nodes 0 to {len(ops) - 1}")
    if ops[src] == OUTPUT or ops[dst] == INPUT:
        raise ArchitectureError(f"edge {src} -> {dst} leaves the output or enters the input")


def _check_edges(ops: tuple[str, ...], edges: tuple[Edge, ...]) -> None:
    for src, dst in edges:
        _check_ends(ops, (src, dst))
        if src >= dst:
            _topological(ops, edges)  # names the cycle where there is one
            raise ArchitectureError(
                f"edge {src} -> {dst} runs backwards; number nodes in a topological order, or let "
                "Architecture.of do it"
            )
    if len(set(edges)) != len(edges):
        twice = next(edge for edge in edges if edges.count(edge) > 1)
        raise ArchitectureError(f"edge {twice[0]} -> {twice[1]} is given twice; give it once")


def _topological(ops: Sequence[str], edges: Iterable[Edge]) -> list[int]:
    """Nodes in a topological order, lowest number first, ``input`` and ``output`` at the ends."""
    readers: list[list[int]] = [[] for _ in ops]
    waiting = [0] * len(ops)
    for src, dst in edges:
        readers[src].append(dst)
        waiting[dst] += 1

    def rank(node: int) -> tuple[bool, bool, int]:
        return ops[node] != INPUT, ops[node] == OUTPUT, node

    ready = [node for node, count in enumerate(waiting) if not count]
    order = []
    while ready:
        node = min(ready, key=rank)
        ready.remove(node)
        order.append(node)
        for reader in readers[node]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(order) < len(ops):
        raise ArchitectureError(
            f"there is a cycle: {_cycle(readers, set(range(len(ops))) - set(order))}; remove one "
            "of its edges"
        )
    return order


def _cycle(readers: Sequence[Sequence[int]], left: set[int]) -> str:
    """A cycle among ``left``, the nodes that no topological order reaches."""
    sources = {dst: src for src in sorted(left) for dst in readers[src] if dst in left}
    node = next(n for n in sorted(left) if n in sources)
    path = [node]
    while (node := sources[node]) not in path:
        path.append(node)
    cycle = [*path[path.index(node) :], node]
    return " -> ".join(str(n) for n in reversed(cycle))
