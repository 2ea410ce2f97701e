"""The encoder: blind to the order of operators and to the batch, its distances those of points."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_edit_distance import chain, conv, plain
from typed_graphs import SEEDS, shuffled, typed_graphs

from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.patterns.similarity.encoder import (
    FEATURES,
    EncoderConfig,
    PatternEncoder,
    batch_of,
    operator_features,
    point_distances,
)
from fragenv.patterns.similarity.typed import TypedGraph


def encoder() -> PatternEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PatternEncoder(EncoderConfig(hidden=16, layers=2, codes=8)).eval()


MODEL = encoder()


@settings(max_examples=40, deadline=None)
@given(typed_graphs(7), SEEDS)
def test_point__is_blind_to_order(graph: TypedGraph, seed: int) -> None:
    first, second = MODEL.embed([graph, shuffled(graph, seed)])
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.lists(typed_graphs(5), min_size=1, max_size=5))
def test_point__is_blind_to_the_others_of_the_batch(graphs: list[TypedGraph]) -> None:
    together = MODEL.embed(graphs)
    alone = torch.cat([MODEL.embed([graph]) for graph in graphs])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_point__sees_direction_slots_and_channels() -> None:
    ahead = chain(conv(), plain(OpKind.RELU), conv(1))
    points = MODEL.embed(
        [
            ahead,
            TypedGraph(ahead.operators, ((0, 1, 0), (2, 1, 0))),
            TypedGraph(ahead.operators, ((0, 1, 0), (1, 2, 3))),
            chain(conv(k=128), *ahead.operators[1:]),
        ]
    )
    assert (point_distances(points[0], points[1:]) > 1e-3).all()


def test_embed__takes_no_graphs_and_no_edges() -> None:
    assert MODEL.embed([]).shape == (0, 8)
    assert MODEL.embed([chain(conv())]).shape == (1, 8)


def test_batch__numbers_operators_through() -> None:
    batch = batch_of([chain(conv(), conv()), TypedGraph((conv(), plain(OpKind.ADD)), ((0, 1, 9),))])
    assert batch.home.tolist() == [0, 0, 1, 1]
    assert batch.edges.tolist() == [[0, 2], [1, 3]]
    assert batch.slots.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]


def test_features__by_hand() -> None:
    nest = LoopNest(32, 32, 4, 8, 3, 3, 8, 16, stride=(2, 2), groups=32)
    row = dict(
        zip(FEATURES, operator_features(Operator("", OpKind.CONV, nest, (), "")), strict=True)
    )
    assert row["conv"] == row["depthwise"] == 1 and row["relu"] == row["grouped"] == 0
    assert row["channels_in"] == pytest.approx(5 / 4) and row["pixels"] == pytest.approx(5 / 4)
    assert row["stride_rows"] == pytest.approx(1 / 4)
