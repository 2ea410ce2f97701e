"""PPO on a pool of instances, from an imitating network on; the best policy by held-out instances
is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from agents.generalist.environment import LAYOUT, PoolEnv, PoolInstance
from agents.ppo.decoding import rollout
from agents.ppo.guide import Guide
from agents.ppo.network import PolicyNetwork
from agents.ppo.policy import GraphPolicy
from agents.scheduler import Budget, Meter
from fragenv.training_state import restore_training, training_state


@dataclass(frozen=True, slots=True)
class ImprovementConfig:
    """Hyper-parameters of PPO. The learning rate is low and the clipping narrow: the policy that
    imitates is to be bettered, not learnt again."""

    timesteps: int = 60_000
    num_envs: int = 16
    rollout_steps: int = 64
    batch_size: int = 256
    epochs: int = 3
    learning_rate: float = 3e-4
    clip: float = 0.1
    entropy: float = 0.001
    #: updates after which the held-out instances are scheduled
    evaluate_every: int = 8


@dataclass(frozen=True)
class Improved:
    """The best network, the mean excess of its greedy schedules (see ``excess``), and what to go on
    with: the state of the training."""

    network: PolicyNetwork
    excess: float
    state: dict[str, Tensor]


def excess(network: PolicyNetwork, held_out: Sequence[PoolInstance]) -> float:
    """How much more the greedy schedules cost than the references: geometric mean, minus 1."""
    ratios = []
    for instance in held_out:
        problem = instance.problem
        path = rollout(Meter(problem, Budget(10**9)), Guide(network, problem), None)
        assert path is not None
        ratios.append(problem.cost(path.state) / instance.reference)
    return float(np.exp(np.mean(np.log(ratios)))) - 1


def improve(
    start: Improved,
    pool: Sequence[PoolInstance],
    held_out: Sequence[PoolInstance],
    config: ImprovementConfig,
    seed: int,
    device: str = "cpu",
    state: Mapping[str, Tensor] | None = None,
    progress: Callable[[int, Improved], None] = lambda steps, best: None,
) -> Improved:
    """Train by PPO on ``pool``.

    Args:
        start: where to begin; the best of it and what comes after is the answer.
        state: of an earlier training, to go on with; random numbers start anew.
        progress: called after every evaluation with the steps done and the best so far, whose
            ``state`` is the present one.

    Raises:
        KeyError, RuntimeError: ``state`` is of another network.
    """
    vector = DummyVecEnv([lambda: PoolEnv(pool)] * config.num_envs)
    model = MaskablePPO(
        GraphPolicy,
        vector,
        learning_rate=config.learning_rate,
        n_steps=config.rollout_steps,
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        gamma=1.0,
        gae_lambda=0.95,
        clip_range=config.clip,
        ent_coef=config.entropy,
        policy_kwargs={
            "layout": LAYOUT,
            **start.network.size,
        },
        seed=seed,
        device=device,
    )
    policy = model.policy
    assert isinstance(policy, GraphPolicy)
    policy.network.load_state_dict(start.network.state_dict())
    if state is not None:
        model.num_timesteps = restore_training(policy.network, policy.optimizer, dict(state))
        model.set_random_seed(seed + model.num_timesteps)
    keeper = _Keeper(start, held_out, config, progress)
    left = config.timesteps - model.num_timesteps
    if left > 0:
        model.learn(left, callback=keeper, reset_num_timesteps=False)
    vector.close()
    return keeper.best


class _Keeper(BaseCallback):
    """Evaluates now and then and keeps the best network."""

    def __init__(
        self,
        start: Improved,
        held_out: Sequence[PoolInstance],
        config: ImprovementConfig,
        progress: Callable[[int, Improved], None],
    ) -> None:
        super().__init__()
        self.held_out, self.config, self.report = held_out, config, progress
        self.best = start
        self.updates = 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.updates and self.updates % self.config.evaluate_every == 0:
            self._evaluate()
        self.updates += 1

    def _on_training_end(self) -> None:
        self._evaluate()

    def _evaluate(self) -> None:
        policy = self.model.policy
        assert isinstance(policy, GraphPolicy) and isinstance(policy.optimizer, torch.optim.Adam)
        policy.set_training_mode(False)
        now = excess(policy.network, self.held_out)
        state = training_state(policy.network, policy.optimizer, self.num_timesteps)
        best = self.best.network
        if now < self.best.excess:
            best = PolicyNetwork(**policy.network.size)
            best.load_state_dict({k: v.cpu() for k, v in policy.network.state_dict().items()})
        self.best = Improved(best.eval(), min(now, self.best.excess), state)
        self.report(self.num_timesteps, self.best)
