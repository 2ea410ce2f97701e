"""Mining among scalar operations: the dot product is found, not given.

A scalar graph of a layer has a million nodes, so that growing sets is out of the question. What a
circuit can be made of is a fan-out-free cone: an operation with everything that only it uses,
directly or through others. Maximal cones (whose result is stored or used more than once) partition
the operations in one way only, as in technology mapping (Cong, Ding: FlowMap, IEEE TCAD 13, 1994),
and are trees. Equal trees get equal numbers in one pass over the graph, leaves first (Downey,
Sethi, Tarjan: Variations on the common subexpression problem, J. ACM 27, 1980), with the operands
of a commutative operation in the order of their numbers: the canonical form is exact, and no
isomorphism test is needed after it.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from hashlib import blake2b

from fragenv.errors import FragenvError
from fragenv.patterns.scalar_graph import COMMUTATIVE, ScalarGraph

_OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class DotProduct:
    """A sum of products: ``products`` multiplications of two values from outside, and ``addends``
    other summands (a bias, a partial sum), summed by ``products + addends - 1`` additions.

    ``adder_depth`` is the most additions on a path: the logarithm of the summands, rounded up, for
    a balanced tree, one less than the summands for a chain.
    """

    products: int
    addends: int
    adder_depth: int

    @property
    def additions(self) -> int:
        return self.products + self.addends - 1

    @property
    def balanced(self) -> bool:
        """Whether no arrangement of the additions has a shorter path."""
        return self.adder_depth == (self.additions).bit_length()


@dataclass(frozen=True, slots=True)
class ScalarPattern:
    """A tree of scalar operations that repeats.

    ``key`` is equal for isomorphic trees, in any graph. ``roots`` are the last operations of its
    replicas. ``dot`` is the largest sum of products in it, if there is one.
    """

    key: str
    kinds: tuple[tuple[str, int], ...]
    dot: DotProduct | None
    roots: tuple[int, ...] = field(repr=False)

    @property
    def operations(self) -> int:
        return sum(count for _, count in self.kinds)

    @property
    def replicas(self) -> int:
        return len(self.roots)

    @property
    def gain(self) -> int:
        """Operations covered by all replicas; replicas never overlap."""
        return self.operations * self.replicas

    @property
    def name(self) -> str:
        """For people, such as ``8 mul + 7 add``."""
        return " + ".join(f"{count} {kind}" for kind, count in self.kinds)


def mine_scalars(graph: ScalarGraph) -> tuple[ScalarPattern, ...]:
    """The patterns of a scalar graph with their replicas, by falling gain, then by key.

    Every operation is in exactly one replica of one pattern.

    Raises:
        FragenvError: the graph has no operation.
    """
    if not graph.num_operations:
        raise FragenvError(f"{graph.name}: the scalar graph has no operation to mine")
    inner = inner_values(graph)
    trees = _Trees()
    tree_of: dict[int, int] = {}
    roots: dict[int, array[int]] = {}
    for value in graph.operations():
        parts = [
            tree_of.pop(operand) if inner[operand] else _OUTSIDE
            for operand in graph.operands(value)
        ]
        number = trees.number(graph.kind(value), parts)
        if inner[value]:
            tree_of[value] = number
        else:
            roots.setdefault(number, array("i")).append(value)
    patterns = [
        ScalarPattern(trees.keys[n], trees.kinds(n), trees.best_dot(n), tuple(found))
        for n, found in roots.items()
    ]
    return tuple(sorted(patterns, key=lambda p: (-p.gain, p.key)))


def inner_values(graph: ScalarGraph) -> bytearray:
    """1 for each operation whose result goes to one operand of one operation and nowhere else."""
    uses = bytearray(len(graph))  # 0, 1, or 2 for more
    for value in graph.operations():
        for operand in graph.operands(value):
            uses[operand] = min(2, uses[operand] + 1)
    for value in graph.outputs:
        uses[value] = 2
    return bytearray(uses[v] == 1 and not graph.is_leaf(v) for v in range(len(graph)))


class _Trees:
    """Numbers trees; what a pattern says about itself is computed once per tree."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, tuple[int, ...]], int] = {}
        self._forms: list[tuple[str, tuple[int, ...]]] = []
        self.keys: list[str] = []
        self._sums: list[DotProduct | None] = []

    def number(self, kind: str, parts: list[int]) -> int:
        """Equal for equal trees; ``parts`` are the operands' numbers."""
        form = (kind, tuple(sorted(parts) if kind in COMMUTATIVE else parts))
        if form not in self._numbers:
            self._numbers[form] = len(self._forms)
            self._forms.append(form)
            self.keys.append(self._key(form))
            self._sums.append(self._sum(form))
        return self._numbers[form]

    def _key(self, form: tuple[str, tuple[int, ...]]) -> str:
        kind, parts = form
        below = [self.keys[p] if p != _OUTSIDE else "" for p in parts]
        text = f"{kind}({','.join(sorted(below) if kind in COMMUTATIVE else below)})"
        return blake2b(text.encode(), digest_size=16).hexdigest()

    def _sum(self, form: tuple[str, tuple[int, ...]]) -> DotProduct | None:
        """The tree as a sum of products; None if its last operation neither adds nor multiplies two
        values from outside."""
        kind, parts = form
        if kind == "mul" and parts == (_OUTSIDE, _OUTSIDE):
            return DotProduct(1, 0, 0)
        if kind != "add":
            return None
        products = addends = depth = 0
        for part in parts:
            summand = self._sums[part] if part != _OUTSIDE else None
            if summand is None:
                addends += 1
            else:
                products += summand.products
                addends += summand.addends
                depth = max(depth, summand.adder_depth)
        return DotProduct(products, addends, depth + 1)

    def kinds(self, number: int) -> tuple[tuple[str, int], ...]:
        """Operations by kind, most first."""
        counts: dict[str, int] = {}
        for tree in self._all_parts(number):
            kind = self._forms[tree][0]
            counts[kind] = counts.get(kind, 0) + 1
        return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0] != "mul", item[0])))

    def best_dot(self, number: int) -> DotProduct | None:
        """The sum with the most products; the outermost of those."""
        sums = [s for tree in self._all_parts(number) if (s := self._sums[tree]) and s.products]
        return max(sums, key=lambda s: (s.products, s.additions), default=None)

    def _all_parts(self, number: int) -> list[int]:
        """The trees of all operations, one entry per operation."""
        stack, found = [number], []
        while stack:
            tree = stack.pop()
            found.append(tree)
            stack += [p for p in self._forms[tree][1] if p != _OUTSIDE]
        return found
