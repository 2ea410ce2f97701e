"""cover() against every choice of disjoint occurrences, and the blocks of known networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_graphs import build, graphs, make
from torch import nn

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_torch import from_torch
from fragenv.graph.operators import OpKind
from fragenv.models import zoo
from fragenv.patterns import cover as module
from fragenv.patterns.cover import Cover, cover, hidden_tensors
from fragenv.patterns.discover import discover
from fragenv.patterns.mine import MinedPattern
from fragenv.patterns.pattern import Occurrence

#: more occurrences than this are too many for trying every choice
MOST = 14


def choices(places: list[Occurrence]) -> Iterator[list[Occurrence]]:
    """Every choice of pairwise disjoint occurrences."""
    if not places:
        yield []
        return
    first, rest = places[0], places[1:]
    yield from choices(rest)
    apart = [o for o in rest if not set(o.operators) & set(first.operators)]
    for choice in choices(apart):
        yield [first, *choice]


def hidden(graph: DataflowGraph, place: Occurrence) -> int:
    """Tensors that no other operator and not the host sees, reader by reader."""
    count = 0
    for name in place.operators:
        tensor = graph.op(name).output
        readers = {op.name for op in graph.operators if tensor in op.inputs}
        count += bool(readers) and readers <= set(place.operators) and tensor not in graph.outputs
    return count


def value(graph: DataflowGraph, choice: list[Occurrence]) -> int:
    circuits = {o.pattern.key: len(o.operators) for o in choice}
    return sum(hidden(graph, o) for o in choice) - sum(circuits.values())


def can_run(graph: DataflowGraph, choice: list[Occurrence]) -> bool:
    home = {name: i for i, o in enumerate(choice) for name in o.operators}
    edges = ((home.get(a, a), home.get(b, b)) for a, b in graph.nx.edges())
    return nx.is_directed_acyclic_graph(nx.DiGraph((a, b) for a, b in edges if a != b))


def chosen(found: Cover) -> list[Occurrence]:
    return [o for m in found.patterns for o in m.occurrences]


@settings(max_examples=150, deadline=None)
@given(graphs(most=9), st.integers(1, 2), st.integers(1, 2))
def test_cover__is_the_best_of_all_choices(graph: DataflowGraph, depth: int, least: int) -> None:
    mined = discover(graph, depth, least)
    places = [o for m in mined for o in m.occurrences if hidden(graph, o)]
    if len(places) > MOST:
        places = places[:MOST]
        keep = set(places)
        mined = tuple(
            MinedPattern(m.pattern, left)
            for m in mined
            if (left := tuple(o for o in m.occurrences if o in keep))
        )
    found = cover(graph, mined)
    best = max(value(graph, c) for c in choices(places) if can_run(graph, c))
    assert found.value == value(graph, chosen(found)) == best
    assert found.optimal and found.bound == best


@settings(max_examples=150, deadline=None)
@given(graphs(most=12), st.integers(1, 3), st.booleans())
def test_cover__is_disjoint_and_can_run_and_keeps_its_bound(
    graph: DataflowGraph, depth: int, exact: bool
) -> None:
    mined = discover(graph, depth, 2)
    with pytest.MonkeyPatch.context() as patch:
        if not exact:
            patch.setattr(module, "MOST_CANDIDATES", 0)
        found = cover(graph, mined)
    names = [n for o in chosen(found) for n in o.operators]
    assert len(set(names)) == len(names)
    assert sorted([*names, *found.alone]) == sorted(op.name for op in graph.operators)
    assert can_run(graph, chosen(found))
    assert found.value == value(graph, chosen(found)) <= cover(graph, mined).value <= found.bound
    known = {o for m in mined for o in m.occurrences}
    assert known.issuperset(chosen(found))


def test_cover__does_not_take_what_comes_first() -> None:
    """relu-conv pairs overlap conv-relu pairs; three of one kind beat two of the other."""
    operators = []
    tensor = "x"
    for i in range(3):
        operators += [make(f"p{i}", OpKind.MAXPOOL, (tensor,)),
                      make(f"c{i}", OpKind.CONV, (f"p{i}.out",))]  # fmt: skip
        tensor = f"c{i}.out"
    graph = build(operators, {tensor})
    (best,) = cover(graph, discover(graph)).patterns
    assert [o.operators for o in best.occurrences] == [(f"p{i}", f"c{i}") for i in range(3)]
    assert best.gain == 6


def entangled(units: int) -> DataflowGraph:
    """Units of two convex sets {a, c, d} and {b, e, f}: a feeds c and d, b feeds e and f, d needs e
    and f needs c. Only a and b can be hidden, each by its set, and the sets wait for each other.
    """
    operators = []
    for i in range(units):
        operators += [
            make(f"a{i}", OpKind.MAXPOOL, ("x",)),
            make(f"b{i}", OpKind.MAXPOOL, ("x",)),
            make(f"c{i}", OpKind.CONV, (f"a{i}.out",)),
            make(f"e{i}", OpKind.CONV, (f"b{i}.out",)),
            make(f"d{i}", OpKind.CONCAT, (f"a{i}.out", f"e{i}.out")),
            make(f"f{i}", OpKind.CONCAT, (f"b{i}.out", f"c{i}.out")),
        ]
    return build(operators, {f"{n}{i}.out" for i in range(units) for n in "cdef"})


def test_cover__sets_that_need_each_other_are_not_chosen_together() -> None:
    """One of the two sets in each of five units: five tensors hidden for a circuit of three."""
    graph = entangled(5)
    found = cover(graph, discover(graph, 1, max_operators=3))
    assert (found.value, found.bound) == (2, 2)
    assert can_run(graph, chosen(found))
    units = [{name[-1] for name in o.operators} for o in chosen(found)]
    assert sorted(units, key=min) == [{str(i)} for i in range(5)]


@pytest.mark.parametrize("attribute", ["MOST_CANDIDATES", "seconds"])
def test_cover__without_an_exact_search_has_a_true_bound(
    attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = entangled(6)
    mined = discover(graph, 1, max_operators=3)
    if attribute == "seconds":
        found = cover(graph, mined, seconds=0)
    else:
        monkeypatch.setattr(module, attribute, 0)
        found = cover(graph, mined)
    assert can_run(graph, chosen(found))
    assert found.value <= cover(graph, mined).value == 3 <= found.bound


def test_cover__of_nothing() -> None:
    graph = build([make("only", OpKind.CONV, ("x",))], {"only.out"})
    found = cover(graph, discover(graph))
    assert found.patterns == () and found.alone == ("only",)
    assert found.value == found.bound == 0 and found.optimal


def test_hidden_tensors__counts_what_nobody_outside_reads() -> None:
    operators = [
        make("a", OpKind.CONV, ("x",)),
        make("b", OpKind.CONV, ("a.out",)),
        make("c", OpKind.CONV, ("b.out",)),
    ]
    graph = build(operators, {"a.out", "c.out"})
    assert set(hidden_tensors(graph, ("a", "b", "c"))) == {"b.out"}
    assert hidden_tensors(graph, ("a", "b")) == ()


BASIC = "conv3x3/1+relu+conv3x3/1+add+relu"
BOTTLENECK = "conv1x1/1+relu+conv3x3/1+relu+conv1x1/1+add+relu"
INVERTED = "conv1x1/1+clip+dwconv3x3/1+clip+conv1x1/1+add"
POINT, WIDE = "conv1x1/1+relu", "conv3x3/1+relu"
#: network, depth -> blocks as published: sorted labels and how often they stand in the network
BLOCKS = [
    # 5 blocks with an identity, 3 with a projection: He et al., table 1
    ("resnet18", 2, {BASIC: 5}),
    # 16 blocks, 4 of them with projections; the first of these has stride 1
    ("resnet50", 3, {BOTTLENECK: 13}),
    ("resnet50", 4, {BOTTLENECK: 13}),
    # 10 inverted residuals with an identity: Sandler et al., table 2
    ("mobilenetv2", 3, {INVERTED: 10}),
    # nine inception modules, torchvision's with 3x3 in place of 5x5
    ("googlenet", 2, {"+".join([*[POINT, POINT, WIDE] * 2, "maxpool3x3/1", "concat"]): 9}),
    # eight fire modules
    ("squeezenet", 2, {"+".join([POINT, POINT, WIDE, "concat"]): 8}),
]


@pytest.mark.parametrize(("network", "depth", "blocks"), BLOCKS)
def test_cover__finds_the_blocks_of_published_networks(
    network: str, depth: int, blocks: dict[str, int]
) -> None:
    graph = zoo.graph(network)
    found = cover(graph, discover(graph, depth))
    assert found.optimal
    sizes = {tuple(sorted(m.pattern.labels)): len(m.occurrences) for m in found.patterns}
    for labels, count in blocks.items():
        assert sizes[tuple(sorted(labels.split("+")))] == count
    # and the block comes first: nothing else covers more
    first = tuple(sorted(found.patterns[0].pattern.labels))
    assert first == tuple(sorted(next(iter(blocks)).split("+")))


class Attention(nn.Module):
    """Attention with three projections and what follows it in a transformer."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, e = x.shape
        q, k, v = (
            part(x).view(n, t, self.heads, e // self.heads).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        weights = (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1)
        return self.norm(x + self.o((weights @ v).transpose(1, 2).reshape(n, t, e)))


def test_cover__finds_the_attention_of_a_transformer() -> None:
    graph = from_torch(nn.Sequential(*(Attention() for _ in range(4))), (10, 32), virtual=True)
    found = cover(graph, discover(graph, 4))
    (block,) = found.patterns
    assert len(block.occurrences) == 4 and found.alone == ()
    wanted = {"gemm": 4, "matmul": 2, "softmax": 1, "add": 1, "norm": 1, "move": 5}
    assert Counter(block.pattern.labels) == wanted
    assert block.pattern.depth == 4
