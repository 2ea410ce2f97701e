"""Rewards: the registered ones against hand-made sums, plug-ins, and the example of the docs."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from env_toy import toy_chip, toy_graph

from fragenv.env.actions import Run
from fragenv.env.env import FragmentEnv
from fragenv.env.reward import REWARDS, Transition, resolve_reward
from fragenv.errors import FragenvError

GRAPH = toy_graph()
DOCS = Path(__file__).parents[2] / "docs" / "rewards.md"


def play(env: FragmentEnv, seed: int) -> tuple[float, list[Transition]]:
    """The return of a random masked episode and its transitions."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    total, terminated = 0.0, False
    seen: list[Transition] = []
    inner = env._reward

    def record(transition: Transition) -> float:
        seen.append(transition)
        return inner(transition)

    env._reward = record  # type: ignore[assignment]
    while not terminated:
        _, reward, terminated, _, _ = env.step(rng.choice(np.flatnonzero(env.action_masks())))
        total += reward
    env._reward = inner
    return total, seen


@pytest.mark.parametrize("seed", range(4))
def test_registered__sum_to_what_they_promise(seed: int) -> None:
    def total(reward: str) -> tuple[float, FragmentEnv]:
        env = FragmentEnv(GRAPH, toy_chip(), reward, batch=2)
        return play(env, seed)[0], env

    for reward in REWARDS:
        value, env = total(reward)
        state, problem = env.state, env.problem
        moved = state.dram_read_bytes + state.dram_write_bytes + state.config_bytes
        cycles = state.latency_cycles / problem.bound.latency_cycles
        # 100 pJ per byte, 0.5 pJ per multiply-accumulate, two frames
        macs = 2 * (8 * 4 * 9 * 64 + 1280)
        least = 100 * problem.bound.traffic_bytes + 0.5 * macs
        expected = {
            "cost": cycles + moved / problem.bound.traffic_bytes,
            "latency+traffic": cycles + moved / problem.bound.traffic_bytes,
            "latency": cycles,
            "energy": (100 * moved + 0.5 * macs) / least,
        }[reward]
        assert value == pytest.approx(-expected, rel=1e-9)


def test_transition__tells_what_happened() -> None:
    env = FragmentEnv(GRAPH, toy_chip())
    _, seen = play(env, 0)
    assert [t.finished for t in seen] == [False] * (len(seen) - 1) + [True]
    assert sum(t.macs for t in seen) == 8 * 4 * 9 * 64 + 1280
    assert sum(t.latency_increase for t in seen) == env.state.latency_cycles
    assert sum(t.traffic_increase for t in seen) == env.state.traffic_bytes
    assert any(isinstance(t.action, Run) for t in seen) and not any(t.illegal for t in seen)
    with pytest.raises(AttributeError):
        seen[0].problem = env.problem  # type: ignore[misc]


def test_energy__needs_the_chips_figures() -> None:
    with pytest.raises(FragenvError, match="no energy figures"):
        FragmentEnv(GRAPH, toy_chip(mac_pj=0.0), "energy")


def test_callable__is_used_and_illegal_actions_cost_beside_it() -> None:
    env = FragmentEnv(GRAPH, toy_chip(), lambda t: 10.0 if t.illegal else 3.0)
    env.reset(seed=0)
    assert env.step(0)[1] == 9.0  # nothing is bound, so nothing can be evicted
    assert env.step(int(env.action_masks().argmax()))[1] == 3.0


@pytest.mark.parametrize(
    ("reward", "says"),
    [
        ("speed", "unknown reward 'speed'; choose one of cost, latency"),
        ("no_such_module:f", "cannot import 'no_such_module'"),
        ("math:nonesuch", "has no 'nonesuch'"),
        ("math:pi", "'pi' is not a callable"),
        (":f", "unknown reward"),
        (7, "must be a callable"),
    ],
)
def test_resolve__refuses_what_is_no_reward(reward: Any, says: str) -> None:
    with pytest.raises(FragenvError, match=says):
        resolve_reward(reward)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda t: math.nan, "returned nan"),
        (lambda t: -math.inf, "returned -inf"),
        (lambda t: "much", "failed: ValueError"),
        (lambda t: None, "failed: TypeError"),
        (lambda: 1.0, "failed: TypeError"),
        (lambda t: t.nonesuch, "failed: AttributeError"),
    ],
)
def test_environment__refuses_broken_rewards_when_it_is_made(function: Any, says: str) -> None:
    with pytest.raises(FragenvError, match=says):
        FragmentEnv(GRAPH, toy_chip(), function)


def test_environment__refuses_values_that_are_not_finite_later() -> None:
    env = FragmentEnv(GRAPH, toy_chip(), lambda t: 0.0 if t.illegal else math.nan)
    env.reset(seed=0)
    with pytest.raises(FragenvError, match="finite"):
        env.step(int(env.action_masks().argmax()))


def test_docs__worked_example_runs_as_printed(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    (tmp_path / "my_rewards.py").write_text(blocks[0], "utf-8")
    (tmp_path / "example.py").write_text(blocks[1], "utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    direct, by_path = map(float, run.stdout.split())
    assert direct == by_path < 0


def test_docs__every_registered_reward_is_in_the_table() -> None:
    text = DOCS.read_text("utf-8")
    assert all(f"| `{name}`" in text for name in REWARDS)
