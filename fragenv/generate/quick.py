"""A schedule without search, for measuring many networks."""

from __future__ import annotations

from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.state import State


def quick_schedule(problem: Problem) -> State:
    """A finished state: operators in their order, each with the choice that raises the cost least.

    No search: some tens of milliseconds for a small network. The registered schedulers look
    further.
    """
    stride = problem.num_choices + 1
    state = problem.initial()
    while not state.finished:
        runs = [
            action
            for action in problem.legal_actions(state)
            if action >= MAX_SLOTS and (action - MAX_SLOTS) % stride < problem.num_choices
        ]
        first = (runs[0] - MAX_SLOTS) // stride
        options = [problem.apply(state, a) for a in runs if (a - MAX_SLOTS) // stride == first]
        state = min(options, key=problem.cost)
    return state
