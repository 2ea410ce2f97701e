"""The virtual platform: one operator's loop nest as scalar multiplications and additions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import networkx as nx

from fragenv.errors import ModelError
from fragenv.graph.operators import Operator


@dataclass(frozen=True, slots=True)
class UnrollFactors:
    """How many iterations of each loop exist side by side; 1 keeps the loop in time.

    k output channels (the output rows of a matrix product, which share the input), c input channels
    of a group, p x q output positions, r x s kernel positions.
    """

    k: int = 1
    c: int = 1
    p: int = 1
    q: int = 1
    r: int = 1
    s: int = 1

    @property
    def multiplications(self) -> int:
        """Multipliers of the unrolled body."""
        return self.outputs * self.reduction

    @property
    def outputs(self) -> int:
        """Results of the unrolled body."""
        return self.k * self.p * self.q

    @property
    def reduction(self) -> int:
        """Products that are summed into each result."""
        return self.c * self.r * self.s


def unroll(op: Operator, factors: UnrollFactors) -> nx.DiGraph:
    """The scalar dataflow graph of the first iteration of ``op``'s unrolled loop nest.

    Nodes are strings with a ``kind``:

    * ``x[c,h,w]`` ("input"): one element of the padded input. Every product that needs it reads the
      same node: the rows of a matrix product share x, the windows of a convolution overlap.
    * ``w[k,c,r,s]`` ("weight"), c counted within the group.
    * ``mul[k,p,q,c,r,s]`` ("mul"): input times weight.
    * ``add[k,p,q,i]`` ("add"): a balanced tree over the products of one result.
    * ``acc[k,p,q]`` ("accumulator"): the partial sum so far, where the reduction is not wholly
      unrolled; the last addition adds it.
    * ``y[k,p,q]`` ("output"): the result, or the next partial sum.

    Edges point from operand to user. There are ``factors.multiplications`` multiplications and,
    for each result, one addition fewer than operands.

    Args:
        op: a convolution or matrix product.
        factors: each between 1 and the loop's bound (c: within one group).

    Raises:
        ModelError: another kind of operator, or a factor out of range.
    """
    _check(op, factors)
    graph = nx.DiGraph(name=op.name)
    nest = op.nest
    whole = factors.reduction == (nest.c // nest.groups) * nest.r * nest.s
    for k, p, q in product(range(factors.k), range(factors.p), range(factors.q)):
        sums = [
            _multiply(graph, op, (k, p, q), (c, r, s))
            for c, r, s in product(range(factors.c), range(factors.r), range(factors.s))
        ]
        total = _tree(graph, f"{k},{p},{q}", sums, whole)
        graph.add_node(f"y[{k},{p},{q}]", kind="output")
        graph.add_edge(total, f"y[{k},{p},{q}]")
    return graph


def _check(op: Operator, factors: UnrollFactors) -> None:
    if not op.is_mac:
        raise ModelError(op.name, "only convolutions and matrix products unroll", op.name, op.kind)
    nest = op.nest
    bounds = {"k": nest.k, "c": nest.c // nest.groups, "p": nest.p, "q": nest.q}
    for loop, bound in (bounds | {"r": nest.r, "s": nest.s}).items():
        factor = getattr(factors, loop)
        if not 1 <= factor <= bound:
            raise ModelError(
                op.name,
                f"unroll factor {loop}={factor} is not within 1 to {bound}",
                op.name,
                op.kind,
            )


def _multiply(
    graph: nx.DiGraph, op: Operator, out: tuple[int, int, int], tap: tuple[int, int, int]
) -> str:
    (k, p, q), (c, r, s), nest = out, tap, op.nest
    channel = k // (nest.k // nest.groups) * (nest.c // nest.groups) + c
    row = p * nest.stride[0] + r * nest.dilation[0]
    column = q * nest.stride[1] + s * nest.dilation[1]
    x, w = f"x[{channel},{row},{column}]", f"w[{k},{c},{r},{s}]"
    node = f"mul[{k},{p},{q},{c},{r},{s}]"
    graph.add_node(x, kind="input")
    graph.add_node(w, kind="weight")
    graph.add_node(node, kind="mul")
    graph.add_edges_from([(x, node), (w, node)])
    return node


def _tree(graph: nx.DiGraph, out: str, sums: list[str], whole: bool) -> str:
    """Add ``sums`` pairwise until one is left, then the partial sum so far."""
    count = 0

    def add(a: str, b: str) -> str:
        nonlocal count
        node, count = f"add[{out},{count}]", count + 1
        graph.add_node(node, kind="add")
        graph.add_edges_from([(a, node), (b, node)])
        return node

    while len(sums) > 1:
        pairs = [add(sums[i], sums[i + 1]) for i in range(0, len(sums) - 1, 2)]
        sums = pairs + sums[len(pairs) * 2 :]
    if whole:
        return sums[0]
    graph.add_node(f"acc[{out}]", kind="accumulator")
    return add(sums[0], f"acc[{out}]")
