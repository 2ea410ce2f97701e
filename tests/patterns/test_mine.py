"""mine() against a naive enumeration of all subsets that spells the rules out a second time."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_graphs import ACTIVATIONS, MACS, build, make

from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import HOST_KINDS, LoopNest, Operator, OpKind
from fragenv.patterns.mine import mine
from fragenv.patterns.pattern import external_inputs, label, mac_operator, output_tensor

POOLS = {OpKind.MAXPOOL, OpKind.AVGPOOL, OpKind.GLOBALAVG}
#: weighted towards what real networks are made of, so that fused patterns come up often
KINDS = [
    *[OpKind.ADD] * 6,
    *[OpKind.CONV, OpKind.RELU, OpKind.MAXPOOL] * 3,
    *[k for k in OpKind if k not in HOST_KINDS],
]


@st.composite
def graphs(draw: st.DrawFn, most: int = 7) -> DataflowGraph:
    """Random graphs of up to ``most`` operators; unread tensors are outputs, others may be."""
    operators: list[Operator] = []
    unread: list[str] = []
    for i in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(KINDS))
        arity = {OpKind.ADD: 2, OpKind.CONCAT: 2}.get(kind, 1)
        known = ["x", *(op.output for op in operators)]
        # mostly tensors that nobody reads yet: cones end where a tensor has a second reader
        read = [
            draw(st.sampled_from(unread if unread and draw(st.integers(0, 3)) else known))
            for _ in range(arity)
        ]
        operators.append(make(f"n{i}", kind, tuple(read), draw(st.sampled_from([1, 1, 3]))))
        unread = [t for t in (*unread, f"n{i}.out") if t not in read]
    if draw(st.booleans()):
        read = [draw(st.sampled_from([op.output for op in operators]))]
        operators.append(make("host", OpKind.SOFTMAX, tuple(read)))
        unread = [t for t in (*unread, "host.out") if t not in read]
    # now and then a result that nobody fetches, or one that the graph goes on to use
    made = [op.output for op in operators]
    extra = draw(st.sets(st.sampled_from(made), max_size=1)) if draw(st.booleans()) else set()
    dead = set(unread[:-1]) if draw(st.integers(0, 3)) == 0 else set()
    return build(operators, (set(unread) - dead) | extra)


def leaves(graph: DataflowGraph, name: str, inside: set[str]) -> bool:
    tensor = graph.op(name).output
    readers = {op.name for op in graph.operators if tensor in op.inputs}
    return tensor in graph.outputs or not readers or not readers <= inside


def macs_up_to(graph: DataflowGraph, name: str, inside: set[str]) -> int:
    """Over all paths inside that end at ``name``, the most multiply-accumulate operators."""
    sub = graph.nx.subgraph(inside)
    paths = [p for s in inside for p in nx.all_simple_paths(nx.DiGraph(sub), s, name)] + [[name]]
    return max(sum(graph.op(n).kind in MACS for n in path) for path in paths)


def splits_an_activation(graph: DataflowGraph, inside: set[str]) -> bool:
    for first, second, tensor in graph.nx.edges(data="tensor"):
        producer, reader = graph.op(first), graph.op(second)
        if reader.kind not in ACTIVATIONS or producer.kind is OpKind.CONCAT:
            continue
        only = [op.name for op in graph.operators if tensor in op.inputs] == [second]
        if only and tensor not in graph.outputs and (first in inside) != (second in inside):
            return True
    return False


def in_stages(graph: DataflowGraph, inside: set[str]) -> bool:
    """Nothing before the first multiplication; one pool and one add for each multiplication."""
    level = {name: macs_up_to(graph, name, inside) for name in inside}
    if any(graph.op(n).kind in MACS for n in inside) and 0 in level.values():
        return False
    for wanted in set(level.values()):
        here = [graph.op(n).kind for n in inside if level[n] == wanted]
        allowed = max(1, sum(kind in MACS for kind in here))
        if sum(k in POOLS for k in here) > allowed or here.count(OpKind.ADD) > allowed:
            return False
    return True


def is_task(graph: DataflowGraph, inside: set[str], max_depth: int) -> bool:
    kinds = [graph.op(n).kind for n in inside]
    if OpKind.SOFTMAX in kinds:
        return False
    if len(kinds) > 1 and max_depth == 1 and OpKind.CONCAT in kinds:
        return False
    if not nx.is_weakly_connected(graph.nx.subgraph(inside)):
        return False
    for a, b in itertools.permutations(inside, 2):
        if not nx.descendants(graph.nx, a) & nx.ancestors(graph.nx, b) <= inside:
            return False
    if sum(leaves(graph, n, inside) for n in inside) != 1:
        return False
    if max(macs_up_to(graph, n, inside) for n in inside) > max_depth:
        return False
    if max_depth == 1 and sum(k in MACS for k in kinds) > 1:
        return False
    return not splits_an_activation(graph, inside) and in_stages(graph, inside)


def brute_force(graph: DataflowGraph, max_depth: int) -> list[frozenset[str]]:
    names = [op.name for op in graph.operators]
    subsets = itertools.chain.from_iterable(
        itertools.combinations(names, size) for size in range(1, len(names) + 1)
    )
    return [frozenset(s) for s in subsets if is_task(graph, set(s), max_depth)]


def labelled(graph: DataflowGraph, names: frozenset[str]) -> nx.MultiDiGraph:
    sub = nx.MultiDiGraph(graph.nx.subgraph(names))
    for name in sub:
        sub.nodes[name]["label"] = label(graph.op(name))
    for _, reader, data in sub.edges(data=True):
        if graph.op(reader).kind is OpKind.ADD:
            data["slot"] = 0
    return sub


def same(graph: DataflowGraph, a: frozenset[str], b: frozenset[str]) -> bool:
    return bool(
        nx.is_isomorphic(
            labelled(graph, a),
            labelled(graph, b),
            node_match=lambda m, n: m["label"] == n["label"],
            edge_match=lambda m, n: (
                sorted(e["slot"] for e in m.values()) == sorted(e["slot"] for e in n.values())
            ),
        )
    )


@settings(max_examples=500, deadline=None)
@given(graphs(), st.integers(1, 3))
def test_mine__equals_naive_enumeration(graph: DataflowGraph, max_depth: int) -> None:
    mined = mine(graph, max_depth)
    sets = [frozenset(o.operators) for m in mined for o in m.occurrences]
    expected = brute_force(graph, max_depth)
    assert sorted(map(sorted, sets)) == sorted(map(sorted, expected))
    pattern = {frozenset(o.operators): m.pattern for m in mined for o in m.occurrences}
    for a, b in itertools.combinations(expected, 2):
        assert (pattern[a] == pattern[b]) == same(graph, a, b)


@settings(max_examples=100, deadline=None)
@given(graphs(most=10), st.integers(1, 3))
def test_mine__describes_each_occurrence(graph: DataflowGraph, max_depth: int) -> None:
    """Operator i plays part i: same kind, label and wiring; helpers agree with the graph."""
    mined = mine(graph, max_depth)
    for m in mined:
        pattern = m.pattern
        assert m.gain == sum(len(o.operators) for o in m.occurrences)
        for occurrence in m.occurrences:
            names = occurrence.operators
            assert occurrence.pattern == pattern
            assert tuple(graph.op(n).kind for n in names) == pattern.kinds
            assert tuple(label(graph.op(n)) for n in names) == pattern.labels
            wiring = Counter(
                (names.index(a), names.index(b), 0 if graph.op(b).kind is OpKind.ADD else slot)
                for a, b, slot in graph.nx.subgraph(names).edges(data="slot")
            )
            assert wiring == Counter(pattern.edges)
            assert all(a < b for a, b, _ in pattern.edges)
            depths = [macs_up_to(graph, n, set(names)) for n in names]
            assert pattern.depth == max(depths)
            left = [graph.op(n).output for n in names if leaves(graph, n, set(names))]
            assert left == [output_tensor(graph, occurrence)]
            read = {t for n in names for t in graph.op(n).inputs}
            made = {graph.op(n).output for n in names}
            outside = external_inputs(graph, occurrence)
            assert set(outside) == read - made and len(set(outside)) == len(outside)
            mac = mac_operator(graph, occurrence)
            assert (mac is None) == (pattern.depth == 0)
            assert mac is None or (mac.name in names and mac.kind in MACS)
    gains = [m.gain for m in mined]
    assert gains == sorted(gains, reverse=True)
    covered = {n for m in mined for o in m.occurrences for n in o.operators}
    assert covered == {op.name for op in graph.chip_operators}


def keys_and_places(
    graph: DataflowGraph, max_depth: int, alias: dict[str, str]
) -> list[tuple[str, list[list[str]]]]:
    return [
        (m.pattern.key, sorted(sorted(alias.get(n, n) for n in o.operators) for o in m.occurrences))
        for m in mine(graph, max_depth)
    ]


@settings(max_examples=100, deadline=None)
@given(graphs(most=10), st.integers(1, 2), st.randoms(use_true_random=False))
def test_mine__ignores_names_and_order(
    graph: DataflowGraph, max_depth: int, chance: random.Random
) -> None:
    mixed = chance.sample(graph.operators, k=len(graph.operators))
    alias = {op.name: f"op{i}" for i, op in enumerate(mixed)}
    rename = {"x": "x"} | {op.output: f"{alias[op.name]}.out" for op in graph.operators}
    operators = [
        make(alias[op.name], op.kind, tuple(rename[t] for t in op.inputs), op.nest.r)
        for op in graph.operators
    ]
    chance.shuffle(operators)
    other = build(operators, {rename[t] for t in graph.outputs})
    assert keys_and_places(graph, max_depth, alias) == keys_and_places(other, max_depth, {})


@settings(max_examples=50, deadline=None)
@given(graphs(most=10), st.integers(1, 4))
def test_mine__keeps_the_cap_and_still_covers_all(graph: DataflowGraph, cap: int) -> None:
    """The cap removes exactly the larger sets, but never an operator with its activations."""
    every = {frozenset(o.operators) for m in mine(graph, 2) for o in m.occurrences}
    capped = {frozenset(o.operators) for m in mine(graph, 2, cap) for o in m.occurrences}
    assert {s for s in every if len(s) <= cap} <= capped <= every
    for names in capped:
        assert len(names) <= cap or sum(graph.op(n).kind not in ACTIVATIONS for n in names) <= 1
    assert set().union(*capped) == {op.name for op in graph.chip_operators}


def test_mine__residual_block() -> None:
    """conv-relu-conv plus the identity, relu: what a fragment of depth 1 and 2 can do at once."""
    operators = [
        make("c1", OpKind.CONV, ("x",), 3),
        make("r1", OpKind.RELU, ("c1.out",)),
        make("c2", OpKind.CONV, ("r1.out",), 3),
        make("add", OpKind.ADD, ("c2.out", "x")),
        make("r2", OpKind.RELU, ("add.out",)),
    ]
    graph = build(operators, {"r2.out"})
    shallow = {m.pattern.name for m in mine(graph)}
    conv = "conv3x3/1"
    assert shallow == {f"{conv}+relu", conv, "add+relu", f"{conv}+add+relu"}
    deeper = {m.pattern.name for m in mine(graph, max_depth=2)} - shallow
    assert deeper == {f"{conv}+relu+{conv}", f"{conv}+relu+{conv}+add+relu"}
    fused = next(m for m in mine(graph) if m.pattern.name == f"{conv}+add+relu").occurrences[0]
    assert external_inputs(graph, fused) == ("r1.out", "x")


def places(graph: DataflowGraph, max_depth: int) -> list[str]:
    found = (o.operators for m in mine(graph, max_depth) for o in m.occurrences)
    return sorted(" ".join(sorted(names)) for names in found)


def test_mine__parallel_convolutions_fuse_from_depth_2_on() -> None:
    """A fragment of depth 1 has one array, so that it holds one of the two branches."""
    operators = [
        make("a", OpKind.CONV, ("x",), 3),
        make("b", OpKind.CONV, ("x",)),
        make("sum", OpKind.ADD, ("a.out", "b.out")),
    ]
    graph = build(operators, {"sum.out"})
    assert places(graph, 1) == ["a", "a sum", "b", "b sum", "sum"]
    assert places(graph, 2) == ["a", "a b sum", "a sum", "b", "b sum", "sum"]


def test_mine__depth_counts_the_longest_path() -> None:
    """The identity around ``b`` does not make the block of ``a``, ``b`` and ``c`` less deep."""
    operators = [
        make("a", OpKind.CONV, ("x",), 3),
        make("b", OpKind.CONV, ("a.out",), 3),
        make("sum", OpKind.ADD, ("a.out", "b.out")),
        make("c", OpKind.CONV, ("sum.out",), 3),
    ]
    graph = build(operators, {"c.out"})
    depth_2 = ["a", "a b sum", "b", "b c sum", "b sum", "c", "sum"]
    assert places(graph, 2) == depth_2
    assert places(graph, 3) == sorted([*depth_2, "a b c sum"])


def test_mine__concatenation_is_alone_at_depth_1() -> None:
    operators = [
        make("a", OpKind.CONV, ("x",)),
        make("b", OpKind.CONV, ("x",)),
        make("join", OpKind.CONCAT, ("a.out", "b.out")),
        make("r", OpKind.RELU, ("join.out",)),
    ]
    graph = build(operators, {"r.out"})
    assert places(graph, 1) == ["a", "b", "join", "r"]
    alone = ["a", "b", "join", "r"]
    joined = ["a b join", "a b join r", "a join", "a join r", "b join", "b join r", "join r"]
    assert places(graph, 2) == sorted(alone + joined)


def test_mine__operators_play_the_parts_of_the_pattern() -> None:
    """The same branches in another order: one pattern, its operators in the pattern's order."""
    operators = []
    for i, first, second in ((0, 1, 3), (1, 3, 1)):
        source = "x" if i == 0 else "sum0.out"
        operators += [
            make(f"a{i}", OpKind.CONV, (source,), first),
            make(f"b{i}", OpKind.CONV, (source,), second),
            make(f"sum{i}", OpKind.ADD, (f"a{i}.out", f"b{i}.out")),
        ]
    graph = build(operators, {"sum1.out"})
    fused = next(m for m in mine(graph, 2) if len(m.pattern.kinds) == 3)
    assert [o.operators for o in fused.occurrences] in (
        [("a0", "b0", "sum0"), ("b1", "a1", "sum1")],
        [("b0", "a0", "sum0"), ("a1", "b1", "sum1")],
    )


