"""MolGAN: what each loss reaches, symmetry of the critic, rewards, trained weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from small_corpus import convolutions, corpus

from fragenv.errors import FragenvError
from fragenv.generate.architecture import Architecture
from fragenv.generate.canonical import Distinct
from fragenv.generate.corpora import naswot, pruned
from fragenv.generate.molgan import MolGanGenerator, Objective, _decoded, _encoded
from fragenv.generate.molgan_model import GraphScore, MolGan, MolGanConfig
from fragenv.generate.nb201 import from_choices, runnable_choices
from fragenv.generate.table import cell_scores
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.weights import shipped

CORPUS = corpus()
SCORES = [convolutions(a) for a in CORPUS]
CONFIG = MolGanConfig(6, ("avgpool3x3", "conv1x1", "conv3x3", "skip"))


def measure(architectures: Sequence[Architecture]) -> list[float]:
    return [convolutions(a)["convolutions"] for a in architectures]


def trainer(steps: int, objective: Objective | None = None) -> Trainer:
    system = MolGanGenerator(TrainingConfig(steps, 1e-3, 10.0), objective)
    return system.trainer(CORPUS, SCORES, 0)


def test_generate__is_one_hot_and_without_cycles() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MolGan(CONFIG)
        types, edges = model.generate(64)
    assert torch.equal(types.sum(2), torch.ones(64, 6)) and set(types.unique().tolist()) == {0, 1}
    assert (types[:, 0, 0] == 1).all() and (types[:, -1, -2] == 1).all()
    assert (types[:, 1:-1, 0] == 0).all() and (types[:, 1:-1, -2] == 0).all()
    assert edges.tril(0).abs().sum() == 0 and edges.detach().round().equal(edges.detach())
    absent = types[..., -1].bool()
    assert absent.any() and edges[absent].abs().sum() == 0
    edges.sum().backward()
    assert model.generator[0].weight.grad.abs().sum() > 0  # straight through the rounding


def test_score__does_not_see_the_numbering() -> None:
    score = GraphScore(CONFIG)
    types = torch.eye(7)[torch.tensor([[0, 1, 2, 3, 6, 5]])]
    edges = (torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float().triu(1)
    order = torch.tensor([0, 3, 1, 4, 2, 5])
    moved = types[:, order], edges[:, order][:, :, order]
    assert torch.allclose(score(types, edges), score(*moved), atol=1e-6)
    assert not torch.allclose(score(types, edges), score(types, edges.transpose(1, 2)), atol=1e-4)


def test_encoded__round_trip() -> None:
    cells = [pruned(a) for a in CORPUS]
    graphs = _encoded(CONFIG.space, cells)
    assert _decoded(CONFIG.space, graphs) == cells
    broken = graphs[0][:1], torch.zeros_like(graphs[1][:1])
    assert _decoded(CONFIG.space, broken) == [None]


def test_training__each_loss_reaches_its_own_network() -> None:
    parts = ("generator", "critic", "reward")

    def moved(training: Trainer) -> set[str]:
        before = {name: value.clone() for name, value in training.model.state_dict().items()}
        training.step()
        after = training.model.state_dict()
        return {n.split(".")[0] for n in before if not torch.equal(before[n], after[n])}

    plain = trainer(10)
    assert moved(plain) == {"generator", "critic"}
    assert moved(plain) == {"critic"}  # the generator waits for five steps of the critic
    assert moved(trainer(10, Objective("convolutions", measure))) == set(parts)


def test_training__resumed_equals_uninterrupted() -> None:
    objective = Objective("convolutions", measure)
    whole, first, second = (trainer(12, objective) for _ in range(3))
    whole.run()
    for _ in range(7):
        first.step()
    second.restore(first.state())
    second.run()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name])


def test_objective__needs_its_scores() -> None:
    with pytest.raises(FragenvError, match="needs scores with 'macs', which is to be high; got c"):
        trainer(1, Objective("macs", measure))


def test_start__is_gone_on_from() -> None:
    first = trainer(1)
    assert isinstance(first.model, MolGan)
    objective = Objective("convolutions", measure)
    again = MolGanGenerator(TrainingConfig(1, 1e-3), objective, first.model)
    model = again.trainer(CORPUS, SCORES, 7).model
    for name, value in first.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    other = MolGanGenerator(TrainingConfig(1, 1e-3), None, MolGan(CONFIG))
    with pytest.raises(FragenvError, match="of another space than the corpus"):
        other.trainer(CORPUS, SCORES, 0)


def test_naswot__equals_the_table() -> None:
    choices = runnable_choices()[::4000]
    from_table = [cell_scores()[c]["naswot"] for c in choices]
    found = naswot([from_choices(c) for c in choices], seeds=3)
    assert found == pytest.approx(from_table, rel=1e-4)


def test_trained__valid_and_lifted_by_the_reward() -> None:
    scores = []
    # without a reward the valid ones are fewer than wanted: the table says so
    for name, least in (("cells", 0.8), ("naswot", 0.98)):
        path = shipped(f"molgan-{name}")
        assert path.stat().st_size < 1_000_000
        found = MolGanGenerator.load(path).sample(150, rng=np.random.default_rng(5))
        assert len(found.architectures) >= least * 150
        scores.append(np.array(naswot(found.architectures)))
        distinct = Distinct()
        assert sum(distinct.add(a) for a in found.architectures) >= 10
    assert scores[1].mean() > scores[0].mean() + scores[0].std()
