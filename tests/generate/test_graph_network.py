"""Graph networks: the block, shortest paths, critical paths, a surrogate."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from small_corpus import convolutions, corpus
from torch_geometric.data import Batch, Data

from fragenv.generate import critical_path, shortest_path, surrogate
from fragenv.generate.canonical import Distinct
from fragenv.generate.graph_network import (
    GraphNetworkConfig,
    load_graph_network,
    make_graph_network,
    save_graph_network,
)
from fragenv.generate.training import TrainingConfig
from fragenv.generate.weights import WeightsError, shipped
from fragenv.models import zoo

SMALL = GraphNetworkConfig(nodes=(2, 1), edges=(1, 1), hidden=8, steps=2, largest=True)


def chain(count: int) -> Data:
    """Nodes 0 -> 1 -> 2 ... with random features."""
    places = torch.arange(count)
    edges = torch.stack([places[:-1], places[1:]])
    return Data(x=torch.randn(count, 2), edge_index=edges, edge_attr=torch.randn(count - 1, 1))


def test_network__graphs_of_a_batch_do_not_meet() -> None:
    model = make_graph_network(SMALL, 0)
    graphs = [chain(4), chain(7)]
    together = model(Batch.from_data_list(graphs))[-1]
    alone = [model(Batch.from_data_list([graph]))[-1] for graph in graphs]
    torch.testing.assert_close(together.nodes, torch.cat([a.nodes for a in alone]))
    torch.testing.assert_close(together.edges, torch.cat([a.edges for a in alone]))
    torch.testing.assert_close(together.graphs, torch.cat([a.graphs for a in alone]))


def test_network__numbering_changes_nothing() -> None:
    model, graph = make_graph_network(SMALL, 0), chain(6)
    order = torch.tensor([3, 5, 0, 4, 1, 2])  # new number -> old number
    place = torch.argsort(order)
    other = Data(x=graph.x[order], edge_index=place[graph.edge_index], edge_attr=graph.edge_attr)
    before, after = (model(Batch.from_data_list([g]))[-1] for g in (graph, other))
    torch.testing.assert_close(after.nodes, before.nodes[order])
    torch.testing.assert_close(after.graphs, before.graphs)


def test_network__file_round_trip_and_refusal(tmp_path: Path) -> None:
    model, path = make_graph_network(SMALL, 0), tmp_path / "network.safetensors"
    save_graph_network(path, "some-task", model, {"command": "made here"})
    again, made = load_graph_network(path, "some-task")
    assert again.config == SMALL and made == {"command": "made here"}
    batch = Batch.from_data_list([chain(5)])
    torch.testing.assert_close(again(batch)[-1].nodes, model(batch)[-1].nodes)
    assert len(again(batch, steps=5)) == 5
    with pytest.raises(WeightsError, match="holds some-task, not other-task"):
        load_graph_network(path, "other-task")


def test_random_graph__paths_are_those_of_networkx() -> None:
    for seed in range(20):
        graph = shortest_path.random_graph(shortest_path.SMALL, np.random.default_rng(seed))
        whole = nx.Graph()
        for (a, b), length in zip(graph.edges.T.tolist(), graph.lengths.tolist(), strict=True):
            whole.add_edge(a, b, length=length)
        assert 8 <= len(whole) <= 16 and nx.is_connected(whole)
        start, end = 0, len(whole) - 1
        way = nx.dijkstra_path(whole, start, end, weight="length")
        task = graph.task(start, end)
        assert graph.path(start, end) == way
        assert set(task.on_path.nonzero()[:, 0].tolist()) == set(way)
        marked = task.edge_index[:, task.edge_on_path > 0].t().tolist()
        assert sorted(map(tuple, marked)) == sorted(pairwise(way))


def test_critical__is_the_union_of_the_longest_of_all_paths() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        count = int(rng.integers(2, 10))
        work = rng.integers(1, 6, count)  # few values, so that there are ties
        pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
        edges = [pair for pair in pairs if rng.random() < 0.3]
        graph = nx.DiGraph()
        graph.add_nodes_from(range(count))
        graph.add_edges_from(edges)
        ways = [
            way
            for first in graph
            for last in graph
            for way in ([[first]] if first == last else nx.all_simple_paths(graph, first, last))
        ]
        total = max(int(work[way].sum()) for way in ways)
        wanted = {node for way in ways if work[way].sum() == total for node in way}
        assert set(critical_path.critical(edges, work).nonzero()[0].tolist()) == wanted


def test_works__count_what_operators_do() -> None:
    graph = zoo.graph("lenet")
    assert critical_path.works(graph).min() > 0
    assert (
        sum(
            work
            for op, work in zip(graph.operators, critical_path.works(graph), strict=True)
            if op.is_mac
        )
        == graph.macs
    )
    # a chain is its own critical path
    assert critical_path.answers([graph])[0].critical.all()


def test_corpus__held_out_cells_are_new() -> None:
    known = Distinct()
    first = critical_path.random_graphs(3, 0, known)
    second = critical_path.random_graphs(3, 0, known)
    assert len(first) == len(second) == 3 and len(known) == 6


def test_trainers__lower_their_losses() -> None:
    train = critical_path.examples(critical_path.random_graphs(10, 0, Distinct()), 0)
    brief = TrainingConfig(steps=12, learning_rate=1e-2)
    for trainer in (
        critical_path.make_trainer(train, brief, 0),
        critical_path.make_trainer(train, brief, 0, critical_path.make_gcn(2, 0)),
    ):
        losses = [trainer.step() for _ in range(brief.steps)]
        assert np.mean(losses[-3:]) < losses[0]


def test_surrogate__learns_to_count_convolutions() -> None:
    cells = corpus(60, 4) + corpus(60, 5)
    values = [convolutions(cell)["convolutions"] * 1000 for cell in cells]
    trainer, scale = surrogate.make_trainer(
        cells[::2], values[::2], TrainingConfig(steps=80, learning_rate=1e-2), 0
    )
    trainer.run()
    assert surrogate.spearman(trainer.model, scale, cells[1::2], values[1::2]) > 0.8  # type: ignore[arg-type]


def test_shortest_path__shipped_network_keeps_its_figures() -> None:
    model, _ = load_graph_network(shipped(shortest_path.SYSTEM), shortest_path.SYSTEM)
    assert shortest_path.judge(model, shortest_path.SMALL, 100, seed=2).right >= 0.95
    assert shortest_path.judge(model, shortest_path.LARGE, 100, seed=2).right >= 0.90


def test_critical_path__shipped_network_keeps_its_figures() -> None:
    model, _ = load_graph_network(shipped(critical_path.SYSTEM), critical_path.SYSTEM)
    known = Distinct()
    held_out = critical_path.answers(critical_path.random_graphs(30, 1, known))
    assert critical_path.judge(model, held_out).right >= 0.95


def test_surrogate__shipped_network_keeps_its_figures() -> None:
    model, scale = surrogate.load_surrogate(shipped(surrogate.SYSTEM))
    _, held_out = surrogate.measured()
    assert surrogate.spearman(model, scale, held_out.cells[:400], held_out.cycles[:400]) >= 0.95
