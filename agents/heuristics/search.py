"""Beam search over the transition, with a filter on choices; the heuristics are built on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.scheduler import BudgetSpentError, Meter, Path
from fragenv.schedule.problem import MAX_SLOTS, Choice, Problem
from fragenv.schedule.state import State

Filter = Callable[[Choice], bool]

#: ready operators that are expanded, in topological order
READY_NODES = 2


class Credit:
    """What the operators that are done cost any schedule, so that states of different progress
    compare: their part of the lower bounds."""

    def __init__(self, problem: Problem) -> None:
        bound, chip = problem.bound, problem.chip
        self.per_node = [
            op.macs * problem.batch / chip.multipliers / bound.latency_cycles
            + op.weight_bytes / bound.traffic_bytes
            for op in problem.operators
        ]

    def of(self, choice: Choice) -> float:
        return sum(self.per_node[node] for node in choice.operators)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A partial schedule in the beam: ``score`` is its cost less the credit of what it did."""

    score: float
    credit: float
    path: Path


def run_actions(problem: Problem, state: State, allow: Filter | None) -> list[tuple[int, Choice]]:
    """The RUN actions of the first ready operators that pass the filter."""
    stride = problem.num_choices + 1
    nodes: list[int] = []
    found = []
    for action in problem.legal_actions(state):
        if action < MAX_SLOTS:
            continue
        node, index = divmod(action - MAX_SLOTS, stride)
        if index == problem.num_choices:
            continue
        choice = problem.choices[node][index]
        if allow is not None and not allow(choice):
            continue
        if node not in nodes:
            if len(nodes) == READY_NODES:
                break
            nodes.append(node)
        found.append((action, choice))
    return found


def signature(state: State) -> tuple[object, ...]:
    """Equal for states with the same future decisions."""
    bound = tuple(slot.fragment if slot else -1 for slot in state.slots)
    return state.done, state.location, bound


def beam_search(
    meter: Meter, width: int, allow: Filter | None = None, start: Path | None = None
) -> Path | None:
    """The best complete schedule of a beam of ``width``; None where the budget ends before any or
    the filter leaves none.

    Partial schedules are compared with those that have as many operators done; of those with the
    same signature only the best is kept.
    """
    problem = meter.problem
    credit = Credit(problem)
    total = len(problem.operators)
    first = start if start is not None else Path(problem.initial())
    levels: list[dict[tuple[object, ...], Candidate]] = [{} for _ in range(total + 1)]
    levels[sum(first.state.done)][signature(first.state)] = Candidate(0.0, 0.0, first)
    try:
        for level in range(total):
            beam = sorted(levels[level].values(), key=lambda c: c.score)[:width]
            levels[level] = {}
            for candidate in beam:
                _expand(meter, credit, candidate, allow, levels, level)
    except BudgetSpentError:
        pass
    done = min(levels[total].values(), key=lambda c: c.score, default=None)
    return done.path if done is not None else None


def _expand(
    meter: Meter,
    credit: Credit,
    candidate: Candidate,
    allow: Filter | None,
    levels: list[dict[tuple[object, ...], Candidate]],
    level: int,
) -> None:
    problem = meter.problem
    for action, choice in run_actions(problem, candidate.path.state, allow):
        state = meter.apply(candidate.path.state, action)
        earned = candidate.credit + credit.of(choice)
        score = problem.cost(state) - earned
        bucket = levels[level + len(choice.operators)]
        key = signature(state)
        known = bucket.get(key)
        if known is None or score < known.score:
            bucket[key] = Candidate(score, earned, candidate.path.then(action, state))


def widest_beam(meter: Meter, calls: int, allow: Filter | None = None) -> Path | None:
    """Two beams: a narrow one that gives an answer and measures the calls that a unit of width
    takes, then one that uses up ``calls``."""
    before = meter.calls
    best = beam_search(meter, 1, allow)
    used = max(1, meter.calls - before)
    width = int((calls - used) / used)
    if width > 1:
        wide = beam_search(meter, width, allow)
        best = better(meter.problem, best, wide)
    return best


def better(problem: Problem, first: Path | None, second: Path | None) -> Path | None:
    """The cheaper of two complete schedules, either of which may be missing."""
    if first is None or second is None:
        return first or second
    return min((first, second), key=lambda path: problem.cost(path.state))
