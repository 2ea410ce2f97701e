"""A trained agent as a scheduler: a greedy rollout, then samples while the budget lasts."""

from __future__ import annotations

import numpy as np
import torch

from agents.ppo.network import PolicyNetwork
from agents.scheduler import Budget, BudgetSpentError, Meter, Partial, Result
from fragenv.env.actions import ActionMap
from fragenv.env.observation import Encoder, Layout
from fragenv.schedule.problem import Problem


class PPOScheduler:
    """Answers on any problem without training. ``samples`` limits the rollouts beside the greedy
    one; None: as many as the budget allows."""

    name = "ppo"

    def __init__(self, network: PolicyNetwork, samples: int | None = None) -> None:
        self.network, self.samples = network, samples

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        rollout = Rollout(self.network, problem)
        generator = torch.Generator().manual_seed(seed)
        best = rollout.run(meter, None)
        if best is None:
            return Result.of(self.name, meter.finish(Partial(problem.initial())), meter)
        count = 0
        while meter.left and (self.samples is None or count < self.samples):
            found = rollout.run(meter, generator)
            if found is None:
                break
            if problem.cost(found.state) < problem.cost(best.state):
                best = found
            count += 1
        return Result.of(self.name, best, meter)


class Rollout:
    """Runs a network on one problem; the static part is encoded once."""

    def __init__(self, network: PolicyNetwork, problem: Problem) -> None:
        self.network, self.problem = network, problem
        self.device = next(network.parameters()).device
        self.layout = Layout.of(problem)
        self.encoder = Encoder(problem, self.layout)
        self.actions = ActionMap(problem, self.layout.nodes, self.layout.choices)
        mask = self.actions.mask(problem.initial())
        first = self._shaped(self.encoder.encode(problem.initial(), mask))
        edges = first["edge_index"][0].long()[:, first["edge_mask"][0] > 0]
        with torch.no_grad():
            nodes, choices = network.encoder(
                first["node_static"][0], first["choice_static"][0], first["chip"][0], edges
            )
        graph = torch.zeros(1, dtype=torch.long, device=self.device)
        self.embeddings = nodes.unsqueeze(0), choices.unsqueeze(0), graph

    def _shaped(self, observation: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {
            key: torch.as_tensor(observation[key], device=self.device).float().reshape(1, *shape)
            for key, shape in self.layout.shapes.items()
        }

    @torch.no_grad()
    def run(self, meter: Meter, generator: torch.Generator | None) -> Partial | None:
        """One episode, greedy without a generator; None where the budget ends before it does."""
        path = Partial(self.problem.initial())
        while not path.state.finished:
            mask = self.actions.mask(path.state)
            shaped = self._shaped(self.encoder.encode(path.state, mask))
            legal = torch.as_tensor(mask, device=self.device).unsqueeze(0)
            logits, _ = self.network(*self.embeddings, shaped, legal)
            scores = logits.masked_fill(~legal, -torch.inf)[0].cpu()
            if generator is None:
                choice = int(scores.argmax())
            else:
                shares = torch.softmax(scores, dim=0)
                choice = int(torch.multinomial(shares, 1, generator=generator))
            action = self.actions.to_problem(choice)
            try:
                path = path.then(action, meter.apply(path.state, action))
            except BudgetSpentError:
                return None
        return path
