"""Random operator graphs for the miners, with the naive judges that the tests compare with."""

from __future__ import annotations

import itertools

import networkx as nx
from hypothesis import strategies as st

from fragenv.graph.dataflow import DataflowGraph, Tensor
from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.patterns.pattern import label

MACS = {OpKind.CONV, OpKind.GEMM}
ACTIVATIONS = {OpKind.RELU, OpKind.CLIP}
KINDS = [OpKind.CONV, OpKind.CONV, OpKind.RELU, OpKind.ADD, OpKind.CONCAT, OpKind.MAXPOOL]


def make(name: str, kind: OpKind, inputs: tuple[str, ...], kernel: int = 1) -> Operator:
    nest = LoopNest(k=4, c=4, r=kernel, s=kernel)
    return Operator(name, kind, nest, inputs, f"{name}.out")


def build(operators: list[Operator], outputs: set[str]) -> DataflowGraph:
    names = {"x", *(op.output for op in operators)}
    return DataflowGraph("g", operators, {n: Tensor(n, (4, 1, 1)) for n in names}, ["x"], outputs)


@st.composite
def graphs(draw: st.DrawFn, most: int = 8) -> DataflowGraph:
    """Up to ``most`` operators; several readers and operands, multi-edges, several components."""
    operators: list[Operator] = []
    for i in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(KINDS))
        known = ["x", *(op.output for op in operators)][-4:]
        arity = {OpKind.ADD: 2, OpKind.CONCAT: draw(st.integers(2, 3))}.get(kind, 1)
        read = tuple(draw(st.sampled_from(known)) for _ in range(arity))
        operators.append(make(f"n{i}", kind, read, draw(st.sampled_from([1, 1, 1, 3]))))
    read_tensors = {t for op in operators for t in op.inputs}
    outputs = {op.output for op in operators} - read_tensors
    extra = draw(st.sets(st.sampled_from([op.output for op in operators]), max_size=1))
    return build(operators, outputs | extra)


def depth(graph: DataflowGraph, inside: frozenset[str]) -> int:
    """Multiply-accumulate operators on the longest path, path by path."""
    sub = nx.DiGraph(graph.nx.subgraph(inside))
    paths = [[name] for name in inside]
    for a, b in itertools.permutations(inside, 2):
        paths += nx.all_simple_paths(sub, a, b)
    return max(sum(graph.op(n).kind in MACS for n in path) for path in paths)


def is_piece(graph: DataflowGraph, inside: frozenset[str]) -> bool:
    """Connected, convex, and no activation parted from a producer that only it reads."""
    if not nx.is_weakly_connected(graph.nx.subgraph(inside)):
        return False
    for a, b in itertools.permutations(inside, 2):
        if not nx.descendants(graph.nx, a) & nx.ancestors(graph.nx, b) <= inside:
            return False
    return all(
        (first in inside) == (second in inside)
        for first, second in graph.nx.edges()
        if glued(graph, first, second)
    )


def glued(graph: DataflowGraph, first: str, second: str) -> bool:
    """Whether ``second`` is an activation that alone reads what ``first`` makes."""
    tensor = graph.op(first).output
    return (
        graph.op(second).kind in ACTIVATIONS
        and graph.op(first).kind is not OpKind.CONCAT
        and [op.name for op in graph.operators if tensor in op.inputs] == [second]
        and tensor not in graph.outputs
    )


def pieces(graph: DataflowGraph, max_depth: int, max_operators: int) -> list[frozenset[str]]:
    """Every subset of the operators that may be an occurrence, by trying all."""
    names = [op.name for op in graph.operators]
    subsets = (
        frozenset(s)
        for size in range(1, min(len(names), max_operators) + 1)
        for s in itertools.combinations(names, size)
    )
    return [s for s in subsets if is_piece(graph, s) and depth(graph, s) <= max_depth]


def same(graph: DataflowGraph, a: frozenset[str], b: frozenset[str]) -> bool:
    """Isomorphism by networkx's VF2 on multigraphs. The operands of an addition commute; an
    activation whose producer has other readers is a kind of its own."""
    return bool(
        nx.is_isomorphic(
            _labelled(graph, a),
            _labelled(graph, b),
            node_match=lambda m, n: m["label"] == n["label"],
            edge_match=lambda m, n: (
                sorted(e["slot"] for e in m.values()) == sorted(e["slot"] for e in n.values())
            ),
        )
    )


def _labelled(graph: DataflowGraph, names: frozenset[str]) -> nx.MultiDiGraph:
    sub = nx.MultiDiGraph(graph.nx.subgraph(names))
    for name in sub:
        sub.nodes[name]["label"] = label(graph.op(name))
    for maker, reader in set(sub.edges()):
        if graph.op(reader).kind in ACTIVATIONS and not glued(graph, maker, reader):
            sub.nodes[reader]["label"] = "apart"
    for _, reader, data in sub.edges(data=True):
        if graph.op(reader).kind is OpKind.ADD:
            data["slot"] = 0
    return sub


def classes(graph: DataflowGraph, sets: list[frozenset[str]]) -> list[list[frozenset[str]]]:
    """``sets`` grouped by isomorphism, pair by pair."""
    groups: list[list[frozenset[str]]] = []
    for one in sets:
        home = next((g for g in groups if same(graph, g[0], one)), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    return groups


def most_disjoint(sets: list[frozenset[str]]) -> int:
    """The size of a largest choice of pairwise disjoint sets, by trying all choices."""
    if not sets:
        return 0
    first, rest = sets[0], sets[1:]
    return max(most_disjoint(rest), 1 + most_disjoint([s for s in rest if not s & first]))
