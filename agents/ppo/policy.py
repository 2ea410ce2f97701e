"""The policy for sb3-contrib's MaskablePPO."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.distributions import MaskableCategoricalDistribution
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from agents.ppo.network import PolicyNetwork
from fragenv.env.observation import Layout

STATIC = ("node_static", "choice_static", "chip", "edge_index", "edge_mask")


class GraphPolicy(MaskableActorCriticPolicy):  # type: ignore[misc]
    """Logits per node and choice from a graph network.

    The static part of an observation is encoded once per distinct ``static_id``: during the rollout
    from a cache, during the update once per minibatch, with gradient. ``layout`` gives the sizes of
    the observations; ``for_layout`` moves the policy to another problem's.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        layout: Layout,
        hidden: int = 48,
        layers: int = 2,
        **kwargs: Any,
    ) -> None:
        self.layout, self.hidden, self.layers = layout, hidden, layers
        self._cache: dict[int, tuple[Tensor, Tensor]] = {}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        self.network = PolicyNetwork(self.hidden, self.layers)
        # what the base class builds for flat features is not used
        self.features_extractor = self.pi_features_extractor = torch.nn.Identity()
        self.vf_features_extractor = self.features_extractor
        self.optimizer = self.optimizer_class(
            self.network.parameters(),
            lr=lr_schedule(1),
            **self.optimizer_kwargs,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data: dict[str, Any] = super()._get_constructor_parameters()
        data.update(layout=self.layout, hidden=self.hidden, layers=self.layers)
        return data

    def for_layout(self, layout: Layout) -> None:
        """Use the same weights for observations of another layout."""
        self.layout = layout
        self.observation_space = layout.space()
        self.action_space = spaces.Discrete(layout.num_actions)
        self._cache.clear()

    def train(self, mode: bool = True) -> GraphPolicy:
        """The weights are about to change or have changed: forget the embeddings."""
        self._cache.clear()
        super().train(mode)
        return self

    def _encode(self, obs: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (D, N, H) and (D, N, C, H) of the D distinct graphs, and which of them each
        state belongs to (B,)."""
        ids = obs["static_id"].reshape(-1).long()
        distinct, where = torch.unique(ids, return_inverse=True)
        found = []
        for number, key in enumerate(distinct.tolist()):
            cached = None if torch.is_grad_enabled() else self._cache.get(key)
            if cached is None:
                row = int((where == number).nonzero()[0, 0])
                edges = obs["edge_index"][row].long()
                edges = edges[:, obs["edge_mask"][row] > 0]
                cached = self.network.encoder(
                    obs["node_static"][row], obs["choice_static"][row], obs["chip"][row], edges
                )
                if not torch.is_grad_enabled():
                    self._cache[key] = cached
            found.append(cached)
        nodes = torch.stack([n for n, _ in found])
        choices = torch.stack([c for _, c in found])
        return nodes, choices, where

    def _shaped(self, obs: PyTorchObs) -> dict[str, Tensor]:
        assert isinstance(obs, dict)
        return {
            key: obs[key].float().reshape(-1, *shape) for key, shape in self.layout.shapes.items()
        }

    def _scores(self, obs: PyTorchObs, masks: np.ndarray | Tensor | None) -> tuple[Tensor, Tensor]:
        shaped = self._shaped(obs)
        nodes, choices, graph = self._encode(shaped)
        legal = None
        if masks is not None:
            legal = torch.as_tensor(masks, device=graph.device).bool().reshape(len(graph), -1)
        logits, values = self.network(nodes, choices, graph, shaped, legal)
        return logits, values

    def _distribution(
        self, logits: Tensor, masks: np.ndarray | Tensor | None
    ) -> MaskableCategoricalDistribution:
        distribution = MaskableCategoricalDistribution(logits.shape[-1])
        distribution.proba_distribution(logits)
        if masks is not None:
            distribution.apply_masking(masks)
        return distribution

    def forward(
        self,
        obs: PyTorchObs,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        logits, values = self._scores(obs, action_masks)
        distribution = self._distribution(logits, action_masks)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values, distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: PyTorchObs, actions: Tensor, action_masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        logits, values = self._scores(obs, action_masks)
        distribution = self._distribution(logits, action_masks)
        return values, distribution.log_prob(actions), distribution.entropy()

    def get_distribution(
        self, obs: PyTorchObs, action_masks: np.ndarray | None = None
    ) -> MaskableCategoricalDistribution:
        return self._distribution(self._scores(obs, action_masks)[0], action_masks)

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        # a value needs no logits: nothing is scored
        nothing = np.zeros((len(self._shaped(obs)["static_id"]), self.layout.num_actions), np.bool_)
        return self._scores(obs, nothing)[1]
