"""DGMG: probabilities against sampling and enumeration, training that resumes, trained cycles."""

from __future__ import annotations

import time
from math import exp
from pathlib import Path

import numpy as np
import pytest
import torch
from small_corpus import convolutions, corpus
from small_graphs import every_graph

from fragenv.generate import cycles
from fragenv.generate.dgmg import DgmgGenerator
from fragenv.generate.dgmg_model import Dgmg, DgmgConfig, Drawn, Graphs, Recorded
from fragenv.generate.dgmg_training import load_dgmg, make_trainer, save_dgmg
from fragenv.generate.training import TrainingConfig
from fragenv.generate.weights import WeightsError, shipped

CYCLES = shipped("dgmg-cycles")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fresh(config: DgmgConfig, seed: int = 0) -> Dgmg:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Dgmg(config).eval()


@pytest.mark.parametrize("directed", [False, True])
@torch.no_grad()
def test_model__probabilities_of_all_graphs_add_up_to_one(directed: bool) -> None:
    config = DgmgConfig(node_types=2, max_nodes=3, directed=directed, hidden=4)
    graphs = every_graph(2, 3)
    assert len(graphs.sizes) == 1 + 2 + 4 * 2 + 8 * 8
    chooser = Recorded(graphs.sizes, graphs.types, graphs.edges, 2)
    built = fresh(config).build(chooser, len(graphs.sizes))
    assert torch.equal(built.edges, graphs.edges) and torch.equal(built.types, graphs.types)
    assert float(built.log_probs.double().exp().sum()) == pytest.approx(1, abs=1e-5)


@torch.no_grad()
def test_model__samples_come_with_their_probability_whatever_the_batch() -> None:
    model = fresh(DgmgConfig(node_types=2, max_nodes=6, directed=True, hidden=8), seed=3)
    drawn = model.build(Drawn(generator(1)), 50)
    assert drawn.edges.triu(0).sum() == 0  # edges lead to earlier nodes only
    for row in range(0, 50, 7):
        alone = Recorded(drawn.sizes[[row]], drawn.types[[row]], drawn.edges[[row]], 2)
        log_p = model.build(alone, 1).log_probs
        assert torch.allclose(log_p, drawn.log_probs[[row]], atol=1e-5)


@torch.no_grad()
def test_model__frequencies_agree_with_probabilities() -> None:
    model = fresh(DgmgConfig(max_nodes=2, hidden=4), seed=1)
    drawn = model.build(Drawn(generator(0)), 4000)
    graphs = every_graph(1, 2)  # nothing, a node, two nodes apart, two nodes with an edge
    chooser = Recorded(graphs.sizes, graphs.types, graphs.edges, 1)
    expected = model.build(chooser, len(graphs.sizes)).log_probs.exp()
    for row, p in enumerate(expected.tolist()):
        same = (drawn.sizes == graphs.sizes[row]) & (drawn.edges == graphs.edges[row]).all(2).all(1)
        assert abs(same.float().mean().item() - p) < 5 * (p * (1 - p) / 4000) ** 0.5


def test_cycles__checker_refuses_what_is_none() -> None:
    graphs = cycles.cycles()
    assert cycles.valid_cycles(graphs).all()
    broken = graphs.edges.clone()
    broken[0, 9, 0] = False  # open
    broken[1, 5, 2] = True  # a chord
    graphs.sizes[2] += 1  # a node apart
    found = Graphs(graphs.sizes, graphs.types, broken, graphs.log_probs)
    assert cycles.valid_cycles(found).tolist() == [False] * 3 + [True] * 8
    short = Graphs(torch.tensor([3]), graphs.types[:1], graphs.edges[:1], graphs.log_probs[:1])
    assert not cycles.valid_cycles(short).any()


def test_training__resumed_equals_uninterrupted() -> None:
    config, graphs = DgmgConfig(max_nodes=4, hidden=4), every_graph(1, 3)
    padded = Graphs(
        graphs.sizes,
        torch.nn.functional.pad(graphs.types, (0, 1)),
        torch.nn.functional.pad(graphs.edges, (0, 1, 0, 1)),
        torch.full((len(graphs.sizes),), 1 / len(graphs.sizes)).log(),
    )
    plan = TrainingConfig(steps=6, learning_rate=1e-2)
    whole = make_trainer(config, padded, plan, seed=2, batch=5)
    whole.run()
    first = make_trainer(config, padded, plan, seed=2, batch=5)
    for _ in range(3):
        first.step()
    second = make_trainer(config, padded, plan, seed=2, batch=5)
    second.restore(first.state())
    second.run()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name])


def test_training__learns_small_cells() -> None:
    cells = corpus(4, 2)
    system = DgmgGenerator(TrainingConfig(steps=300, learning_rate=2e-2), hidden=16)
    system.fit(cells, None, seed=0)
    known = sum(exp(system.log_prob(a) or 0.0) for a in set(cells))
    assert known > 0.8  # of all that could be built
    found = system.sample(200, rng=np.random.default_rng(0))
    share = sum(a in set(cells) for a in found.architectures) / 200
    assert abs(share - known) < 5 * (known * (1 - known) / 200) ** 0.5 + 1e-9


def test_training__follows_a_condition() -> None:
    cells = corpus(6, 2)
    system = DgmgGenerator(TrainingConfig(steps=150, learning_rate=2e-2), hidden=16)
    system.fit(cells, [convolutions(a) for a in cells], seed=0)
    rng = np.random.default_rng(1)
    means = [
        np.mean([convolutions(a)["convolutions"] for a in found.architectures])
        for found in (system.sample(60, {"convolutions": c}, rng=rng) for c in (0.0, 2.0))
    ]
    assert means[0] < 0.5 and means[1] > 1.5


def test_weights__round_trip_and_refusals(tmp_path: Path) -> None:
    model = fresh(DgmgConfig(hidden=4))
    save_dgmg(tmp_path / "m.safetensors", model, "a command")
    loaded = load_dgmg(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    with pytest.raises(WeightsError, match=r"there is no file .*train_generator"):
        load_dgmg(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="damaged"):
        load_dgmg(tmp_path / "broken.safetensors")


def test_cycles__trained_weights_make_them() -> None:
    assert cycles.probability_of_a_cycle(load_dgmg(CYCLES)) >= 0.97
    assert CYCLES.stat().st_size < 1_000_000


def test_trained__architectures_are_valid() -> None:
    path = shipped("dgmg-wired")
    assert path.stat().st_size < 1_000_000
    system = DgmgGenerator.load(path)
    found = system.sample(60, rng=np.random.default_rng(0)).architectures
    assert len(found) >= 35
    log_p = system.log_prob(found[0])
    assert log_p is not None and -100 < log_p < 0


@pytest.mark.slow
@torch.no_grad()
def test_cycles__ten_thousand_samples() -> None:
    model = load_dgmg(CYCLES)
    drawn = model.build(Drawn(generator(0)), 10_000)
    share = cycles.valid_cycles(drawn).float().mean().item()
    assert share >= 0.97
    assert abs(share - cycles.probability_of_a_cycle(model)) < 0.01


@pytest.mark.slow
@torch.no_grad()
def test_cycles__a_batch_is_five_times_faster_than_one_by_one() -> None:
    model = load_dgmg(CYCLES)

    def seconds(batch: int, count: int) -> float:
        start = time.process_time()
        for number in range(count // batch):
            model.build(Drawn(generator(number)), batch)
        return (time.process_time() - start) / count

    assert seconds(1, 40) > 5 * seconds(1000, 2000)
