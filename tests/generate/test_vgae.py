"""The graph auto-encoder: direction of edges, and links that were held out."""

from __future__ import annotations

import pytest
import torch

from fragenv.generate.vgae import FEATURES, learn_links, make_model, node_data
from fragenv.graph.operators import OpKind
from fragenv.models import zoo


def test_node_data__has_the_edges_of_the_graph() -> None:
    graph = zoo.graph("lenet")
    data = node_data(graph)
    assert data.x.shape == (len(graph.operators), FEATURES)
    names = [op.name for op in graph.operators]
    found = {(names[s], names[d]) for s, d in data.edge_index.t().tolist()}
    assert found == {(src, dst) for src, dst in graph.nx.edges()}
    kinds = [list(OpKind)[i] for i in data.x[:, : len(OpKind)].argmax(1).tolist()]
    assert kinds == [op.kind for op in graph.operators]


def test_decoder__tells_the_direction() -> None:
    decode = make_model(0).decoder
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # node 0 is a source, node 1 a target
    forward, backward = decode(z, torch.tensor([[0, 1], [1, 0]])).tolist()
    assert forward > 0.7 and backward == 0.5


@pytest.mark.slow
def test_links__held_out_edges_of_networks_are_found() -> None:
    names = ("squeezenet", "resnet18", "resnet50", "mobilenetv2", "googlenet")
    graphs = [zoo.graph(name) for name in names]
    for seed in range(2):
        assert learn_links(graphs, seed).auc >= 0.90
