"""Random typed graphs: chains, branches and mutations of given ones, from a seed."""

from __future__ import annotations

import random
from dataclasses import replace

import networkx as nx

from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.patterns.similarity.typed import TypedGraph

#: kinds with how often they are drawn: those that chips run first, those of attention now and then
_KINDS: dict[OpKind, float] = {
    OpKind.CONV: 8,
    OpKind.RELU: 5,
    OpKind.CLIP: 2,
    OpKind.ADD: 3,
    OpKind.CONCAT: 2,
    OpKind.MAXPOOL: 2,
    OpKind.AVGPOOL: 1,
    OpKind.GLOBALAVG: 1,
    OpKind.GEMM: 2,
    OpKind.LRN: 0.5,
    OpKind.MATMUL: 0.5,
    OpKind.SOFTMAX: 0.5,
    OpKind.NORM: 0.5,
    OpKind.GELU: 0.5,
    OpKind.AFFINE: 0.5,
    OpKind.MOVE: 0.5,
}
_KERNELS = {OpKind.CONV: (1, 1, 1, 3, 3, 5, 7, 11), OpKind.MAXPOOL: (2, 3), OpKind.AVGPOOL: (2, 3)}
_SIDES = (7, 14, 28, 56, 112)
#: how often an operator reads another than the last one, and how often it begins a chain
_BRANCHES, _STARTS = 0.3, 0.2


def random_graph(chance: random.Random, most: int) -> TypedGraph:
    """A connected graph of 1 to ``most`` operators: chains, some of whose operators read an earlier
    one instead, or as well where they take more operands; where there are several chains, a
    concatenation joins them."""
    operators: list[Operator] = []
    edges: list[tuple[int, int, int]] = []
    channels = chance.choice((3, 16, 32, 64, 128, 256))
    ends: list[int] = []
    size = chance.randint(1, most)
    while len(operators) + _joints(len(ends)) < size:
        new = len(operators)
        starts = not ends or (chance.random() < _STARTS and new + _joints(len(ends) + 1) < size)
        kind = _random_kind(chance)
        if starts:
            ends.append(new)
        else:
            branches = chance.random() < _BRANCHES
            source = chance.randrange(new) if branches else ends[-1]
            edges.append((source, new, 0))
            if new > 1 and _joins(kind) and chance.random() < 2 * _BRANCHES:
                edges.append((chance.randrange(new), new, 0 if kind is OpKind.ADD else 1))
            if source == ends[-1]:
                ends[-1] = new
            channels = operators[source].nest.k
        operators.append(random_operator(chance, kind, channels))
    if len(ends) > 1:
        new = len(operators)
        channels = sum(operators[end].nest.k for end in ends)
        operators.append(random_operator(chance, OpKind.CONCAT, channels))
        edges += [(end, new, slot) for slot, end in enumerate(ends)]
    return TypedGraph(tuple(operators), tuple(sorted(set(edges))))


def random_piece(chance: random.Random, most: int) -> TypedGraph:
    """A connected piece, of at most ``most`` operators, of a random network module: a stem, one to
    four branches of convolutions and pools with their activations, which a concatenation or
    additions join, and what follows."""
    module = _Module(chance)
    source: int | None = None
    channels = 2 ** chance.randint(3, 10)
    if chance.random() < 0.5:
        source, channels = module.chain(None, channels, chance.randint(1, 2))
    if chance.random() < 0.3:
        module.chain(source, channels, chance.randint(2, 5))
    else:
        branches = [
            module.chain(source, channels, chance.choice((0, 1, 1, 2, 2, 3)) if number else 1)
            for number in range(chance.randint(2, 4))
        ]
        joined = module.join([end for end in branches if end[0] is not None])
        if joined is not None and chance.random() < 0.7:
            module.chain(*joined, chance.randint(1, 3))
    graph = TypedGraph(tuple(module.operators), tuple(sorted(module.edges)))
    # large pieces more often than small ones, of which there are fewer kinds
    return _cut_out(chance, graph, max(chance.randint(1, most), chance.randint(1, most)))


