"""Trained agents as schedulers: greedy, best of samples, and guided beam search."""

from __future__ import annotations

import torch

from agents.heuristics.search import Filter, better
from agents.heuristics.sets import among_covers, fitting_sets, try_covers, within
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
    """A greedy rollout, the schedules of covers with a sixth of the calls, and guided beams: among
    what the covers consist of, over everything, and within sets of fragments that fit, the most
    promising first. What is left after the last set widens the beam of the best one."""

    deterministic = True

    def __init__(self, network: PolicyNetwork, name: str = "ppo_beam") -> None:
        self.network, self.name = network, name

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        guide = Guide(self.network, problem)
        best = rollout(meter, guide, None)
        if best is None:
            return Result.of(self.name, meter.finish(Partial(problem.initial())), meter)
        covered = try_covers(meter, meter.left // 6)
        if covered:
            best = better(problem, best, covered[0][1])
            allow = among_covers(problem, covered)
            best = better(problem, best, _widest(meter, guide, meter.left // 2, allow))
        best = better(problem, best, _widest(meter, guide, meter.left // 2))
        best = better(problem, best, _within_sets(meter, guide))
        assert best is not None
        return Result.of(self.name, best, meter)


def _within_sets(meter: Meter, guide: Guide) -> Partial | None:
    """The best of guided beams within sets of fragments, until the budget is spent."""
    problem = meter.problem
    best: Partial | None = None
    tried: list[tuple[float, int, frozenset[int]]] = []
    for number, chosen in enumerate(fitting_sets(problem)):
        if not meter.left:
            break
        found = guided_beam(meter, guide, 1, allow=within(chosen))
        if found is not None:
            best = better(problem, best, found)
            tried.append((problem.cost(found.state), number, chosen))
    if tried and meter.left:
        _, _, chosen = min(tried)
        best = better(problem, best, _widest(meter, guide, meter.left, within(chosen)))
    return best


def _widest(meter: Meter, guide: Guide, calls: int, allow: Filter | None = None) -> Partial | None:
    """A guided beam of width 1, then the widest one that ``calls`` allow."""
    before = meter.calls
    best = guided_beam(meter, guide, 1, allow=allow)
    used = max(1, meter.calls - before)
    width = (calls - used) // used
    if width > 1:
        best = better(meter.problem, best, guided_beam(meter, guide, width, allow=allow))
    return best


def schedulers_of(network: PolicyNetwork, samples: int | None = None) -> dict[str, Scheduler]:
    """Every way in which an agent answers, by name; ``samples`` as in ``PPOScheduler``."""
    return {
        "ppo": PPOScheduler(network, samples=0),
        "ppo_samples": PPOScheduler(network, samples, "ppo_samples"),
        "ppo_beam": PPOBeamScheduler(network),
    }
