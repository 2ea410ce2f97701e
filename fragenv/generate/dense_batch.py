"""Many graphs of the extended space at once, as tensors: drawn, mutated, disguised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fragenv.generate.architecture import Architecture, ArchitectureError
from fragenv.generate.dense import DenseSpace

#: least and greatest probability of an edge in a drawn graph
_SPARSE, _FULL = 0.15, 0.75
#: share of the drawn graphs in which no node is absent
_COMPLETE = 0.5


@dataclass(frozen=True, slots=True)
class DenseBatch:
    """(B, nodes) numbers of ``DenseSpace.node_types`` and (B, nodes, nodes) edges [from, to]."""

    types: Tensor
    edges: Tensor

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, rows: Tensor) -> DenseBatch:
        return DenseBatch(self.types[rows], self.edges[rows])

    def parts(self, rows: int) -> list[DenseBatch]:
        """The batch in pieces of up to ``rows`` graphs."""
        pieces = zip(torch.split(self.types, rows), torch.split(self.edges, rows), strict=True)
        return [DenseBatch(*piece) for piece in pieces]

    def live(self) -> Tensor:
        """(B, nodes) whether a node is on a path from input to output."""
        return _reached(self.edges, 0) & _reached(self.edges.transpose(1, 2), -1)

    def waiting(self) -> Tensor:
        """(B, nodes) when the nodes run in their order, how many earlier tensors are still to be
        read, by this node or a later one; 0 for nodes without an effect."""
        live, number = self.live(), torch.arange(self.types.shape[1])
        edges = self.edges & live[:, :, None] & live[:, None, :]
        last_reader = (edges * number).amax(2)
        held = (last_reader[:, :, None] >= number) & (number[:, None] < number)
        return held.sum(1) * live


def joined(*parts: DenseBatch) -> DenseBatch:
    """One batch of several."""
    return DenseBatch(torch.cat([p.types for p in parts]), torch.cat([p.edges for p in parts]))


def to_batch(space: DenseSpace, architectures: Sequence[Architecture]) -> DenseBatch:
    """Architectures as tensors.

    Raises:
        ArchitectureError: one that the space has no place for.
    """
    types = torch.zeros(len(architectures), space.nodes, dtype=torch.long)
    edges = torch.zeros(len(architectures), space.nodes, space.nodes, dtype=torch.bool)
    for row, architecture in enumerate(architectures):
        ours = space.encode(architecture)
        types[row], edges[row] = map(torch.from_numpy, ours)
    return DenseBatch(types, edges)


def to_architectures(
    space: DenseSpace, batch: DenseBatch, origin: str
) -> list[Architecture | None]:
    """The architecture of each graph; None where it is none: no path from input to output."""
    found: list[Architecture | None] = []
    for types, edges in zip(batch.types.numpy(), batch.edges.numpy(), strict=True):
        try:
            found.append(space.decode(types, edges, origin))
        except ArchitectureError:
            found.append(None)
    return found


def drawn(space: DenseSpace, count: int, generator: torch.Generator) -> DenseBatch:
    """Random graphs with a path from input to output.

    Each has its own probability of an edge, its own mixture of operators (uniform among all
    mixtures) and, every second one, a random number of absent nodes: drawn uniformly, nearly all
    graphs of the space would be alike, with half of the edges and a bit of every operator.
    """
    parts: list[DenseBatch] = []
    held = 0
    while held < count:
        batch = _attempted(space, count, generator)
        parts.append(batch[batch.live()[:, 0].nonzero()[:, 0]])
        held += len(parts[-1])
    return joined(*parts)[torch.arange(count)]


def mutated(
    space: DenseSpace, batch: DenseBatch, changes: int, generator: torch.Generator
) -> DenseBatch:
    """Each graph after up to ``changes`` random changes of an operator or an edge; as it was where
    they cut every path from input to output."""
    types, edges = batch.types.clone(), batch.edges.clone()
    every = torch.arange(len(batch))
    src, dst = torch.triu_indices(space.nodes, space.nodes, 1)
    absent = _absent(space)
    for _ in range(changes):
        node = torch.randint(1, space.nodes - 1, (len(batch),), generator=generator)
        op = torch.randint(1, absent - 1, (len(batch),), generator=generator)
        retyped = torch.rand(len(batch), generator=generator) < 0.5
        types[every[retyped], node[retyped]] = op[retyped]
        edge = torch.randint(len(src), (len(batch),), generator=generator)
        # an edge of an absent node would mean nothing
        ends = torch.stack([types[every, src[edge]], types[every, dst[edge]]])
        rewired = ~retyped & (ends != absent).all(0)
        where = every[rewired], src[edge[rewired]], dst[edge[rewired]]
        edges[where] = ~edges[where]
    cut = ~DenseBatch(types, edges).live()[:, 0]
    types[cut], edges[cut] = batch.types[cut], batch.edges[cut]
    return DenseBatch(types, edges)


def disguised(space: DenseSpace, batch: DenseBatch, generator: torch.Generator) -> DenseBatch:
    """The same functions as other graphs: some absent nodes become nodes without effect, and all
    nodes between input and output take a random topological order."""
    types, edges = batch.types.clone(), batch.edges.clone()
    count, nodes, absent = len(batch), space.nodes, _absent(space)
    for node in range(1, nodes - 1):
        filled = (types[:, node] == absent) & (torch.rand(count, generator=generator) < 0.5)
        op = torch.randint(1, absent - 1, (count,), generator=generator)
        # it hears others and nobody reads it, or the other way round
        deaf = torch.rand(count, generator=generator) < 0.5
        wires = torch.rand(count, nodes, generator=generator) < 0.5
        wires &= types != absent
        before = wires & (torch.arange(nodes) < node)
        after = wires & (torch.arange(nodes) > node)
        types[filled, node] = op[filled]
        edges[filled & ~deaf, :, node] = before[filled & ~deaf]
        edges[filled & deaf, node] = after[filled & deaf]
    return _ordered(space, DenseBatch(types, edges), generator)


def _attempted(space: DenseSpace, count: int, generator: torch.Generator) -> DenseBatch:
    """Graphs as ``drawn`` makes them, some without a path from input to output."""
    nodes, operators = space.nodes, len(space.operators)
    # normalised exponentials are uniform among the mixtures
    mixture = torch.empty(count, operators).exponential_(generator=generator)
    inner = 1 + torch.multinomial(mixture, nodes - 2, replacement=True, generator=generator)
    complete = torch.rand(count, generator=generator) < _COMPLETE
    held = torch.randint(1, nodes - 1, (count,), generator=generator)
    held[complete] = nodes - 2
    there = torch.arange(nodes - 2) < held[:, None]
    inner[~there] = _absent(space)
    ends = torch.ones(count, 1, dtype=torch.long)
    types = torch.cat([0 * ends, inner, (operators + 1) * ends], 1)
    density = _SPARSE + (_FULL - _SPARSE) * torch.rand(count, 1, 1, generator=generator)
    edges = (torch.rand(count, nodes, nodes, generator=generator) < density).triu(1)
    present = types != _absent(space)
    return DenseBatch(types, edges & present[:, :, None] & present[:, None, :])


def _ordered(space: DenseSpace, batch: DenseBatch, generator: torch.Generator) -> DenseBatch:
    """A random topological order; input first, absent nodes and the output last."""
    count, nodes = batch.types.shape
    rank = torch.rand(count, nodes, generator=generator)
    rank[:, 0] = -1
    rank[batch.types == _absent(space)] = 2
    rank[:, -1] = 3
    waiting = torch.ones(count, nodes, dtype=torch.bool)
    order = torch.empty(count, nodes, dtype=torch.long)
    for place in range(nodes):
        blocked = (batch.edges & waiting[:, :, None]).any(1)
        order[:, place] = rank.masked_fill(blocked | ~waiting, torch.inf).argmin(1)
        waiting[torch.arange(count), order[:, place]] = False
    rows = torch.arange(count)[:, None, None]
    edges = batch.edges[rows, order[:, :, None], order[:, None, :]]
    return DenseBatch(batch.types.gather(1, order), edges)


def _reached(edges: Tensor, start: int) -> Tensor:
    """(B, nodes) the nodes that ``start`` reaches along (B, nodes, nodes) edges."""
    count, nodes = edges.shape[:2]
    found = torch.zeros(count, nodes, dtype=torch.bool)
    found[:, start] = True
    for _ in range(nodes - 1):
        found = found | (found[:, :, None] & edges).any(1)
    return found


def _absent(space: DenseSpace) -> int:
    """The number of the type of a node that is not there, the last one."""
    return len(space.operators) + 2
