"""CGVAE: masks against a naive check, decisions that rebuild graphs, attempts all valid."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from small_corpus import convolutions, corpus

from fragenv.errors import FragenvError
from fragenv.generate.architecture import Architecture
from fragenv.generate.canonical import same
from fragenv.generate.cgvae import CgvaeGenerator
from fragenv.generate.cgvae_model import Cgvae, CgvaeConfig
from fragenv.generate.cgvae_steps import joined, legal, steps_of
from fragenv.generate.corpora import pruned
from fragenv.generate.training import TrainingConfig
from fragenv.generate.vocabulary import Vocabulary
from fragenv.generate.weights import shipped

CORPUS = [pruned(a) for a in corpus(30, 5)]
CONFIG = CgvaeConfig(5, (0.0,) * 6 + (0.5, 0.5), arity=(1, 1, 2, 3, 2), hidden=12, code=4)


def fresh(config: CgvaeConfig, seed: int = 0) -> Cgvae:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Cgvae(config).eval()


def test_legal__equals_a_naive_check() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        most, size = 6, int(rng.integers(3, 7))
        order = rng.permutation(range(1, size - 1))
        edges = torch.zeros(most, most, dtype=torch.bool)  # [reader, source]
        ranked = [0, *order, size - 1]
        for i, source in enumerate(ranked):
            for reader in ranked[i + 1 :]:
                edges[reader, source] = bool(rng.random() < 0.4)
        focus, arity = int(rng.integers(1, size)), int(rng.integers(1, 4))
        graph = nx.DiGraph((int(s), int(r)) for r, s in edges.nonzero())
        graph.add_nodes_from(range(size))
        taken = set(graph.predecessors(focus))
        wanted = []
        for source in range(most):
            allowed = source < size - 1 and source not in taken and len(taken) < arity
            if allowed:
                more = graph.copy()
                more.add_edge(source, focus)
                allowed = nx.is_directed_acyclic_graph(more)
            wanted.append(allowed)
        found = legal(
            edges[None], torch.tensor([focus]), torch.tensor([size]), torch.tensor([arity])
        )
        assert found[0].tolist() == [*wanted, bool(taken)]


def test_steps__rebuild_the_graphs_and_are_legal() -> None:
    vocabulary = Vocabulary.of(CORPUS, None)
    graphs = vocabulary.graphs(CORPUS)
    parts = steps_of(graphs, seed=1)
    most = vocabulary.max_nodes
    for row, part in enumerate(parts):
        edges = torch.zeros(most, most, dtype=torch.bool)
        for state, focus, choice in zip(part.edges, part.focus, part.choice, strict=True):
            assert torch.equal(state, edges)
            if choice < most:
                edges[focus, choice] = True
        assert torch.equal(edges, graphs.edges[row])
        assert (part.choice == most).sum() == graphs.sizes[row] - 1  # every node stops but one
    steps = joined(parts)
    arity = torch.full((len(steps.graph),), most)
    allowed = legal(steps.edges, steps.focus, graphs.sizes[steps.graph], arity)
    assert allowed.gather(1, steps.choice[:, None]).all()


@torch.no_grad()
def test_model__step_probabilities_add_up_to_one_and_keep_to_the_mask() -> None:
    vocabulary = Vocabulary.of(CORPUS, None)
    graphs = vocabulary.graphs(CORPUS)
    config = CgvaeConfig(
        len(vocabulary.types), (0.0,) * (vocabulary.max_nodes + 1), (3,) * len(vocabulary.types)
    )
    model, steps = fresh(config), joined(steps_of(graphs, 0))
    codes = torch.randn(*graphs.types.shape, config.code)
    p = model.step_log_probs(codes, graphs.types, graphs.sizes, steps).exp()
    assert torch.allclose(p.sum(1), torch.ones(len(p)), atol=1e-5)
    arity = torch.full((len(p),), 3)
    allowed = legal(steps.edges, steps.focus, graphs.sizes[steps.graph], arity)
    assert torch.equal(p > 0, allowed)


@torch.no_grad()
def test_model__whatever_it_decodes_is_wired_through() -> None:
    model = fresh(CONFIG, seed=4)
    sizes = torch.randint(6, 8, (200,), generator=torch.Generator().manual_seed(0))
    codes = 3 * torch.randn(200, 7, CONFIG.code, generator=torch.Generator().manual_seed(1))
    built = model.decode(codes, sizes, torch.Generator().manual_seed(2))
    degrees = built.edges.sum(2)
    assert (degrees <= torch.tensor(CONFIG.arity)[built.types]).all()
    for row, size in enumerate(sizes.tolist()):
        graph = nx.DiGraph((s, r) for r, s in built.edges[row].nonzero().tolist())
        assert nx.is_directed_acyclic_graph(graph)
        assert nx.descendants(graph, 0) | {0} == set(graph)
        assert nx.ancestors(graph, size - 1) | {size - 1} == set(graph)


def test_generator__every_attempt_is_valid_before_training_too() -> None:
    scores = [convolutions(a) for a in CORPUS]
    system = CgvaeGenerator(TrainingConfig(steps=1, learning_rate=1e-2))
    system.fit(CORPUS, scores, seed=0)
    rng = np.random.default_rng(0)
    for found in (system.sample(50, rng=rng), system.sample(20, {"convolutions": 3.0}, rng=rng)):
        assert len(found.architectures) == found.attempts
        assert all(len(a.live) == len(a) for a in found.architectures)


def test_generator__follows_a_condition_and_a_reference() -> None:
    cells = [*corpus(6, 2), *corpus(6, 3)]
    system = CgvaeGenerator(TrainingConfig(steps=150, learning_rate=1e-2))
    system.fit(cells, [convolutions(a) for a in cells], seed=0)
    rng = np.random.default_rng(1)
    means = [
        np.mean([convolutions(a)["convolutions"] for a in found.architectures])
        for found in (system.sample(60, {"convolutions": c}, rng=rng) for c in (0.0, 3.0))
    ]
    assert means[0] + 0.5 < means[1]
    near = system.sample(40, reference=cells[0], rng=rng).architectures
    plain = system.sample(40, rng=rng).architectures
    hits = [sum(same(a, cells[0]) for a in found) for found in (near, plain)]
    assert hits[0] > hits[1]
    foreign = Architecture(("input", "conv5x5", "output"), ((0, 1), (1, 2)))
    with pytest.raises(FragenvError, match="the reference has other operators than input, "):
        system.sample(1, reference=foreign, rng=rng)


def test_trained__valid_unique_and_novel() -> None:
    path = shipped("cgvae-wired")
    assert path.stat().st_size < 1_000_000
    system = CgvaeGenerator.load(path)
    found = system.sample(200, rng=np.random.default_rng(3))
    assert len(found.architectures) == 200
    assert len(set(found.architectures)) >= 180


def test_load__is_what_was_saved(tmp_path: Path) -> None:
    system = CgvaeGenerator(TrainingConfig(steps=1, learning_rate=1e-2))
    system.fit(CORPUS, None, seed=0)
    path = tmp_path / "c.safetensors"
    system.save(path, "a command")
    again = CgvaeGenerator.load(path)
    drawn = [g.sample(5, rng=np.random.default_rng(0)) for g in (system, again)]
    assert drawn[0] == drawn[1] and again.model.config == system.model.config
