"""GraphRNN: probabilities against enumeration and sampling, families, discrepancies, weights."""

from __future__ import annotations

from math import exp, isinf
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from small_corpus import convolutions, corpus
from small_graphs import every_graph

from fragenv.errors import FragenvError
from fragenv.generate import families
from fragenv.generate.dgmg_model import Graphs
from fragenv.generate.graphrnn import GraphRnnGenerator, load_graphrnn, save_graphrnn
from fragenv.generate.graphrnn_model import GraphRnn, GraphRnnConfig, reach_of
from fragenv.generate.mmd import clustering_mmd, degree_mmd, mmd
from fragenv.generate.training import TrainingConfig
from fragenv.generate.weights import WeightsError, shipped


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fresh(config: GraphRnnConfig, seed: int = 0) -> GraphRnn:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GraphRnn(config).eval()


def naive_mmd(a: list[list[float]], b: list[list[float]], sigma: float) -> float:
    """From the values of the nodes of every graph, pair by pair."""

    def kernel(x: list[float], y: list[float]) -> float:
        return exp(-(wasserstein_distance(x, y) ** 2) / (2 * sigma**2))

    def mean(first: list[list[float]], second: list[list[float]]) -> float:
        return float(np.mean([kernel(x, y) for x in first for y in second]))

    return mean(a, a) + mean(b, b) - 2 * mean(a, b)


def test_mmd__equals_the_kernel_pair_by_pair() -> None:
    ladders, grids = families.family("ladder", 0)[1:5], families.family("grid", 0)[2:6]
    degrees = [[[float(d) for _, d in g.degree()] for g in graphs] for graphs in (ladders, grids)]
    assert degree_mmd(ladders, grids) == pytest.approx(naive_mmd(*degrees, 1.0), abs=1e-12)
    assert degree_mmd(ladders, ladders) == pytest.approx(0, abs=1e-12)
    # clustering coefficients that lie in the middle of bins, so that binning moves none
    middle = [[0.005, 0.255], [0.995]]
    bins = np.zeros((2, 100))
    bins[0, [0, 25]], bins[1, 99] = 0.5, 1
    wanted = naive_mmd(middle[:1], middle[1:], 0.1)
    assert mmd(bins[:1], bins[1:], 0.01, 0.1) == pytest.approx(wanted, abs=1e-12)
    assert clustering_mmd([nx.complete_graph(4)], [nx.cycle_graph(5)]) == pytest.approx(2)