class _Module:
    """Grows operator by operator; None stands for a tensor from outside."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.operators: list[Operator] = []
        self.edges: list[tuple[int, int, int]] = []
        self.side = chance.choice(_SIDES)
        self.activation = chance.choice((OpKind.RELU, OpKind.RELU, OpKind.CLIP))

    def put(self, op: Operator, sources: list[int | None]) -> int:
        slots = [0] * len(sources) if op.kind is OpKind.ADD else range(len(sources))
        place = len(self.operators)
        known = zip(sources, slots, strict=True)
        self.edges += [(source, place, slot) for source, slot in known if source is not None]
        self.operators.append(op)
        return place

    def chain(self, source: int | None, channels: int, length: int) -> tuple[int | None, int]:
        """Its last operator and channels."""
        for _ in range(length):
            pools = self.chance.random() < 0.15
            kind = self.chance.choice((OpKind.MAXPOOL, OpKind.AVGPOOL)) if pools else OpKind.CONV
            source = self.put(random_operator(self.chance, kind, channels), [source])
            channels = self.operators[source].nest.k
            if not pools and self.chance.random() < 0.8:
                source = self.put(self.plain(self.activation, channels), [source])
        return source, channels

    def join(self, ends: list[tuple[int | None, int]]) -> tuple[int, int] | None:
        if not ends:
            return None
        if self.chance.random() < 0.5:
            channels = sum(count for _, count in ends)
            sources = [source for source, _ in ends]
            return self.put(self.plain(OpKind.CONCAT, channels), sources), channels
        (place, channels), *rest = ends
        for other, _ in rest or [(None, channels)]:
            place = self.put(self.plain(OpKind.ADD, channels), [place, other])
        if self.chance.random() < 0.6:
            place = self.put(self.plain(self.activation, channels), [place])
        assert place is not None
        return place, channels

    def plain(self, kind: OpKind, channels: int) -> Operator:
        nest = LoopNest(channels, channels, self.side, self.side, h=self.side, w=self.side)
        return _operator(kind, nest)


def _cut_out(chance: random.Random, graph: TypedGraph, size: int) -> TypedGraph:
    """A connected piece of at most ``size`` operators, grown from a random one."""
    undirected = graph.nx.to_undirected(as_view=True)
    inside = [chance.randrange(len(graph))]
    while len(inside) < size:
        beside = sorted({n for i in inside for n in undirected[i]} - set(inside))
        if not beside:
            break
        inside.append(chance.choice(beside))
    return _induced(graph, sorted(inside))


def _induced(graph: TypedGraph, kept: list[int]) -> TypedGraph:
    place = {old: new for new, old in enumerate(kept)}
    edges = [(place[s], place[d], x) for s, d, x in graph.edges if s in place and d in place]
    return TypedGraph(tuple(graph.operators[i] for i in kept), tuple(sorted(edges)))


def _joints(chains: int) -> int:
    """Operators that join so many chains."""
    return 1 if chains > 1 else 0


def _random_kind(chance: random.Random) -> OpKind:
    return chance.choices(list(_KINDS), list(_KINDS.values()))[0]


def _joins(kind: OpKind) -> bool:
    return kind in (OpKind.ADD, OpKind.CONCAT, OpKind.MATMUL)


def random_operator(chance: random.Random, kind: OpKind, channels: int) -> Operator:
    """An operator that reads ``channels`` channels."""
    side = chance.choice(_SIDES)
    if kind in (OpKind.GEMM, OpKind.MATMUL):
        return _operator(kind, LoopNest(_channels(chance), channels))
    if kind not in _KERNELS:
        return _operator(kind, LoopNest(channels, channels, side, side, h=side, w=side))
    kernel = chance.choice(_KERNELS[kind])
    stride = chance.choice((1, 1, 1, 2)) if kind is OpKind.CONV else chance.choice((1, 2, 2))
    groups, k = 1, channels
    if kind is OpKind.CONV:
        k = _channels(chance)
        if kernel > 1 and chance.random() < 0.25:
            groups, k = channels, channels
        elif channels % 2 == 0 and chance.random() < 0.1:
            groups, k = 2, k + k % 2
    bounds = {"h": side * stride, "w": side * stride, "stride": (stride, stride), "groups": groups}
    return _operator(kind, LoopNest(k, channels, side, side, kernel, kernel, **bounds))  # type: ignore[arg-type]


def _channels(chance: random.Random) -> int:
    return int(2 ** chance.uniform(3, 10))


def _operator(kind: OpKind, nest: LoopNest) -> Operator:
    return Operator(kind.value, kind, nest, (), "")


def mutated(chance: random.Random, graph: TypedGraph, edits: int, most: int) -> TypedGraph:
    """``graph`` after random edits: operators replaced, other channels or kernels, one operator
    more on an edge, one operator less, a shortcut."""
    for _ in range(edits):
        edit = chance.choice((_retype, _rescale, _rescale, _insert, _remove, _shortcut))
        changed = edit(chance, graph)
        if 1 <= len(changed) <= most:
            graph = changed
    return graph


def _with(graph: TypedGraph, place: int, op: Operator) -> TypedGraph:
    operators = (*graph.operators[:place], op, *graph.operators[place + 1 :])
    return TypedGraph(operators, graph.edges)


def _retype(chance: random.Random, graph: TypedGraph) -> TypedGraph:
    place = chance.randrange(len(graph))
    kind = _random_kind(chance)
    return _with(graph, place, random_operator(chance, kind, graph.operators[place].nest.c))


def _rescale(chance: random.Random, graph: TypedGraph) -> TypedGraph:
    """Other channels of one operator, or another window and channels, of the same kind."""
    place = chance.randrange(len(graph))
    old = graph.operators[place]
    nest = old.nest
    if nest.groups > 1 or chance.random() < 0.5:
        return _with(graph, place, random_operator(chance, old.kind, nest.c))
    if nest.k == nest.c:
        c = k = _channels(chance)
    else:
        c, k = nest.c, _channels(chance)
    return _with(graph, place, _operator(old.kind, replace(nest, c=c, k=k)))


def _insert(chance: random.Random, graph: TypedGraph) -> TypedGraph:
    """One operator more: on an edge, or at an end of a graph without edges."""
    kind = _random_kind(chance)
    new = len(graph)
    source = chance.randrange(new)
    edges = list(graph.edges)
    leaving = [edge for edge in edges if edge[0] == source]
    if leaving and chance.random() < 0.7:
        cut = chance.choice(leaving)
        edges.remove(cut)
        edges.append((new, cut[1], cut[2]))
    edges.append((source, new, 0))
    op = random_operator(chance, kind, graph.operators[source].nest.k)
    return TypedGraph((*graph.operators, op), tuple(sorted(edges)))


def _remove(chance: random.Random, graph: TypedGraph) -> TypedGraph:
    """One operator less; its readers read what it read. Unchanged where that might cut it apart."""
    place = chance.randrange(len(graph))
    sources = [src for src, dst, _ in graph.edges if dst == place]
    edges = {edge for edge in graph.edges if place not in edge[:2]}
    if sources:
        edges |= {(sources[0], dst, slot) for src, dst, slot in graph.edges if src == place}
    elif sum(src == place for src, _, _ in graph.edges) > 1:
        return graph
    kept = [i for i in range(len(graph)) if i != place]
    renumbered = {old: new for new, old in enumerate(kept)}
    smaller = TypedGraph(
        tuple(graph.operators[i] for i in kept),
        tuple(sorted((renumbered[s], renumbered[d], slot) for s, d, slot in edges)),
    )
    return smaller if smaller.operators and nx.is_weakly_connected(smaller.nx) else graph


def _shortcut(chance: random.Random, graph: TypedGraph) -> TypedGraph:
    """An edge more, into an operator that joins tensors and has one operand inside."""
    joins = [i for i, op in enumerate(graph.operators) if _joins(op.kind)]
    if not joins:
        return graph
    place = chance.choice(joins)
    behind = nx.descendants(graph.nx, place) | {place}
    sources = [i for i in range(len(graph)) if i not in behind]
    if not sources or sum(dst == place for _, dst, _ in graph.edges) >= 2:
        return graph
    slot = 0 if graph.operators[place].kind is OpKind.ADD else 1
    edges = {*graph.edges, (chance.choice(sources), place, slot)}
    return TypedGraph(graph.operators, tuple(sorted(edges)))
