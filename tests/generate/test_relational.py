"""Relational graphs: ranges of the sweep, masks, exactness against dense layers, blocks."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn

from fragenv.errors import FragenvError
from fragenv.generate.latency import quick_schedule
from fragenv.generate.relational import (
    channel_groups,
    channel_mask,
    matched_width,
    measures,
    sweep,
    ws_flex,
)
from fragenv.generate.relational_layers import (
    BlockLinear,
    BlockNetwork,
    RelationalConv2d,
    RelationalLinear,
)
from fragenv.graph.from_torch import from_torch
from fragenv.graph.operators import LoopNest, OpKind
from fragenv.patterns.mine import mine
from fragenv.schedule.problem import Problem


@pytest.mark.parametrize(
    ("degree", "edges"), [(2.0, 64), (4.0, 128), (4.5, 144), (62.5, 2000), (63.0, 2016)]
)
def test_ws_flex__has_the_average_degree(degree: float, edges: int) -> None:
    for rewiring in (0.0, 0.5, 1.0):
        graph = ws_flex(64, degree, rewiring, seed=1) if degree > 2 or not rewiring else None
        if graph is not None:
            assert graph.number_of_edges() == edges
            assert nx.is_connected(graph) and nx.number_of_selfloops(graph) == 0


def test_ws_flex__without_rewiring_is_the_ring_lattice() -> None:
    assert nx.is_isomorphic(ws_flex(20, 4.0, 0.0, 0), nx.watts_strogatz_graph(20, 4, 0))


@pytest.mark.parametrize("arguments", [(1, 0.0, 0.0), (8, 8.0, 0.0), (8, 4.0, 1.5), (8, 1.0, 0.0)])
def test_ws_flex__refuses_what_is_out_of_range(arguments: tuple[int, float, float]) -> None:
    with pytest.raises(FragenvError, match="a degree from 2 to nodes - 1"):
        ws_flex(*arguments, seed=0)


@pytest.mark.slow
def test_sweep__spans_the_published_ranges() -> None:
    """Published for 64 nodes: C 0.0749 to 0.9845, L 1.0159 to 4.4444, over 90,000 points."""
    found = [m for _, m in sweep(64, 24, seed=0)]
    assert min(m.clustering for m in found) <= 0.10 and max(m.clustering for m in found) >= 0.98
    assert min(m.path_length for m in found) == pytest.approx(1.0159, abs=5e-5)
    assert max(m.path_length for m in found) == pytest.approx(4.4444, abs=5e-5)


def test_measures__of_known_graphs() -> None:
    assert measures(nx.complete_graph(6)).clustering == 1.0
    ring = measures(nx.cycle_graph(6))
    assert (ring.clustering, ring.path_length, ring.density) == (0, 9 / 5, 6 / 15)


def test_groups__sizes_differ_by_one_at_most() -> None:
    sizes = np.bincount(channel_groups(23, 5))
    assert sorted(sizes) == [4, 4, 5, 5, 5]
    with pytest.raises(FragenvError, match="8 groups need at least as many channels, got 7"):
        channel_groups(7, 8)


def seeded(make: type[nn.Module], *arguments: object) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return make(*arguments)


def test_complete_graph__is_the_dense_layer_bit_for_bit() -> None:
    complete = nx.complete_graph(8)
    noise = torch.Generator().manual_seed(0)
    linear = seeded(RelationalLinear, complete, 24, 17), seeded(nn.Linear, 24, 17)
    x = torch.randn(5, 24, generator=noise)
    assert torch.equal(linear[0](x), linear[1](x))
    conv = seeded(RelationalConv2d, complete, 9, 11, 3, 2, 1), seeded(nn.Conv2d, 9, 11, 3, 2, 1)
    image = torch.randn(2, 9, 7, 7, generator=noise)
    assert torch.equal(conv[0](image), conv[1](image))


def test_layers__use_the_edges_and_nothing_else() -> None:
    graph = nx.cycle_graph(6)
    layer = RelationalLinear(graph, 12, 18)
    x = torch.zeros(1, 12)
    x[0, :2] = 1.0  # group 0, which groups 5, 0 and 1 read
    moved = (layer(x) != layer(torch.zeros(1, 12)))[0].reshape(6, 3).all(1)
    assert moved.tolist() == [True, True, False, False, False, True]
    layer(torch.ones(1, 12)).sum().backward()
    assert torch.equal(layer.weight.grad != 0, layer.mask.bool())
    assert layer.macs == 6 * 3 * (2 * 3)
    conv = RelationalConv2d(graph, 12, 18, 3, padding=1)
    assert conv.macs(25) == layer.macs * 9 * 25


@pytest.mark.parametrize("degree", [2.0, 5.3, 20.0, 62.0])
def test_width__matches_the_multiplications_within_a_percent(degree: float) -> None:
    graph = ws_flex(64, degree, 0.1 if degree > 2 else 0.0, seed=3)
    width = matched_width(graph, 512)
    assert channel_mask(graph, width, width).sum() == pytest.approx(512 * 512, rel=0.01)


def test_blocks__compute_the_masked_layer() -> None:
    graph = ws_flex(8, 3.5, 0.3, seed=2)
    dense = RelationalLinear(graph, 20, 28)
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(1))
    parts = [x[:, channel_groups(20, 8) == g] for g in range(8)]
    found = torch.cat(BlockLinear(dense, graph)(parts), 1)
    assert torch.allclose(found, dense(x), atol=1e-6)


def block_problem(degree: float) -> tuple[int, Problem]:
    """Number of blocks of a layer, and the scheduling problem of a network of two such layers."""
    graph = ws_flex(8, degree, 0.2 if degree < 7 else 0.0, seed=1)
    with torch.device("meta"):
        network = BlockNetwork(graph, inputs=32, width=256, layers=2, classes=10)
    dataflow = from_torch(network, (32,), "relational")
    return 2 * graph.number_of_edges() + 8, Problem(dataflow, "xc7z020")


def test_blocks__are_one_pattern_and_sparsity_saves_time() -> None:
    latencies = []
    for degree in (3.0, 7.0):
        blocks, problem = block_problem(degree)
        (lonely,) = (m for m in mine(problem.graph, 1) if m.pattern.kinds == (OpKind.GEMM,))
        found = {name for place in lonely.occurrences for name in place.operators}
        equal = [n for n in found if problem.graph.op(n).nest == LoopNest(k=32, c=32)]
        assert len(equal) == 2 * blocks
        latencies.append(quick_schedule(problem).latency_cycles)
    assert latencies[0] < latencies[1]
