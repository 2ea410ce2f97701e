"""The WL kernel: counted by hand, blind to the order of operators, a distance."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from test_edit_distance import chain, conv, plain
from typed_graphs import SEEDS, shuffled, typed_graphs

from fragenv.graph.operators import OpKind
from fragenv.patterns.similarity import wl
from fragenv.patterns.similarity.typed import TypedGraph


def test_histogram__by_hand() -> None:
    graph = chain(conv(), plain(OpKind.RELU))
    assert wl.histogram(graph, rounds=0) == Counter({"conv3x3/1": 1, "relu": 1})
    assert wl.histogram(graph, rounds=1) == Counter(
        {
            "conv3x3/1": 1,
            "relu": 1,
            "1(conv3x3/1||relu@(0,))": 1,
            "1(relu|conv3x3/1@(0,)|)": 1,
        }
    )


def test_distances__by_hand() -> None:
    two, three = Counter({"a": 2}), Counter({"a": 1, "b": 1})
    assert wl.kernel(two, three) == 2
    assert wl.kernel_distance(two, three) == pytest.approx((4 + 2 - 2 * 2) ** 0.5)
    assert wl.cosine_distance(two, three) == pytest.approx(1 - 2 / 8**0.5)
    assert wl.count_distance(two, three) == 2


def test_channels__tell_apart_only_where_asked_for() -> None:
    narrow, wide = chain(conv(k=16)), chain(conv(k=64))
    assert wl.histogram(narrow) == wl.histogram(wide)
    assert wl.histogram(narrow, channels=True) != wl.histogram(wide, channels=True)


@settings(max_examples=40, deadline=None)
@given(typed_graphs(6), SEEDS)
def test_histogram__is_blind_to_order(graph: TypedGraph, seed: int) -> None:
    assert wl.histogram(graph) == wl.histogram(shuffled(graph, seed))
    assert wl.cosine_distance(wl.histogram(graph), wl.histogram(graph)) == pytest.approx(0)