@pytest.mark.parametrize("name", families.NAMES)
def test_sequences__are_the_graphs_in_breadth_first_orders(name: str) -> None:
    members = families.family(name, 3)[:8]
    found = families.sequences(members, 2, seed=1)
    assert found.edges.triu(0).sum() == 0
    for row, graph in enumerate(families.undirected(found)):
        assert nx.is_isomorphic(graph, members[row // 2])
        first = [min(graph[node]) for node in range(1, len(graph))]
        assert first == sorted(first)  # earliest neighbours come in order: breadth first
    with pytest.raises(FragenvError, match="known are ladder, grid, caveman"):
        families.family("ring", 0)


def test_families__sizes() -> None:
    assert [len(g) for g in families.family("ladder", 0)] == list(range(4, 21, 2))
    assert max(len(g) for g in families.family("grid", 0)) == 20
    cavemen = families.family("caveman", 0)
    assert all(nx.is_connected(g) and not nx.number_of_selfloops(g) for g in cavemen)
    assert {len(g) for g in families.random_like(cavemen[:9], "gnp", 0)} == {8}


@torch.no_grad()
def test_model__probabilities_of_all_graphs_add_up_to_one() -> None:
    graphs = every_graph(2, 3)
    model = fresh(GraphRnnConfig(node_types=2, max_nodes=3, reach=2, hidden=8))
    assert float(model.log_probs(graphs).double().exp().sum()) == pytest.approx(1, abs=1e-5)
    near = fresh(GraphRnnConfig(node_types=2, max_nodes=3, reach=1, hidden=8))
    log_probs = near.log_probs(graphs)
    assert float(log_probs.double().exp().sum()) == pytest.approx(1, abs=1e-5)
    assert torch.equal(log_probs.isinf(), graphs.edges[:, 2, 0])  # node 0 is out of reach of 2


@torch.no_grad()
def test_model__samples_come_with_their_probability() -> None:
    model = fresh(GraphRnnConfig(node_types=2, max_nodes=7, reach=4, conditions=1), seed=5)
    condition = torch.rand(40, 1, generator=generator(0))
    drawn = model.sample(40, generator(1), condition)
    assert len(set(drawn.sizes.tolist())) > 2
    assert drawn.edges.triu(0).sum() == 0 and reach_of(drawn) <= 4
    assert torch.allclose(model.log_probs(drawn, condition), drawn.log_probs, atol=1e-4)
    again = model.sample(40, generator(1), condition)
    assert torch.equal(again.edges, drawn.edges) and torch.equal(again.types, drawn.types)
    alone = Graphs(drawn.sizes[:1], drawn.types[:1], drawn.edges[:1], drawn.log_probs[:1])
    assert torch.allclose(model.log_probs(alone, condition[:1]), drawn.log_probs[:1], atol=1e-4)


@torch.no_grad()
def test_model__samples_are_as_frequent_as_probable() -> None:
    model = fresh(GraphRnnConfig(node_types=1, max_nodes=2, reach=1, hidden=4), seed=2)
    drawn = model.sample(4000, generator(0))
    graphs = every_graph(1, 2)
    for row, p in enumerate(model.log_probs(graphs).exp().tolist()):
        same = (drawn.sizes == graphs.sizes[row]) & (drawn.edges == graphs.edges[row]).all(2).all(1)
        assert abs(same.float().mean().item() - p) < 5 * (p * (1 - p) / 4000) ** 0.5


def test_training__learns_small_cells_and_follows_a_condition() -> None:
    cells = corpus(6, 2)
    system = GraphRnnGenerator(TrainingConfig(steps=100, learning_rate=1e-2))
    system.fit(cells, None, seed=0)
    known = sum(exp(system.log_prob(a) or 0.0) for a in set(cells))
    assert known > 0.8  # of all that could be built
    system.fit(cells, [convolutions(a) for a in cells], seed=0)
    rng = np.random.default_rng(1)
    means = [
        np.mean([convolutions(a)["convolutions"] for a in found.architectures])
        for found in (system.sample(60, {"convolutions": c}, rng=rng) for c in (0.0, 2.0))
    ]
    assert means[0] < 0.5 and means[1] > 1.5


def test_weights__round_trip_and_refusals(tmp_path: Path) -> None:
    cells = corpus(6, 2)
    system = GraphRnnGenerator(TrainingConfig(steps=2, learning_rate=1e-2))
    system.fit(cells, [convolutions(a) for a in cells], seed=0)
    system.save(tmp_path / "g.safetensors", "a command")
    loaded = GraphRnnGenerator.load(tmp_path / "g.safetensors")
    assert loaded.vocabulary == system.vocabulary
    assert loaded.log_prob(cells[0]) == system.log_prob(cells[0])
    model = fresh(GraphRnnConfig(1, 5, 2))
    save_graphrnn(tmp_path / "m.safetensors", model, "a command")
    assert load_graphrnn(tmp_path / "m.safetensors").config == model.config
    with pytest.raises(WeightsError, match="no generator of architectures"):
        GraphRnnGenerator.load(tmp_path / "m.safetensors")
    with pytest.raises(WeightsError, match="holds dgmg, not graphrnn"):
        load_graphrnn(shipped("dgmg-cycles"))


@pytest.mark.parametrize("name", families.NAMES)
def test_trained__discrepancies_are_small(name: str) -> None:
    path = shipped(f"graphrnn-{name}")
    assert path.stat().st_size < 1_000_000
    made = families.undirected(load_graphrnn(path).sample(500, generator(2)))
    wanted = families.family(name, 2)
    assert degree_mmd(made, wanted) <= 0.05
    assert clustering_mmd(made, wanted) <= 0.05


def test_trained__architectures_are_valid() -> None:
    system = GraphRnnGenerator.load(shipped("graphrnn-wired"))
    found = system.sample(100, rng=np.random.default_rng(0)).architectures
    assert len(found) >= 85
    log_p = system.log_prob(found[0])
    assert log_p is not None and not isinf(log_p)
