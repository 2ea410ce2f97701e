"""Strategies and helpers for the tests of similarity."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from fragenv.patterns.similarity.generate import random_graph, random_piece
from fragenv.patterns.similarity.typed import TypedGraph

SEEDS = st.integers(0, 2**32)


@st.composite
def typed_graphs(draw: st.DrawFn, most: int = 4) -> TypedGraph:
    """Random graphs of both kinds."""
    chance = random.Random(draw(SEEDS))
    return draw(st.sampled_from([random_graph, random_piece]))(chance, most)


def shuffled(graph: TypedGraph, seed: int) -> TypedGraph:
    """The same graph with its operators in another order."""
    order = list(range(len(graph)))
    random.Random(seed).shuffle(order)
    return graph.renumbered(order)
