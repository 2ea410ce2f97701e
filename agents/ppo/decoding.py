"""From a policy to schedules: rollouts, and beam search that the policy guides."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch

from agents.heuristics.search import (
    Candidate,
    Filter,
    Proposal,
    level_search,
)
from agents.ppo.guide import Guide
from agents.scheduler import BudgetSpentError, Meter, Partial
from fragenv.schedule.problem import MAX_SLOTS

#: decisions that a guided beam tries in each state, the most probable ones
BRANCHING = 3


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
    meter: Meter,
    guide: Guide,
    width: int,
    branching: int = BRANCHING,
    allow: Filter | None = None,
) -> Partial | None:
    """The best complete schedule of a beam of ``width`` that tries the most probable RUNs of each
    state that pass the filter; None where the budget ends before any or the filter leaves none.

    The beam itself is kept by the estimates of ``Candidate``: on validation instances these chose
    better than the probability of a schedule as a whole.
    """
    problem = meter.problem
    stride = problem.num_choices + 1
    # EVICT and SPILL are left to the transition, which does both where a RUN needs room
    runs = {
        guide.actions.from_problem(MAX_SLOTS + node * stride + number): (node, number)
        for node, options in enumerate(problem.choices)
        for number, choice in enumerate(options)
        if allow is None or allow(choice)
    }
    columns, offers = torch.tensor([*runs]), [*runs.values()]

    def propose(beam: Sequence[Candidate]) -> list[list[Proposal]]:
        scores, _ = guide([candidate.path.state for candidate in beam])
        best = scores[:, columns].topk(min(branching, len(offers)), dim=1)
        found: list[list[Proposal]] = []
        for values, indices in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            tried = [offers[i] for v, i in zip(values, indices, strict=True) if v > -inf]
            found.append([(MAX_SLOTS + n * stride + k, problem.choices[n][k]) for n, k in tried])
        return found

    return level_search(meter, width, propose) if runs else None
