"""The conditional flow: its densities, its way there and back, what the committed one generates."""

from __future__ import annotations

from math import log, pi
from pathlib import Path

import numpy as np
import pytest
import torch
from small_corpus import convolutions, corpus

from fragenv.generate import flow_training, gvae_training, nb201
from fragenv.generate.attributes import AttributeOracle, cell_attributes
from fragenv.generate.canonical import key
from fragenv.generate.evaluate import evaluate
from fragenv.generate.flow import FlowGenerator
from fragenv.generate.flow_model import ConditionalFlow
from fragenv.generate.gvae_model import Gvae
from fragenv.generate.latency_table import functions
from fragenv.generate.latent import corpus_task
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.weights import WeightsError, shipped


class Stretching(ConditionalFlow):
    """dx/dt = a x with a known: the codes are normal with deviation exp(a)."""

    RATE = 0.7

    def velocity(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return self.RATE * x


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_log_density__of_a_known_flow() -> None:
    flow = Stretching(3, 0)
    flow.prepare(2 + 5 * torch.randn(4000, 3, generator=seeded()), torch.zeros(4000, 0))
    codes = torch.randn(6, 3, generator=seeded())
    deviation = np.exp(Stretching.RATE) * flow.spread
    expected = -0.5 * (((codes - flow.centre) / deviation) ** 2 + log(2 * pi)) - deviation.log()
    found = flow.log_density(codes, torch.zeros(6, 0))
    assert torch.allclose(found, expected.sum(1), atol=0.02)


def test_inverse__leads_back() -> None:
    torch.manual_seed(0)
    flow = ConditionalFlow(4, 2)
    noise, condition = torch.randn(10, 4), torch.rand(10, 2)
    back = flow.inverse(flow(noise, condition), condition)
    assert torch.allclose(back, noise, atol=0.02)


def test_matching__learns_a_conditional_distribution() -> None:
    """Codes are normal round their condition; the flow gives their mean, deviation and density."""
    torch.manual_seed(0)
    flow = ConditionalFlow(1, 1, hidden=32)
    condition = torch.randint(2, (4000, 1)).float()
    codes = 4 * condition - 2 + 0.5 * torch.randn(4000, 1)
    flow.prepare(codes, condition)

    def loss(step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step)
        rows = torch.randint(4000, (256,), generator=generator)
        return flow.matching_loss(codes[rows], condition[rows], generator)

    Trainer(flow, loss, TrainingConfig(steps=400, learning_rate=1e-2)).run()
    for wanted, centre in ((0.0, -2.0), (1.0, 2.0)):
        asked = torch.full((2000, 1), wanted)
        made = flow(torch.randn(2000, 1), asked)
        assert float(made.mean()) == pytest.approx(centre, abs=0.15)
        assert float(made.std()) == pytest.approx(0.5, abs=0.15)
        grid = torch.linspace(-6, 6, 241)[:, None]
        density = flow.log_density(grid, asked[:241]).exp()
        assert float(density.sum() * 0.05) == pytest.approx(1, abs=0.05)


def small_gvae() -> Gvae:
    cells = corpus()
    task = corpus_task(cells, [convolutions(a) for a in cells])
    trainer = gvae_training.make_trainer(*task, TrainingConfig(2, 1e-2), seed=0)
    assert isinstance(trainer.model, Gvae)
    return trainer.model.eval()


def test_flow__comes_back_from_a_file_with_its_own_gvae_only(tmp_path: Path) -> None:
    gvae = small_gvae()
    known = corpus_task(corpus(), None)[1]
    training = TrainingConfig(steps=3, learning_rate=1e-2)
    trainer = flow_training.make_flow_trainer(gvae, known, training, seed=0, pool=300)
    trainer.run()
    assert isinstance(trainer.model, ConditionalFlow)
    path = tmp_path / "flow.safetensors"
    flow_training.save_flow(path, trainer.model, gvae, "a test")
    again = flow_training.load_flow(path, gvae)
    noise, condition = torch.randn(2, gvae.config.codes), torch.rand(2, 1)
    assert torch.equal(again(noise, condition), trainer.model(noise, condition))
    with torch.no_grad():
        gvae.mean.bias += 1
    with pytest.raises(WeightsError, match="codes of another G-VAE; train it again"):
        flow_training.load_flow(path, gvae)


@pytest.fixture(scope="module")
def trained() -> FlowGenerator:
    return FlowGenerator.trained()


def test_committed__is_valid_unique_and_novel(trained: FlowGenerator) -> None:
    assert shipped("flow").stat().st_size < 1e6
    found = evaluate(trained, 300, seed=1, known=functions()[0])
    assert found.valid >= 0.95 and found.unique >= 0.8 and found.novel >= 0.5


def test_committed__follows_conditions(trained: FlowGenerator) -> None:
    """Attributes that are counted exactly; scripts/bench_gvae.py measures the others too."""
    names = ("parameters", "macs")
    cells = list(cell_attributes().values())
    rows = np.random.default_rng(5).choice(len(cells), 60, replace=False)
    conditions = [{name: cells[row][name] for name in names} for row in rows]
    found = evaluate(trained, 2, 0, (), conditions, AttributeOracle(names))
    for name in names:
        assert found.control[name].relative < 1 / 3, name


def test_committed__near_a_reference_is_near(trained: FlowGenerator) -> None:
    reference = nb201.from_choices(("nor_conv_3x3",) * 6)
    rng = np.random.default_rng(0)
    near = trained.sample(30, reference=reference, rng=rng).architectures
    far = trained.sample(30, rng=rng).architectures
    oracle = AttributeOracle(("parameters",))
    wanted = oracle(reference)["parameters"]

    def mean_distance(found: tuple[object, ...]) -> float:
        return float(np.mean([abs(oracle(a)["parameters"] - wanted) for a in found]))  # type: ignore[arg-type]

    assert mean_distance(near) < 0.5 * mean_distance(far)
    # each is worth measuring: another function than the others and than the reference
    assert len({key(a) for a in (reference, *near)}) == len(near) + 1
