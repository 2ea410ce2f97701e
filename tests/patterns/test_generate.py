"""Random graphs: connected, acyclic, of the size asked for, the same from the same seed."""

from __future__ import annotations

import random

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typed_graphs import SEEDS, typed_graphs

from fragenv.graph.operators import OpKind
from fragenv.models import zoo
from fragenv.patterns.similarity.corpus import BLOCK, network_graphs, training_blocks
from fragenv.patterns.similarity.edit_distance import edit_distance
from fragenv.patterns.similarity.generate import mutated, random_graph, random_piece
from fragenv.patterns.similarity.typed import TypedGraph


def check(graph: TypedGraph, most: int) -> None:
    assert 1 <= len(graph) <= most
    assert nx.is_weakly_connected(graph.nx)
    assert nx.is_directed_acyclic_graph(graph.nx)
    assert list(graph.edges) == sorted(graph.edges)
    for _, dst, slot in graph.edges:
        assert graph.operators[dst].kind is not OpKind.ADD or slot == 0


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 7))
def test_random__graphs_are_valid(seed: int, most: int) -> None:
    for make in (random_graph, random_piece):
        graph = make(random.Random(seed), most)
        check(graph, most)
        assert graph == make(random.Random(seed), most)


@settings(max_examples=150, deadline=None)
@given(typed_graphs(6), SEEDS, st.integers(0, 4))
def test_mutated__graphs_are_valid(graph: TypedGraph, seed: int, edits: int) -> None:
    changed = mutated(random.Random(seed), graph, edits, 7)
    check(changed, 7)
    assert edits or changed == graph


def test_mutated__graphs_are_nearer_than_others() -> None:
    chance = random.Random(0)
    near, far = [], []
    for _ in range(60):
        a, b = random_piece(chance, 6), random_piece(chance, 6)
        near.append(edit_distance(a, mutated(chance, a, 1, 7)))
        far.append(edit_distance(a, b))
    assert sum(near) < 0.5 * sum(far)
    assert sum(distance > 0 for distance in near) > 30


def test_network__gives_each_pattern_with_its_channels() -> None:
    graphs = network_graphs(zoo.graph("lenet"), most=2)
    first = {(g.labels, tuple(op.nest.k for op in g.operators)) for g in graphs}
    assert (("conv5x5/1", "relu"), (6, 6)) in first
    assert (("conv5x5/1", "relu"), (16, 16)) in first
    assert max(len(g) for g in graphs) == 2


def test_blocks__are_the_same_from_the_same_seed() -> None:
    networks = network_graphs(zoo.graph("lenet"))
    blocks = training_blocks(networks, 3, seed=1)
    assert [len(block) for block in blocks] == [BLOCK] * 3
    assert blocks == training_blocks(networks, 3, seed=1)
    assert blocks != training_blocks(networks, 3, seed=2)


@pytest.mark.parametrize("order", [[1, 0], [0, 1]])
def test_renumbered__keeps_edges(order: list[int]) -> None:
    graph = network_graphs(zoo.graph("lenet"), most=2)
    pair = next(g for g in graph if len(g) == 2)
    other = pair.renumbered(order)
    ((src, dst, _),) = other.edges
    assert other.labels[src] == pair.labels[0] and other.labels[dst] == pair.labels[1]
