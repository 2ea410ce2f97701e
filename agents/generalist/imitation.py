"""Behaviour cloning: the network learns to take the decisions of demonstrations, and what is still
to be paid in each of their states."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agents.generalist.demonstrations import Demonstration
from agents.generalist.environment import progress
from agents.ppo.network import PolicyNetwork
from fragenv.env.actions import ActionMap
from fragenv.env.observation import Encoder, Layout
from fragenv.schedule.problem import Problem

#: episodes of one step of the optimiser; weight of the values' error beside that of the decisions
EPISODES, VALUE_WEIGHT = 4, 0.5
STATIC = ("node_static", "choice_static", "chip", "edge_index")


@dataclass(frozen=True)
class Episode:
    """A demonstration as tensors: T states of one problem.

    ``static`` is what the encoder reads, ``dynamic`` the features of the T states, ``legal`` (T, A)
    bool, ``actions`` (T,), ``values`` (T,): the return that is still to come, with the whole
    schedule as the reference (``environment.progress``).
    """

    static: tuple[Tensor, ...]
    dynamic: dict[str, Tensor]
    legal: Tensor
    actions: Tensor
    values: Tensor

    @staticmethod
    def of(demonstration: Demonstration, problem: Problem) -> Episode:
        """Play the demonstration and keep what the network would have seen.

        Raises:
            FragenvError: the demonstration is of another problem.
        """
        states = demonstration.states(problem)
        layout = Layout.of(problem)
        encoder = Encoder(problem, layout)
        actions = ActionMap(problem, layout.nodes, layout.choices)
        masks = [actions.mask(state) for state in states[:-1]]
        seen = [encoder.encode(s, mask) for s, mask in zip(states, masks, strict=False)]
        dynamic = {
            key: torch.from_numpy(np.stack([row[key] for row in seen])).float().reshape(-1, *shape)
            for key, shape in layout.shapes.items()
            if key not in STATIC
        }
        first = seen[0]
        shaped = [torch.as_tensor(first[k]).float().reshape(layout.shapes[k]) for k in STATIC[:3]]
        edges = torch.as_tensor(first["edge_index"]).long().reshape(layout.shapes["edge_index"])
        end = problem.cost(states[-1])
        left = [progress(problem.cost(state) / end) - 1 for state in states[:-1]]
        return Episode(
            (*shaped, edges[:, torch.as_tensor(first["edge_mask"]) > 0]),
            {**dynamic, "chip": shaped[2].expand(len(seen), -1)},
            torch.from_numpy(np.stack(masks)),
            torch.tensor([actions.from_problem(a) for a in demonstration.actions]),
            torch.tensor(left),
        )


def imitation_loss(network: PolicyNetwork, episode: Episode) -> Tensor:
    """Mean cross entropy of the decisions, and the mean squared error of the values."""
    nodes, choices = network.encoder(*episode.static)
    graph = torch.zeros(len(episode.actions), dtype=torch.long)
    logits, values = network(
        nodes.unsqueeze(0), choices.unsqueeze(0), graph, episode.dynamic, episode.legal
    )
    scores = logits.masked_fill(~episode.legal, -torch.inf)
    decisions = functional.cross_entropy(scores, episode.actions)
    return decisions + VALUE_WEIGHT * functional.mse_loss(values.squeeze(-1), episode.values)


class Imitation:
    """The loss of a step of the optimiser, for ``fragenv.generate.training.Trainer``: the mean over
    ``EPISODES`` episodes drawn by the step's number."""

    def __init__(self, network: PolicyNetwork, episodes: Sequence[Episode]) -> None:
        self.network, self.episodes = network, episodes

    def __call__(self, step: int) -> Tensor:
        drawn = random.Random(step).sample(self.episodes, min(EPISODES, len(self.episodes)))
        return torch.stack([imitation_loss(self.network, e) for e in drawn]).mean()
