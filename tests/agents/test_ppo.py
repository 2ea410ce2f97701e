"""The network, its policy, training and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.ppo.checkpoint import AgentConfig, load_agent, save_agent
from agents.ppo.decoding import guided_beam, rollout
from agents.ppo.guide import Guide
from agents.ppo.network import PolicyNetwork
from agents.ppo.policy import GraphPolicy
from agents.ppo.scheduler import PPOScheduler, schedulers_of
from agents.ppo.train import TrainConfig, train
from agents.scheduler import Budget, Meter
from fragenv.env.env import FragmentEnv
from fragenv.errors import FragenvError
from fragenv.models import zoo
from fragenv.schedule.problem import MAX_SLOTS, Problem


def lenet_env(**padding: int) -> FragmentEnv:
    return FragmentEnv(model="lenet", chip="cgra512", batch=2, **padding)


def policy_of(env: FragmentEnv) -> GraphPolicy:
    torch.manual_seed(0)
    return GraphPolicy(
        env.observation_space, env.action_space, lambda _: 1e-3, layout=env.layout, hidden=16
    )


def scores(policy: GraphPolicy, env: FragmentEnv) -> tuple[np.ndarray, float]:
    observation, _ = env.reset(seed=0)
    batch = {k: torch.as_tensor(v).unsqueeze(0) for k, v in observation.items()}
    with torch.no_grad():
        logits, value = policy._scores(batch, None)
    return logits[0].numpy(), float(value)


def test_policy__padding_changes_nothing() -> None:
    small = lenet_env()
    layout = small.layout
    large = lenet_env(
        max_nodes=layout.nodes + 5, max_edges=layout.edges + 7, max_choices=layout.choices + 3
    )
    policy = policy_of(small)
    logits, value = scores(policy, small)
    policy.for_layout(large.layout)
    padded, padded_value = scores(policy, large)
    small.reset()
    large.reset()
    legal, padded_legal = small.action_masks(), large.action_masks()
    np.testing.assert_allclose(logits[legal], padded[padded_legal], rtol=1e-4, atol=1e-5)
    assert value == pytest.approx(padded_value, rel=1e-4)


def test_policy__first_ratio_after_a_rollout_is_one() -> None:
    vector = DummyVecEnv([lenet_env] * 2)
    layout = vector.envs[0].layout
    model = MaskablePPO(
        GraphPolicy,
        vector,
        n_steps=32,
        batch_size=16,
        policy_kwargs={"layout": layout, "hidden": 16},
        seed=0,
    )
    _, callback = model._setup_learn(64, None)
    model.collect_rollouts(vector, callback, model.rollout_buffer, 32)
    model.policy.set_training_mode(True)
    batch = next(model.rollout_buffer.get(16))
    _, log_prob, _ = model.policy.evaluate_actions(
        batch.observations, batch.actions.long().flatten(), action_masks=batch.action_masks
    )
    torch.testing.assert_close(log_prob, batch.old_log_prob, rtol=1e-4, atol=1e-4)


def test_policy__gradient_reaches_every_parameter() -> None:
    env = lenet_env()
    policy = policy_of(env)
    observation, _ = env.reset()
    # a state with bound fragments, so that every feature is there
    for _ in range(3):
        runs = np.flatnonzero(env.action_masks()[MAX_SLOTS:]) + MAX_SLOTS
        observation, *_ = env.step(int(runs[-1]))
    batch = {k: torch.as_tensor(v).unsqueeze(0) for k, v in observation.items()}
    for head in (policy.network.spill[-1], policy.network.evict[-1]):
        torch.nn.init.normal_(head.weight)  # type: ignore[arg-type]
    logits, value = policy._scores(batch, None)
    (logits.square().sum() + value.sum()).backward()
    # the value's output bias shifts nothing that a loss would not see
    missing = [n for n, p in policy.network.named_parameters() if p.grad is None]
    assert not missing


def test_rollout__agrees_with_the_policy() -> None:
    env = lenet_env()
    policy = policy_of(env)
    policy.set_training_mode(False)
    path = rollout(Meter(env.problem, Budget(10_000)), Guide(policy.network, env.problem), None)
    assert path is not None
    observation, _ = env.reset()
    done = False
    while not done:
        action, _ = policy.predict(observation, deterministic=True, action_masks=env.action_masks())
        observation, _, terminated, truncated, _ = env.step(int(action))
        done = terminated or truncated
    assert path.actions == env.actions


def test_training__improves_resumes_and_moves_to_other_networks(tmp_path: Path) -> None:
    config = TrainConfig(timesteps=2048, num_envs=4, hidden=16, seed=1)
    network, history = train(lenet_env, config, tmp_path, "LeNet")
    assert max(history.returns[-2:]) > history.returns[1]
    assert (tmp_path / "agent" / "weights.safetensors").is_file()
    longer = TrainConfig(timesteps=2560, num_envs=4, hidden=16, seed=1)
    _, more = train(lenet_env, longer, tmp_path, "LeNet", resume=True)
    assert more.steps[: len(history.steps)] == history.steps
    assert more.steps[-1] >= 2560
    assert min(more.costs) <= min(history.costs)
    loaded, agent = load_agent(tmp_path / "agent")
    assert agent.trained_on == "LeNet"
    other = Problem(zoo.graph("squeezenet"), "xc7z020", 1)
    result = PPOScheduler(loaded, samples=2).solve(other, Budget(1000), 0)
    assert result.state.finished
    assert network is not loaded


def test_agent__comes_back_equal(tmp_path: Path) -> None:
    network = PolicyNetwork(16, 2)
    save_agent(network, AgentConfig(hidden=16), tmp_path / "agent")
    again, _ = load_agent(tmp_path / "agent")
    for (name, one), two in zip(
        network.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), name


def break_weights(folder: Path) -> None:
    data = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(data[: len(data) // 2])


def break_version(folder: Path) -> None:
    data = json.loads((folder / "agent.json").read_text())
    (folder / "agent.json").write_text(json.dumps({**data, "version": 99}))


def break_features(folder: Path) -> None:
    data = json.loads((folder / "agent.json").read_text())
    data["features"]["chip"] = ["other"]
    (folder / "agent.json").write_text(json.dumps(data))


def break_size(folder: Path) -> None:
    data = json.loads((folder / "agent.json").read_text())
    (folder / "agent.json").write_text(json.dumps({**data, "hidden": 32}))


def break_json(folder: Path) -> None:
    (folder / "agent.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_weights, "damaged"),
        (break_version, "version 99"),
        (break_features, "other features"),
        (break_size, "do not fit"),
        (break_json, "not a JSON file"),
    ],
)
def test_agent__damaged_ones_are_refused(tmp_path: Path, damage: object, message: str) -> None:
    save_agent(PolicyNetwork(16, 2), AgentConfig(hidden=16), tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(FragenvError, match=message):
        load_agent(tmp_path)


def test_agent__missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FragenvError, match="cannot read"):
        load_agent(tmp_path / "nothing")


def test_beam__keeps_to_its_budget_and_is_no_worse_than_the_rollout() -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 2)
    torch.manual_seed(1)
    found = {
        name: scheduler.solve(problem, Budget(400), 0)
        for name, scheduler in schedulers_of(PolicyNetwork(16, 2)).items()
    }
    assert found["ppo_beam"].cost <= found["ppo"].cost
    assert found["ppo_samples"].cost <= found["ppo"].cost
    assert all(result.apply_calls <= 400 for result in found.values())
    replayed = problem.initial()
    for action in found["ppo_beam"].actions:
        assert action in problem.legal_actions(replayed)
        replayed = problem.apply(replayed, action)
    assert problem.cost(replayed) == found["ppo_beam"].cost


def test_guided_beam__tries_only_what_the_policy_finds_probable() -> None:
    problem = Problem(zoo.graph("lenet"), "cgra512", 1)
    guide = Guide(PolicyNetwork(16, 2), problem)
    narrow, wide = (Meter(problem, Budget(10_000)) for _ in range(2))
    assert guided_beam(narrow, guide, width=1, branching=1) is not None
    assert guided_beam(wide, guide, width=1, branching=4) is not None
    assert narrow.calls <= len(problem.operators) < wide.calls <= 4 * len(problem.operators)
    assert guided_beam(Meter(problem, Budget(2)), guide, 1) is None


def test_training__fine_tunes_an_agent(tmp_path: Path) -> None:
    torch.manual_seed(2)
    start = PolicyNetwork(24, 1)
    problem = lenet_env().problem
    before = rollout(Meter(problem, Budget(1000)), Guide(start, problem), None)
    assert before is not None
    config = TrainConfig(timesteps=512, num_envs=4)
    network, history = train(lenet_env, config, tmp_path, "LeNet", start=start)
    assert history.costs[0] == problem.cost(before.state)
    assert network.size == start.size
    longer = TrainConfig(timesteps=1024, num_envs=4)
    again, _ = train(lenet_env, longer, tmp_path, "LeNet", resume=True)
    assert again.size == start.size
