"""From a policy to schedules: rollouts, and beam search that the policy guides."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch

from agents.heuristics.search import (
    Candidate,
    Proposal,
    by_hopeful,
    by_steady,
    by_surprise,
    level_search,
)
from agents.ppo.guide import Guide
from agents.scheduler import BudgetSpentError, Meter, Partial
from fragenv.schedule.problem import MAX_SLOTS

#: decisions that a guided beam tries in each state: so many, the most probable ones, and none that
#: is less probable than the last figure
BRANCHING, LEAST = 3, 0.005


def rollout(meter: Meter, guide: Guide, generator: torch.Generator | None) -> Partial | None:
    """One episode: the most probable decisions, or drawn ones with a generator; None where the
    budget ends before it does."""
    path = Partial(meter.problem.initial())
    while not path.state.finished:
        scores = guide([path.state])[0][0]
        if generator is None:
            choice = int(scores.argmax())
        else:
            choice = int(torch.multinomial(scores.exp(), 1, generator=generator))
        action = guide.actions.to_problem(choice)
        try:
            path = path.then(action, meter.apply(path.state, action))
        except BudgetSpentError:
            return None
    return path


def guided_beam(
    meter: Meter, guide: Guide, width: int, branching: int = BRANCHING
) -> Partial | None:
    """The best complete schedule of a beam of ``width`` that tries the most probable RUNs of each
    state; None where the budget ends before any.

    A third of the beam each are those that the policy finds most probable as a whole, and the best
    by either estimate of ``Candidate``.
    """
    problem = meter.problem
    stride = problem.num_choices + 1
    columns = [guide.actions.from_problem(a) for a in range(MAX_SLOTS, problem.num_actions)]
    runs = torch.tensor(columns)
    # SPILL is the last action of a node; the transition spills and evicts where a RUN needs room
    is_run = torch.arange(len(runs)) % stride != problem.num_choices

    def propose(beam: Sequence[Candidate]) -> list[list[Proposal]]:
        scores, _ = guide([candidate.path.state for candidate in beam])
        scores = scores[:, runs].masked_fill(~is_run, -torch.inf)
        best = scores.topk(min(branching, scores.shape[1]), dim=1)
        found: list[list[Proposal]] = []
        for values, indices in zip(best.values.exp().tolist(), best.indices.tolist(), strict=True):
            row: list[Proposal] = []
            for share, index in zip(values, indices, strict=True):
                if share > 0 and (not row or share >= LEAST):
                    choice = problem.choices[index // stride][index % stride]
                    row.append((MAX_SLOTS + index, choice, -log(share)))
            found.append(row)
        return found

    return level_search(meter, width, propose, (by_surprise, by_steady, by_hopeful))