def test_mine__shared_tensor_stays_outside() -> None:
    """A convolution that two operators read must write its output, activation or not."""
    operators = [
        make("c", OpKind.CONV, ("x",)),
        make("r", OpKind.RELU, ("c.out",)),
        make("pool", OpKind.MAXPOOL, ("c.out",), 3),
    ]
    names = {m.pattern.name for m in mine(build(operators, {"r.out", "pool.out"}))}
    assert names == {"conv1x1/1", "relu", "maxpool3x3/1"}


@pytest.mark.parametrize(("max_depth", "max_operators"), [(0, None), (1, 0)])
def test_mine__refuses_empty_patterns(max_depth: int, max_operators: int | None) -> None:
    graph = build([make("c", OpKind.CONV, ("x",))], {"c.out"})
    with pytest.raises(FragenvError, match="at least 1"):
        mine(graph, max_depth, max_operators)


@pytest.mark.parametrize(
    ("nest", "text"),
    [
        (LoopNest(k=8, c=4, r=3, s=3), "conv3x3/1"),
        (LoopNest(k=8, c=4, p=9, q=9, r=3, s=3, padding=(1, 1, 1, 1)), "conv3x3/1"),
        (LoopNest(k=8, c=4, r=1, s=7, stride=(2, 1)), "conv1x7/2x1"),
        (LoopNest(k=8, c=4, r=3, s=3, dilation=(2, 2)), "conv3x3/1d2"),
        (LoopNest(k=4, c=4, r=3, s=3, groups=4, stride=(2, 2)), "dwconv3x3/2"),
        (LoopNest(k=8, c=4, r=3, s=3, groups=2), "gconv3x3/1"),
    ],
)
def test_label__says_what_the_hardware_cares_about(nest: LoopNest, text: str) -> None:
    assert label(Operator("c", OpKind.CONV, nest, ("x",), "y")) == text
