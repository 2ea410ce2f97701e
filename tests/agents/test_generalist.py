"""What the generalist is trained on, and the three stages of its training."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.env_checker import check_env

from agents.generalist import demonstrations, instances
from agents.generalist.demonstrations import (
    Demonstration,
    demonstrate,
    demonstrate_all,
    read_demonstrations,
    write_demonstrations,
)
from agents.generalist.environment import LAYOUT, PoolEnv, PoolInstance
from agents.generalist.imitation import Episode, Imitation, imitation_loss
from agents.generalist.improvement import Improved, ImprovementConfig, excess, improve
from agents.generalist.instances import instance, random_chip
from agents.generalist.networks import BLOCKS, random_graph
from agents.ppo.decoding import rollout
from agents.ppo.guide import Guide
from agents.ppo.network import PolicyNetwork
from agents.scheduler import Budget, Meter
from agents.splits import models_of
from fragenv.errors import FragenvError, ProcessLostError
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.models import zoo
from fragenv.schedule.problem import Problem
from fragenv.schedule.schedule import graph_hash

#: small instances of the distribution
SMALL = (1, 9, 10)


@pytest.fixture(scope="module")
def shown() -> list[tuple[Demonstration, Problem]]:
    return [(demonstrate(seed, 60), instance(seed)) for seed in SMALL]


def test_networks__are_many_and_reproducible() -> None:
    graphs = [random_graph(random.Random(seed)) for seed in range(12)]
    assert len({graph_hash(graph) for graph in graphs}) == 12
    assert graph_hash(random_graph(random.Random(3))) == graph_hash(graphs[3])
    for graph in graphs:
        convolutions = [op for op in graph.operators if op.macs]
        assert len(convolutions) >= 3
        assert len(graph.outputs) == 1


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("stride", [1, 2])
def test_blocks__give_the_channels_and_rows_they_promise(kind: str, stride: int) -> None:
    for seed in range(6):
        block = BLOCKS[kind](random.Random(seed), 12, 20, stride).eval()
        found = block(torch.zeros(1, 12, 10, 10))
        assert found.shape == (1, 20, 10 // stride, 10 // stride)


def test_instances__never_show_a_test_model() -> None:
    test = {*models_of("test"), *models_of("validation")}
    names = {instance(seed).graph.name for seed in range(8)}
    assert not names & test
    assert "random" in names
    assert not set(models_of("train")) & test


def test_instances__are_reproducible() -> None:
    one, two = instance(9), instance(9)
    assert graph_hash(one.graph) == graph_hash(two.graph)
    assert (one.chip, one.batch, one.objective) == (two.chip, two.batch, two.objective)
    assert len({random_chip(random.Random(seed)) for seed in range(20)}) == 20


def test_instances__of_generated_cells_are_reproducible_and_others() -> None:
    seed = next(s for s in range(20) if instance(s, 1.0).graph.name not in models_of("train"))
    one = instance(seed, 1.0)
    assert graph_hash(one.graph) == graph_hash(instance(seed, 1.0).graph)
    assert graph_hash(one.graph) != graph_hash(instance(seed).graph)
    assert len(one.operators) <= instances.MAX_OPERATORS


def test_demonstrations__replay_to_their_cost(
    shown: list[tuple[Demonstration, Problem]], tmp_path: Path
) -> None:
    for demonstration, problem in shown:
        end = demonstration.states(problem)[-1]
        assert end.finished
        assert problem.cost(end) == pytest.approx(demonstration.cost, rel=1e-12)
    path = tmp_path / "demonstrations.json"
    write_demonstrations([d for d, _ in shown], path)
    assert read_demonstrations(path) == tuple(d for d, _ in shown)
    with pytest.raises(FragenvError, match="does not fit"):
        shown[0][0].states(Problem(zoo.graph("squeezenet"), "cgra512", 1))


def test_demonstrations__are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "demonstrations.json"
    known = Demonstration(1, (9,), 2.5, "annealing")
    write_demonstrations([known], path)
    assert list(demonstrate_all([1], 50, path)) == []
    (after,) = demonstrate_all([1, 9], 50, path)
    assert after[0] == known and after[1].seed == 9
    with pytest.raises(FragenvError, match="another share of generated networks"):
        list(demonstrate_all([1], 50, path, generated=0.5))
    data = json.loads(path.read_text("utf-8"))
    del data["demonstrations"][0]["cost"]
    path.write_text(json.dumps(data), "utf-8")
    with pytest.raises(FragenvError, match="damaged"):
        read_demonstrations(path)


def killed(seed: int, calls: int, generated: float) -> Demonstration:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


def test_demonstrations__a_killed_process_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "demonstrations.json"
    known = Demonstration(1, (9,), 2.5, "annealing")
    write_demonstrations([known], path)
    monkeypatch.setattr(demonstrations, "demonstrate", killed)
    with pytest.raises(ProcessLostError, match="the same command goes on"):
        list(demonstrate_all([1, 2], 50, path))
    assert read_demonstrations(path) == (known,)


def test_imitation__learns_a_schedule_and_what_it_costs(
    shown: list[tuple[Demonstration, Problem]],
) -> None:
    demonstration, problem = shown[0]
    episode = Episode.of(demonstration, problem)
    torch.manual_seed(0)
    network = PolicyNetwork(24, 2)
    before = imitation_loss(network, episode).item()
    trainer = Trainer(network, Imitation(network, [episode]), TrainingConfig(150, 5e-3))
    trainer.run()
    assert imitation_loss(network, episode).item() < 0.2 * before
    guide = Guide(network, problem)
    path = rollout(Meter(problem, Budget(1000)), guide, None)
    assert path is not None
    assert problem.cost(path.state) == pytest.approx(demonstration.cost, rel=0.01)
    # at the start everything is to be paid, at the end nothing
    states = demonstration.states(problem)
    _, values = guide([states[0], states[-2]])
    assert values[0] == pytest.approx(-1, abs=0.15)
    assert values[1] > values[0] + 0.3


def test_pool__returns_minus_one_for_the_reference(
    shown: list[tuple[Demonstration, Problem]],
) -> None:
    demonstration, problem = shown[1]
    env = PoolEnv([PoolInstance(problem, demonstration.cost)])
    check_env(env, warn=False)
    env.reset(seed=0)
    total = 0.0
    for number, action in enumerate(demonstration.actions, 1):
        padded = env.pool[0].actions.from_problem(action)
        observation, reward, done, _, _ = env.step(padded)
        assert env.observation_space.contains(observation)
        total += reward
        assert done == (number == len(demonstration.actions))
    assert total == pytest.approx(-1)
    assert not env.action_masks().any()
    env.reset(seed=0)
    illegal = int(np.flatnonzero(~env.action_masks())[0])
    before = env.action_masks()
    assert env.step(illegal)[1] == -1
    np.testing.assert_array_equal(env.action_masks(), before)


def test_pool__draws_every_instance(shown: list[tuple[Demonstration, Problem]]) -> None:
    env = PoolEnv([PoolInstance(problem, d.cost) for d, problem in shown])
    env.reset(seed=0)
    ids = {int(env.reset()[0]["static_id"][0]) for _ in range(30)}
    assert len(ids) == len(shown)
    assert env.action_masks().shape == (LAYOUT.num_actions,)


def test_improvement__keeps_the_best_and_goes_on(
    shown: list[tuple[Demonstration, Problem]],
) -> None:
    pool = [PoolInstance(problem, d.cost) for d, problem in shown]
    torch.manual_seed(0)
    network = PolicyNetwork(16, 1)
    start = Improved(network, excess(network, pool), {})
    config = ImprovementConfig(timesteps=96, num_envs=2, rollout_steps=16, evaluate_every=1)
    reports: list[tuple[int, float]] = []
    best = improve(
        start, pool, pool, config, 0, progress=lambda n, b: reports.append((n, b.excess))
    )
    assert best.excess <= start.excess
    assert best.excess == pytest.approx(excess(best.network, pool))
    assert reports[-1][0] == 96
    assert np.all(np.diff([e for _, e in reports]) <= 0)
    longer = ImprovementConfig(timesteps=128, num_envs=2, rollout_steps=16, evaluate_every=1)
    more = improve(best, pool, pool, longer, 0, state=best.state)
    assert int(more.state["step"]) == 128
    assert more.excess <= best.excess


def test_padding__holds_every_instance() -> None:
    assert (LAYOUT.nodes, LAYOUT.choices) == (instances.MAX_OPERATORS, instances.MAX_CHOICES)
