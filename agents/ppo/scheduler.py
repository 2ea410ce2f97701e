"""Trained agents as schedulers: greedy, best of samples, and guided beam search."""

from __future__ import annotations

import torch

from agents.heuristics.search import better
from agents.ppo.decoding import guided_beam, rollout
from agents.ppo.guide import Guide
from agents.ppo.network import PolicyNetwork
from agents.scheduler import Budget, Meter, Partial, Result, Scheduler
from fragenv.schedule.problem import Problem


class PPOScheduler:
    """A greedy rollout, then samples. Answers on any problem without training. ``samples`` limits
    the rollouts beside the greedy one; None: as many as the budget allows."""

    def __init__(
        self, network: PolicyNetwork, samples: int | None = None, name: str = "ppo"
    ) -> None:
        self.network, self.samples, self.name = network, samples, name
        self.deterministic = samples == 0

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        guide = Guide(self.network, problem)
        generator = torch.Generator().manual_seed(seed)
        best = rollout(meter, guide, None)
        if best is None:
            return Result.of(self.name, meter.finish(Partial(problem.initial())), meter)
        count = 0
        while meter.left and (self.samples is None or count < self.samples):
            found = rollout(meter, guide, generator)
            if found is None:
                break
            best = better(problem, best, found) or best
            count += 1
        return Result.of(self.name, best, meter)


class PPOBeamScheduler:
    """A greedy rollout, then the widest guided beam that the budget allows."""

    deterministic = True

    def __init__(self, network: PolicyNetwork, name: str = "ppo_beam") -> None:
        self.network, self.name = network, name

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        guide = Guide(self.network, problem)
        best = rollout(meter, guide, None)
        if best is None:
            return Result.of(self.name, meter.finish(Partial(problem.initial())), meter)
        before = meter.calls
        best = better(problem, best, guided_beam(meter, guide, 1)) or best
        width = meter.left // max(1, meter.calls - before)
        if width > 1:
            best = better(problem, best, guided_beam(meter, guide, width)) or best
        return Result.of(self.name, best, meter)


def schedulers_of(network: PolicyNetwork, samples: int | None = None) -> dict[str, Scheduler]:
    """Every way in which an agent answers, by name; ``samples`` as in ``PPOScheduler``."""
    return {
        "ppo": PPOScheduler(network, samples=0),
        "ppo_samples": PPOScheduler(network, samples, "ppo_samples"),
        "ppo_beam": PPOBeamScheduler(network),
    }
