"""Pattern keys against networkx's own isomorphism test."""

from __future__ import annotations

import random

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fragenv.graph.operators import OpKind
from fragenv.patterns import canonical
from fragenv.patterns.canonical import Edge, PatternIndex, structure

Labels = tuple[str, ...]


@st.composite
def structures(draw: st.DrawFn) -> tuple[Labels, tuple[Edge, ...]]:
    """Small labelled DAGs in topological order; few labels and slots, so that many are alike."""
    labels = tuple(draw(st.lists(st.sampled_from("ab"), min_size=1, max_size=5)))
    pairs = [(i, j) for j in range(len(labels)) for i in range(j)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return labels, tuple(sorted((i, j, draw(st.integers(0, 1))) for i, j in chosen))


def key(index: PatternIndex, labels: Labels, edges: tuple[Edge, ...]) -> str:
    pattern, parts = index.classify((OpKind.CONV,) * len(labels), labels, edges)
    # the parts must be an isomorphism: applied to the pattern they give back the graph
    assert tuple(labels[i] for i in parts) == pattern.labels
    assert sorted((parts[a], parts[b], slot) for a, b, slot in pattern.edges) == list(edges)
    return pattern.key


def isomorphic(a: tuple[Labels, tuple[Edge, ...]], b: tuple[Labels, tuple[Edge, ...]]) -> bool:
    return bool(
        nx.is_isomorphic(
            structure(*a),
            structure(*b),
            node_match=lambda m, n: m["label"] == n["label"],
            edge_match=lambda m, n: m["slots"] == n["slots"],
        )
    )


@settings(max_examples=300, deadline=None)
@given(structures(), structures())
def test_classify__equal_keys_iff_isomorphic(
    a: tuple[Labels, tuple[Edge, ...]], b: tuple[Labels, tuple[Edge, ...]]
) -> None:
    index = PatternIndex()
    assert (key(index, *a) == key(index, *b)) == isomorphic(a, b)


@settings(max_examples=200, deadline=None)
@given(structures(), st.randoms(use_true_random=False))
def test_classify__same_key_in_any_topological_order(
    one: tuple[Labels, tuple[Edge, ...]], chance: random.Random
) -> None:
    labels, edges = one
    weight = {node: chance.random() for node in range(len(labels))}
    order = list(nx.lexicographical_topological_sort(structure(*one), key=weight.__getitem__))
    place = {node: i for i, node in enumerate(order)}
    other = (
        tuple(labels[node] for node in order),
        tuple(sorted((place[a], place[b], slot) for a, b, slot in edges)),
    )
    index = PatternIndex()
    assert key(index, *one) == key(index, *other) == key(PatternIndex(), *other)


def test_classify__hash_collisions_get_distinct_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "wl_hash", lambda graph: "same")
    index = PatternIndex()
    chain, fork = ((0, 1, 0), (1, 2, 0)), ((0, 1, 0), (0, 2, 0))
    assert key(index, ("a", "a", "a"), chain) == "same"
    assert key(index, ("a", "a", "a"), fork) == "same-1"
    assert key(index, ("a", "a", "b"), fork) == "same-2"
    assert key(index, ("a", "b", "a"), ((0, 1, 0), (0, 2, 0))) == "same-2"


def test_wl_hash__sees_direction_and_slots() -> None:
    forms = [
        structure(("a", "a", "a"), ((0, 1, 0), (1, 2, 0))),
        structure(("a", "a", "a"), ((0, 1, 0), (0, 2, 0))),
        structure(("a", "a", "a"), ((0, 2, 0), (1, 2, 0))),
        structure(("a", "a", "a"), ((0, 2, 0), (1, 2, 1))),
    ]
    assert len({canonical.wl_hash(form) for form in forms}) == len(forms)
