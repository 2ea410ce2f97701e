"""What a trained network says of the states of one problem."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agents.ppo.network import PolicyNetwork
from fragenv.env.actions import ActionMap
from fragenv.env.observation import Encoder, Layout
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import State


class Guide:
    """Scores the decisions of states and values the states; the static part is encoded once.

    ``actions`` translates between the columns of the scores and the problem's actions.
    """

    def __init__(self, network: PolicyNetwork, problem: Problem) -> None:
        self.network, self.problem = network, problem
        self.device = next(network.parameters()).device
        self.layout = Layout.of(problem)
        self.encoder = Encoder(problem, self.layout)
        self.actions = ActionMap(problem, self.layout.nodes, self.layout.choices)
        first, _ = self._observed([problem.initial()])
        edges = first["edge_index"][0].long()[:, first["edge_mask"][0] > 0]
        with torch.no_grad():
            self._nodes, self._choices = network.encoder(
                first["node_static"][0], first["choice_static"][0], first["chip"][0], edges
            )

    def _observed(self, states: Sequence[State]) -> tuple[dict[str, Tensor], Tensor]:
        """Features of the states in their layout's shapes, and what is legal: (B, actions)."""
        masks = [self.actions.mask(state) for state in states]
        seen = [self.encoder.encode(s, mask) for s, mask in zip(states, masks, strict=True)]
        features = {
            key: torch.from_numpy(np.stack([row[key] for row in seen]))
            .to(self.device)
            .float()
            .reshape(-1, *shape)
            for key, shape in self.layout.shapes.items()
        }
        return features, torch.from_numpy(np.stack(masks)).to(self.device)

    @torch.no_grad()
    def __call__(self, states: Sequence[State]) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, actions) of the decisions of unfinished states, minus infinity
        where one is illegal, and values (B,): both on the CPU."""
        features, legal = self._observed(states)
        graph = torch.zeros(len(states), dtype=torch.long, device=self.device)
        logits, values = self.network(
            self._nodes.unsqueeze(0), self._choices.unsqueeze(0), graph, features, legal
        )
        scores = logits.masked_fill(~legal, -torch.inf)
        return torch.log_softmax(scores, dim=-1).cpu(), values.squeeze(-1).cpu()
