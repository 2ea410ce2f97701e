"""The controller of NASNet: an LSTM that decides, trained by PPO.

Zoph, Vasudevan, Shlens, Le: Learning Transferable Architectures for Scalable Image Recognition,
CVPR 2018. LSTM and PPO are those of sb3-contrib; ours is that its policy obeys the environment's
masks, which sb3-contrib has for policies without memory only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from fragenv.generate.cell_env import CellEnv, Goal, Worth, observe
from fragenv.generate.decisions import Chosen, Decisions
from fragenv.generate.training import TrainingConfig

#: the logarithm of the odds of what is forbidden; finite, for padded steps allow nothing
_NEVER = -1e8


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """Sizes and rates of PPO. The defaults are for a thousand cells: NASNet's (entropy 1e-5, its
    learning rate 3.5e-4) are for twenty thousand.

    Args:
        hidden: numbers of each LSTM's state; the value has one of its own.
        episodes: cells per update.
        epochs: passes over them.
        entropy: weight of the entropy in the loss.
        clip_range: how far a probability may move in an update.
    """

    hidden: int = 64
    episodes: int = 20
    epochs: int = 4
    entropy: float = 0.15
    clip_range: float = 0.2


#: a step of the training is a cell
TRAINING = TrainingConfig(steps=1000, learning_rate=5e-3)


class _Features(BaseFeaturesExtractor):
    """The observation as it is; its allowed options are kept for the policy."""

    def __init__(self, observation_space: spaces.Box, options: int) -> None:
        super().__init__(observation_space, observation_space.shape[0])
        self.options = options
        self.allowed = torch.ones(1, options, dtype=torch.bool)

    def forward(self, observations: Tensor) -> Tensor:
        self.allowed = observations[:, : self.options] > 0
        return observations


class MaskedLstmPolicy(RecurrentActorCriticPolicy):  # type: ignore[misc]
    """An LSTM policy that chooses among the allowed options only."""

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        # every way to a distribution leads through the features of the same observations
        allowed = self.features_extractor.allowed
        logits = self.action_net(latent_pi).masked_fill(~allowed, _NEVER)
        found: Distribution = self.action_dist.proba_distribution(action_logits=logits)
        return found


class Controller:
    """An agent for one space of cells.

    Args:
        decisions: the space.
        worth: of a finished cell, what PPO maximises.
        seed: of the weights, of all that is drawn in training, and of the goals.
        training: its steps are cells, rounded up to whole updates.
        config: of PPO.
        goal_size: numbers of a goal; drawn from 0 to 1 in training.
    """

    def __init__(
        self,
        decisions: Decisions,
        worth: Worth,
        seed: int,
        training: TrainingConfig = TRAINING,
        config: ControllerConfig = ControllerConfig(),
        goal_size: int = 0,
    ) -> None:
        self.decisions, self.training, self.config = decisions, training, config
        self.seed = seed
        vector = DummyVecEnv(
            [lambda: CellEnv(decisions, worth, goal_size) for _ in range(config.episodes)]
        )
        vector.seed(seed)
        with _randomness(seed):
            self.agent = RecurrentPPO(
                MaskedLstmPolicy,
                vector,
                learning_rate=training.learning_rate,
                n_steps=decisions.length,
                batch_size=decisions.length * config.episodes,
                n_epochs=config.epochs,
                gamma=1.0,
                gae_lambda=1.0,
                clip_range=config.clip_range,
                ent_coef=config.entropy,
                max_grad_norm=training.clip,
                policy_kwargs={
                    "lstm_hidden_size": config.hidden,
                    "net_arch": [],
                    "features_extractor_class": _Features,
                    "features_extractor_kwargs": {"options": decisions.options},
                },
                device="cpu",
            )

    def train(self) -> None:
        """Make the cells of the training, and learn from them."""
        with _randomness(self.seed + 1):
            self.agent.learn(self.training.steps * self.decisions.length)

    @torch.no_grad()
    def draw(self, goals: Sequence[Goal], seed: int) -> list[Chosen]:
        """A cell for every goal, drawn from the policy."""
        policy = self.agent.policy
        policy.set_training_mode(False)
        chosen: list[Chosen] = [()] * len(goals)
        states = self._initial_states(len(goals))
        with _randomness(seed):
            for _ in range(self.decisions.length if goals else 0):
                seen = [observe(self.decisions, c, g) for c, g in zip(chosen, goals, strict=True)]
                observations = torch.from_numpy(np.stack(seen))
                actions, _, _, states = policy(observations, states, torch.zeros(len(goals)))
                chosen = [(*c, a) for c, a in zip(chosen, actions.tolist(), strict=True)]
        return chosen

    @torch.no_grad()
    def log_prob(self, chosen: Chosen, goal: Goal) -> float:
        """The logarithm of the probability of these decisions, exact."""
        policy = self.agent.policy
        policy.set_training_mode(False)
        seen = [observe(self.decisions, chosen[:count], goal) for count in range(len(chosen))]
        _, log_probs, _ = policy.evaluate_actions(
            torch.from_numpy(np.stack(seen)),
            torch.tensor(chosen),
            self._initial_states(1),
            torch.zeros(len(chosen)),
        )
        return float(log_probs.double().sum())

    def _initial_states(self, count: int) -> RNNStates:
        zeros = torch.zeros(1, count, self.config.hidden)
        return RNNStates((zeros, zeros), (zeros, zeros))


@contextmanager
def _randomness(seed: int) -> Iterator[None]:
    """PyTorch's and NumPy's global random states, from which sb3 draws, for as long as it lasts."""
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)
