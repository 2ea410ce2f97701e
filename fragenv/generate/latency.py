"""Latency of an architecture on a chip, without an agent: a quick schedule and its bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fragenv.generate import canonical
from fragenv.generate.architecture import Architecture
from fragenv.generate.skeleton import Skeleton, build_graph
from fragenv.hardware.chip import Chip
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.state import State


def quick_schedule(problem: Problem) -> State:
    """A finished state: operators in their order, each with the choice that raises the cost least.

    No search: a second for a small network. The registered schedulers look further.
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


@dataclass(frozen=True)
class LatencyOracle:
    """Cycles of the quick schedule of an architecture's network; equal architectures are scheduled
    once."""

    chip: str | Path | Chip
    skeleton: Skeleton = field(default_factory=Skeleton)
    batch: int = 1
    _known: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, architecture: Architecture) -> int:
        key = canonical.key(architecture)
        if key not in self._known:
            problem = self.problem(architecture)
            self._known[key] = quick_schedule(problem).latency_cycles
        return self._known[key]

    def problem(self, architecture: Architecture) -> Problem:
        """The scheduling problem of an architecture's network, for any scheduler."""
        return Problem(build_graph(architecture, self.skeleton), self.chip, self.batch)
