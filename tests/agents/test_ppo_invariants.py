"""What must hold of the policy whatever its weights, and of a training that is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.ppo.checkpoint import AgentConfig, load_agent, read_tensors, save_agent
from agents.ppo.decoding import rollout
from agents.ppo.guide import Guide
from agents.ppo.network import PolicyNetwork
from agents.ppo.policy import GraphPolicy
from agents.ppo.scheduler import PPOScheduler
from agents.ppo.train import OPTIMIZER, TrainConfig, train
from agents.scheduler import Budget, Meter
from fragenv.env.env import FragmentEnv
from fragenv.env.observation import Layout, Observation, unflatten
from fragenv.models import zoo
from fragenv.schedule.problem import MAX_SLOTS, Problem


def lenet_env() -> FragmentEnv:
    return FragmentEnv(model="lenet", chip="cgra512", batch=2)


def random_network(hidden: int = 16) -> PolicyNetwork:
    """All weights random, so that no logit is constant."""
    torch.manual_seed(3)
    network = PolicyNetwork(hidden, 2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def some_state(env: FragmentEnv, steps: int, seed: int = 0) -> Observation:
    """The observation after ``steps`` random legal decisions."""
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=0)
    for _ in range(steps):
        observation, *_ = env.step(int(rng.choice(np.flatnonzero(env.action_masks()))))
    return observation


def scores(
    network: PolicyNetwork, arrays: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    edges = arrays["edge_index"].long()[:, arrays["edge_mask"] > 0]
    nodes, choices = network.encoder(
        arrays["node_static"], arrays["choice_static"], arrays["chip"], edges
    )
    batch = {key: value.unsqueeze(0) for key, value in arrays.items()}
    logits, value = network(
        nodes.unsqueeze(0), choices.unsqueeze(0), torch.zeros(1, dtype=torch.long), batch
    )
    return logits[0], value[0, 0]


def test_network__permuting_nodes_and_choices_permutes_logits() -> None:
    env = FragmentEnv(model="squeezenet", chip="cgra512")
    layout: Layout = env.layout
    observation = unflatten(some_state(env, 5), layout)
    arrays = {key: torch.as_tensor(value).float() for key, value in observation.items()}
    network = random_network()
    generator = torch.Generator().manual_seed(1)
    order = torch.randperm(layout.nodes, generator=generator)
    options = torch.randperm(layout.choices, generator=generator)
    slots = torch.randperm(MAX_SLOTS, generator=generator)
    moved = dict(arrays)
    for key in ("node_static", "node_dynamic", "node_mask"):
        moved[key] = arrays[key][order]
    for key in ("choice_static", "choice_dynamic"):
        moved[key] = arrays[key][order][:, options]
    moved["slots"] = arrays["slots"][slots]
    moved["edge_index"] = torch.argsort(order)[arrays["edge_index"].long()]
    with torch.no_grad():
        logits, value = scores(network, arrays)
        moved_logits, moved_value = scores(network, moved)
    table = logits[MAX_SLOTS:].reshape(layout.nodes, -1)
    moved_table = moved_logits[MAX_SLOTS:].reshape(layout.nodes, -1)
    kinds = torch.cat([options, torch.tensor([layout.choices])])
    torch.testing.assert_close(moved_table, table[order][:, kinds], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved_logits[:MAX_SLOTS], logits[:MAX_SLOTS][slots])
    torch.testing.assert_close(moved_value, value, rtol=1e-4, atol=1e-4)
    # the network does tell nodes apart: another order is another answer
    assert not torch.allclose(moved_table, table, atol=1e-2)


def test_network__edges_matter() -> None:
    env = lenet_env()
    arrays = {
        key: torch.as_tensor(value).float()
        for key, value in unflatten(some_state(env, 2), env.layout).items()
    }
    network = random_network()
    with torch.no_grad():
        logits, _ = scores(network, arrays)
        without, _ = scores(network, {**arrays, "edge_mask": torch.zeros_like(arrays["edge_mask"])})
    assert not torch.allclose(logits, without, atol=1e-3)


def ppo(envs: list[Callable[[], FragmentEnv]], layout: Layout) -> MaskablePPO:
    return MaskablePPO(
        GraphPolicy,
        DummyVecEnv(envs),
        n_steps=32,
        batch_size=16,
        n_epochs=1,
        learning_rate=0.02,
        policy_kwargs={"layout": layout, "hidden": 16},
        seed=0,
    )


def two_graphs() -> tuple[list[Callable[[], FragmentEnv]], Layout]:
    """LeNet on two chips in one padding, so that a batch holds two static graphs."""
    layouts = [FragmentEnv(model="lenet", chip=chip).layout for chip in ("cgra512", "zu7ev")]
    sizes = {
        "max_nodes": max(x.nodes for x in layouts),
        "max_edges": max(x.edges for x in layouts),
        "max_choices": max(x.choices for x in layouts),
    }
    envs = [
        lambda chip=chip: FragmentEnv(model="lenet", chip=chip, **sizes)
        for chip in ("cgra512", "zu7ev")
    ]
    return envs, Layout(sizes["max_nodes"], sizes["max_edges"], sizes["max_choices"])


def test_policy__ratio_is_one_after_an_update_with_two_graphs() -> None:
    model = ppo(*two_graphs())
    _, callback = model._setup_learn(1000, None)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 32)
    before = {k: v.clone() for k, v in model.policy.state_dict().items()}
    model.train()
    after = model.policy.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before if "encoder" in key)
    # embeddings from before the update would give other probabilities
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 32)
    model.policy.set_training_mode(True)
    seen = set()
    for batch in model.rollout_buffer.get(16):
        seen |= set(batch.observations["static_id"].flatten().tolist())
        _, log_prob, _ = model.policy.evaluate_actions(
            batch.observations, batch.actions.long().flatten(), action_masks=batch.action_masks
        )
        torch.testing.assert_close(log_prob, batch.old_log_prob, rtol=1e-4, atol=1e-4)
    assert len(seen) == 2


def test_policy__takes_no_illegal_action() -> None:
    """Weights that want what is illegal: the mask decides."""
    env = FragmentEnv(model="squeezenet", chip="xc7z045")
    policy = GraphPolicy(
        env.observation_space, env.action_space, lambda _: 1e-3, layout=env.layout, hidden=16
    )
    policy.network.load_state_dict(random_network().state_dict())
    for episode in range(3):
        observation, _ = env.reset(seed=0)
        done = False
        torch.manual_seed(episode)
        while not done:
            mask = env.action_masks()
            action, _ = policy.predict(observation, deterministic=episode == 0, action_masks=mask)
            assert mask[int(action)]
            observation, _, terminated, truncated, info = env.step(int(action))
            assert not info["illegal"]
            done = terminated or truncated
        assert terminated


def test_policy__gradients_of_a_rollout_are_not_zero() -> None:
    model = ppo([lenet_env] * 2, lenet_env().layout)
    network = model.policy.network
    network.load_state_dict(random_network().state_dict())
    _, callback = model._setup_learn(1000, None)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 32)
    model.policy.set_training_mode(True)
    network.zero_grad()
    batch = next(model.rollout_buffer.get(64))
    values, log_prob, entropy = model.policy.evaluate_actions(
        batch.observations, batch.actions.long().flatten(), action_masks=batch.action_masks
    )
    (log_prob * batch.advantages - entropy + values.square().flatten()).sum().backward()
    # a bias common to all RUNs changes their probability against EVICT and SPILL, so even those
    # of the last layers have a gradient
    dead = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


class StopTrainingError(Exception):
    """Raised in the middle of a training."""


@pytest.mark.parametrize("reason", [KeyboardInterrupt, StopTrainingError])
def test_training__interrupted_goes_on_where_it_was(
    tmp_path: Path, reason: type[BaseException]
) -> None:
    config = TrainConfig(timesteps=2048, num_envs=4, rollout_steps=64, hidden=16)

    def stop(steps: int) -> None:
        if steps >= 768:
            raise reason

    with pytest.raises(reason):
        train(lenet_env, config, tmp_path, "LeNet", progress=stop)
    # Adam counts its steps: 3 rollouts of 256, each 4 epochs of one batch
    counts = {k: v for k, v in read_tensors(tmp_path / OPTIMIZER).items() if k.endswith(".step")}
    assert counts and {float(v) for v in counts.values()} == {12.0}
    load_agent(tmp_path / "agent")
    steps: list[int] = []
    network, history = train(
        lenet_env, config, tmp_path, "LeNet", resume=True, progress=steps.append
    )
    assert steps[0] > 768 and steps[-1] == 2048
    assert history.steps == sorted(set(history.steps))
    counts = {k: v for k, v in read_tensors(tmp_path / OPTIMIZER).items() if k.endswith(".step")}
    assert {float(v) for v in counts.values()} == {32.0}
    saved, _ = load_agent(tmp_path / "agent")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, saved.state_dict()[name]), name


def test_agent__comes_back_with_the_same_decisions(tmp_path: Path) -> None:
    problem = Problem(zoo.graph("squeezenet"), "xc7z020", 1)
    network = random_network()
    save_agent(network, AgentConfig(hidden=16), tmp_path)
    again, _ = load_agent(tmp_path)
    env = lenet_env()
    arrays = {
        key: torch.as_tensor(value).float()
        for key, value in unflatten(some_state(env, 2), env.layout).items()
    }
    with torch.no_grad():
        for one, two in zip(scores(network, arrays), scores(again, arrays), strict=True):
            assert torch.equal(one, two)
    first = PPOScheduler(network, samples=3).solve(problem, Budget(10_000), 5)
    second = PPOScheduler(again, samples=3).solve(problem, Budget(10_000), 5)
    assert first.actions == second.actions


def test_agent__samples_never_cost_more_than_its_greedy_rollout() -> None:
    problem = lenet_env().problem
    network = random_network()
    greedy = PPOScheduler(network, samples=0).solve(problem, Budget(10_000), 0)
    budget = Budget(200)
    sampled = PPOScheduler(network).solve(problem, budget, 0)
    assert sampled.cost <= greedy.cost
    assert sampled.apply_calls <= budget.apply_calls
    state = problem.initial()
    for action in sampled.actions:
        assert action in problem.legal_actions(state)
        state = problem.apply(state, action)
    assert state.finished and problem.cost(state) == sampled.cost


def test_agent__answers_beyond_its_budget_with_a_whole_schedule() -> None:
    problem = lenet_env().problem
    network = random_network()
    assert rollout(Meter(problem, Budget(1)), Guide(network, problem), None) is None
    assert PPOScheduler(network).solve(problem, Budget(1), 0).state.finished
