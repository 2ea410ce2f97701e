"""The environment against its contract: checkers, returns, padding, illegal actions."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from env_toy import best_schedule, toy_chip, toy_graph
from gymnasium.utils.env_checker import check_env as gymnasium_check
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as sb3_check
from torch import nn

import fragenv  # noqa: F401  registers the environments
from fragenv.env.check import check_masks
from fragenv.env.env import ILLEGAL_PENALTY, FragmentEnv
from fragenv.env.observation import unflatten
from fragenv.env.registry import ENVIRONMENTS, MODEL_ENVIRONMENT, lookup
from fragenv.errors import FragenvError
from fragenv.schedule.problem import MAX_SLOTS

GRAPH = toy_graph()


def toy_env(**kwargs: Any) -> FragmentEnv:
    return FragmentEnv(model=GRAPH, chip=toy_chip(), **kwargs)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_registered__passes_gymnasiums_and_sb3s_checkers(name: str) -> None:
    # warnings are errors in this suite
    gymnasium_check(gymnasium.make(name, render_mode="rgb_array").unwrapped)
    sb3_check(gymnasium.make(name, render_mode="ansi"), skip_render_check=False)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_registered__masks_tell_what_step_accepts(name: str) -> None:
    env = gymnasium.make(name)
    tries = 3 if len(env.unwrapped.problem.operators) < 60 else 1  # type: ignore[attr-defined]
    assert check_masks(env, seed=1, tries=tries) > 1


def test_model_environment__takes_any_graph_and_passes_the_checkers() -> None:
    env = gymnasium.make(MODEL_ENVIRONMENT, model=GRAPH, chip=toy_chip(), batch=2)
    gymnasium_check(env.unwrapped, skip_render_check=True)
    sb3_check(env)
    assert check_masks(env, tries=100) >= 2


def test_model_environment__can_be_made_in_another_process_and_of_a_module() -> None:
    copy = pickle.loads(pickle.dumps(GRAPH))
    env = gymnasium.make(MODEL_ENVIRONMENT, model=copy, chip=toy_chip())
    assert env.unwrapped.problem.operators == GRAPH.operators  # type: ignore[attr-defined]
    assert env.spec is not None and env.spec.kwargs["model"] is copy
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    env = gymnasium.make(MODEL_ENVIRONMENT, model=module, input_shape=(1, 8, 8))
    assert check_masks(env) >= 2


def test_import__registers_without_importing_torch() -> None:
    code = (
        "import sys, fragenv, gymnasium; assert 'AlexNetChip-v0' in gymnasium.registry; "
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_toy__best_return_is_that_of_brute_force() -> None:
    env = toy_env()
    cost, actions = best_schedule(env.problem)
    env.reset(seed=0)
    total = 0.0
    for number, action in enumerate(actions):
        *_, reward, terminated, truncated, info = env.step(env.action_map.from_problem(action))
        total += reward
        assert terminated == (number == len(actions) - 1)
        assert not truncated and not info["illegal"]
    assert total == pytest.approx(-cost, rel=1e-12)
    assert info["cost"] == cost
    assert env.actions == tuple(actions)


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 3), st.booleans())
def test_random_episodes__finish_and_return_minus_the_cost(
    random: Any, batch: int, padded: bool
) -> None:
    padding = {"max_nodes": 9, "max_edges": 12, "max_choices": 40} if padded else {}
    env = toy_env(batch=batch, **padding)
    env.reset(seed=0)
    total, terminated = 0.0, False
    while not terminated:
        action = random.choice(np.flatnonzero(env.action_masks()).tolist())
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation in env.observation_space
        assert not truncated
        total += reward
    problem, state = env.problem, env.problem.initial()
    for action in env.actions:
        state = problem.apply(state, action)
    assert total == pytest.approx(-problem.cost(state), rel=1e-9)
    assert info["latency_cycles"] == state.latency_cycles
    assert info["traffic_bytes"] == state.traffic_bytes
    assert not env.action_masks().any()


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_throughput__is_what_the_rewards_add_up_to(random: Any, batch: int) -> None:
    env = gymnasium.make(
        MODEL_ENVIRONMENT, model=GRAPH, chip=toy_chip(), batch=batch, objective="throughput"
    ).unwrapped
    assert isinstance(env, FragmentEnv)
    problem = env.problem
    env.reset(seed=0)
    rewards, terminated, cycles = [], False, [0]
    while not terminated:
        action = random.choice(np.flatnonzero(env.action_masks()).tolist())
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation in env.observation_space
        assert not truncated
        rewards.append(reward)
        cycles.append(problem.cycles(env.state))
    assert cycles == sorted(cycles) and max(rewards) <= 0
    assert cycles[-1] == info["period_cycles"] <= info["latency_cycles"]
    traffic = info["traffic_bytes"] / problem.bound.traffic_bytes
    cost = info["period_cycles"] / problem.bound.period_cycles + traffic
    assert sum(rewards) == pytest.approx(-cost, rel=1e-12)
    assert info["cost"] == cost
    seconds = problem.chip.milliseconds(info["period_cycles"]) / 1e3
    assert info["frames_per_second"] == pytest.approx(batch / seconds)


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_padding__changes_neither_transition_nor_reward(random: Any) -> None:
    plain, padded = toy_env(), toy_env(max_nodes=7, max_edges=5, max_choices=33)
    assert padded.action_space.n == MAX_SLOTS + 7 * 34
    views = [plain.reset(seed=0)[0], padded.reset(seed=0)[0]]
    terminated = False
    while not terminated:
        own = [e.action_map.to_problem(a) for e in (plain, padded) for a in _legal(e)]
        assert own[: len(own) // 2] == own[len(own) // 2 :]
        choice = random.choice(own)
        steps = [e.step(e.action_map.from_problem(choice)) for e in (plain, padded)]
        views = [s[0] for s in steps]
        assert steps[0][1:] == steps[1][1:]
        terminated = steps[0][2]
        for key in ("slots", "global", "chip"):
            np.testing.assert_array_equal(views[0][key], views[1][key])
        shaped = [unflatten(v, e.layout) for v, e in zip(views, (plain, padded), strict=True)]
        nodes, choices = plain.layout.nodes, plain.layout.choices
        for key in ("node_static", "node_dynamic", "choice_static", "choice_dynamic"):
            inner = shaped[1][key][:nodes]
            if key.startswith("choice"):
                assert not inner[:, choices:].any()
                inner = inner[:, :choices]
            np.testing.assert_array_equal(shaped[0][key], inner)
            assert not shaped[1][key][nodes:].any()
    assert plain.actions == padded.actions


def _legal(env: FragmentEnv) -> list[int]:
    return np.flatnonzero(env.action_masks()).tolist()


def test_illegal_actions__change_nothing_cost_the_penalty_and_end_truncated() -> None:
    env = toy_env(max_nodes=5)
    before, _ = env.reset(seed=0)
    illegal = np.flatnonzero(~env.action_masks()).tolist()
    outside = [env.action_space.n, 10**9, -1]
    for number in range(env.step_limit):
        action = (illegal + outside)[number % (len(illegal) + 3)]
        after, reward, terminated, truncated, info = env.step(int(action))
        assert info["illegal"] and reward == -ILLEGAL_PENALTY and not terminated
        assert truncated == (number == env.step_limit - 1)
        for key, array in after.items():
            np.testing.assert_array_equal(array, before[key])
    for action in outside:
        assert env.step(action)[-1]["illegal"]
    assert env.actions == () and env.state.decisions == 0


@pytest.mark.parametrize("taken", [True, False])
def test_step_limit__is_out_of_reach_of_legal_actions(taken: bool) -> None:
    # evict and spill whenever possible (taken), or run one operator after the other
    env = toy_env()
    env.reset(seed=0)
    terminated, steps = False, 0
    while not terminated:
        legal = _legal(env)
        undo = [a for a in legal if not _is_run(env, a)]
        keeps = [a for a in legal if _is_run(env, a) and _keeps(env, a)]
        action = undo[0] if taken and undo else (keeps or legal)[-1]
        *_, terminated, truncated, _ = env.step(action)
        steps += 1
        assert not truncated
    assert steps < env.step_limit


def _is_run(env: FragmentEnv, action: int) -> bool:
    return type(env.action_map.decode(action)).__name__ == "Run"


def _keeps(env: FragmentEnv, action: int) -> bool:
    decoded: Any = env.action_map.decode(action)
    return env.problem.choices[decoded.node][decoded.choice].keep


def test_vector__runs_masked_episodes_with_autoreset() -> None:
    vector = gymnasium.make_vec("LeNetChip-v0", num_envs=2, vectorization_mode="sync")
    vector.reset(seed=0)
    ends = 0
    for _ in range(40):
        masks = vector.call("action_masks")
        actions = [int(m.argmax()) if m.any() else 0 for m in masks]
        observation, _, terminated, truncated, _ = vector.step(np.array(actions))
        assert observation in vector.observation_space
        ends += int(terminated.sum())
        assert not truncated.any()
    assert ends >= 2


def test_problems__are_shared_between_environments() -> None:
    first, second = gymnasium.make("LeNetChip-v0"), gymnasium.make("LeNetChip-v0")
    assert first.unwrapped.problem is second.unwrapped.problem  # type: ignore[attr-defined]
    other = gymnasium.make("LeNetChip-v0", batch=2)
    assert other.unwrapped.problem is not first.unwrapped.problem  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({}, "give model="),
        ({"model": "nonesuch"}, "not in the zoo"),
        ({"model": GRAPH, "chip": "nonesuch"}, "unknown chip"),
        ({"model": GRAPH, "batch": 0}, "batch must be at least 1"),
        ({"model": GRAPH, "max_depth": 9}, "max_depth"),
        ({"model": GRAPH, "max_nodes": 2}, "max_nodes=2 is too small"),
        ({"model": GRAPH, "max_edges": 1}, "max_edges=1 is too small"),
        ({"model": GRAPH, "max_choices": 1}, "max_choices=1 is too small"),
        ({"model": GRAPH, "render_mode": "human"}, "render_mode 'human'"),
        ({"model": GRAPH, "chip": toy_chip(buffer_bytes=16)}, "choose a chip with more"),
    ],
)
def test_arguments__are_refused_with_the_way_out(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(FragenvError, match=says):
        FragmentEnv(**kwargs)


def test_lookup__arguments_replace_the_defaults_of_an_id() -> None:
    name, kwargs = lookup("LeNetChip-v0", None, None, None)
    assert (name, kwargs["max_depth"], kwargs["batch"]) == ("lenet", 1, 1)
    _, kwargs = lookup("LeNetChip-v0", None, "cgra512", 2, max_depth=3)
    problem = FragmentEnv(**kwargs).problem
    assert (problem.chip.name, problem.batch, problem.max_depth) == ("cgra512", 2, 3)
    assert any(choice.layers for options in problem.choices for choice in options)
