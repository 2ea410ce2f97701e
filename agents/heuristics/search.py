"""Beam search over the transition, with a filter on choices; the heuristics are built on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agents.scheduler import BudgetSpentError, Meter, Partial
from fragenv.schedule.choices import Choice
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.state import State, TaskRecord

Filter = Callable[[Choice], bool]

#: ready operators that are expanded, in topological order
READY_NODES = 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A partial schedule in the beam, with two estimates of what it will cost in the end.

    ``steady`` lets what is left start when everything placed is over; ``hopeful`` lets it fill the
    multipliers and the DRAM port that are idle until then, as frames in flight on several fragments
    do.
    """

    steady: float
    hopeful: float
    #: multiply-accumulates and weight bytes of the operators that are done
    macs: int
    weight_bytes: int
    #: multipliers x cycles that the RUNs have taken
    occupied: int
    path: Partial
    #: minus the logarithm of the probability that a policy gives the decisions, where one proposes
    surprise: float = 0.0


class Estimator:
    """Extends candidates by one decision and estimates what the result will cost."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.macs = [op.macs * problem.batch for op in problem.operators]
        self.weight_bytes = [op.weight_bytes for op in problem.operators]
        self.all_macs, self.all_weight_bytes = sum(self.macs), sum(self.weight_bytes)

    def start(self, path: Partial) -> Candidate:
        """The root of a search."""
        return Candidate(0.0, 0.0, 0, 0, 0, path)

    def extend(
        self,
        candidate: Candidate,
        action: int,
        choice: Choice,
        state: State,
        surprise: float = 0.0,
    ) -> Candidate:
        """The candidate after ``choice``, which led to ``state``."""
        problem = self.problem
        record = state.history[0] if state.history is not None else None
        macs = candidate.macs + sum(self.macs[n] for n in choice.operators)
        weights = candidate.weight_bytes + sum(self.weight_bytes[n] for n in choice.operators)
        occupied = candidate.occupied
        if isinstance(record, TaskRecord):
            multipliers = problem.library[choice.fragment].multipliers
            occupied += record.plan.run_cycles * multipliers
        bound, chip = problem.bound, problem.chip
        left = self.all_macs - macs
        traffic = state.traffic_bytes + self.all_weight_bytes - weights
        later = left / chip.multipliers
        cycles = problem.cycles(state)
        hopeful = max(
            cycles,
            (occupied + left) / chip.multipliers,
            traffic / chip.dram_bytes_per_cycle,
        )
        rest = traffic / bound.traffic_bytes
        return Candidate(
            (cycles + later) / problem.bound_cycles + rest,
            hopeful / problem.bound_cycles + rest,
            macs,
            weights,
            occupied,
            candidate.path.then(action, state),
            candidate.surprise + surprise,
        )


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


#: (action, choice, minus the logarithm of its probability) of the decisions to try
Proposal = tuple[int, Choice, float]
#: for each of several partial schedules what to try next
Proposer = Callable[[Sequence[Candidate]], list[list[Proposal]]]
#: ranks candidates of a level, best first
Order = Callable[[Candidate], float]


def by_steady(candidate: Candidate) -> float:
    return candidate.steady


def by_hopeful(candidate: Candidate) -> float:
    return candidate.hopeful


def by_surprise(candidate: Candidate) -> float:
    return candidate.surprise


def beam_search(meter: Meter, width: int, allow: Filter | None = None) -> Partial | None:
    """The best complete schedule of a beam of ``width``; None where the budget ends before any or
    the filter leaves none. One half of the beam are the best by either estimate."""

    def propose(beam: Sequence[Candidate]) -> list[list[Proposal]]:
        states = (candidate.path.state for candidate in beam)
        return [[(a, c, 0.0) for a, c in run_actions(meter.problem, s, allow)] for s in states]

    return level_search(meter, width, propose, (by_steady, by_hopeful))


def level_search(
    meter: Meter, width: int, propose: Proposer, orders: Sequence[Order]
) -> Partial | None:
    """The best complete schedule of a beam of ``width``; None where the budget ends before any or
    nothing is proposed.

    Partial schedules are compared with those that have as many operators done: the beam takes the
    best by each of ``orders`` in turns, and of those with the same signature only the best ones.
    """
    problem = meter.problem
    estimator = Estimator(problem)
    total = len(problem.operators)
    root = estimator.start(Partial(problem.initial()))
    levels: list[dict[tuple[object, ...], Candidate]] = [{} for _ in range(total + 1)]
    levels[0][signature(root.path.state)] = root
    try:
        for level in range(total):
            beam = _narrow(list({id(c): c for c in levels[level].values()}.values()), width, orders)
            levels[level] = {}
            for candidate, proposals in zip(beam, propose(beam) if beam else (), strict=True):
                for action, choice, surprise in proposals:
                    state = meter.apply(candidate.path.state, action)
                    found = estimator.extend(candidate, action, choice, state, surprise)
                    _keep(levels[level + len(choice.operators)], found, orders)
    except BudgetSpentError:
        pass
    done = min(levels[total].values(), key=lambda c: problem.cost(c.path.state), default=None)
    return done.path if done is not None else None


def _narrow(candidates: list[Candidate], width: int, orders: Sequence[Order]) -> list[Candidate]:
    """The best by each order in turns."""
    ranked = [iter(sorted(candidates, key=lambda c: (order(c), c.steady))) for order in orders]
    chosen: dict[int, Candidate] = {}
    while len(chosen) < min(width, len(candidates)):
        for order in ranked:
            candidate = next((c for c in order if id(c) not in chosen), None)
            if candidate is not None and len(chosen) < width:
                chosen[id(candidate)] = candidate
    return list(chosen.values())


def _keep(
    bucket: dict[tuple[object, ...], Candidate], found: Candidate, orders: Sequence[Order]
) -> None:
    """Put a candidate into its level where it is the best of its signature by some order."""
    key = signature(found.path.state)
    for number, order in enumerate(orders):
        known = bucket.get((number, *key))
        if known is None or order(found) < order(known):
            bucket[(number, *key)] = found


def widest_beam(meter: Meter, calls: int, allow: Filter | None = None) -> Partial | None:
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


def better(problem: Problem, first: Partial | None, second: Partial | None) -> Partial | None:
    """The cheaper of two complete schedules, either of which may be missing."""
    if first is None or second is None:
        return first or second
    return min((first, second), key=lambda path: problem.cost(path.state))
