"""Beam search over the transition, with a filter on choices; the heuristics are built on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agents.scheduler import BudgetSpentError, Meter, Partial, is_run
from fragenv.schedule.problem import MAX_SLOTS, Choice, Problem
from fragenv.schedule.state import DRAM, State, TaskRecord

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
    #: multiply-accumulates of the operators that are left
    macs_left: int
    #: cycles of the operators that are left, each on its fastest fragment
    cycles_left: int
    #: weights to read and required tensors to write for the operators that are left
    bytes_left: int
    #: multipliers x cycles that the RUNs have taken
    occupied: int
    path: Partial


class Estimator:
    """Extends candidates by one decision and estimates what the result will cost: what it has cost
    so far and a lower bound of what the operators that are left still cost."""

    def __init__(self, meter: Meter) -> None:
        self.problem = problem = meter.problem
        self.objective = meter.objective
        outputs = [problem.tensor_of[op.output] for op in problem.operators]
        self.macs = [op.macs * problem.batch for op in problem.operators]
        self.bytes = [
            op.weight_bytes + (problem.tensor_bytes[t] if t in problem.required else 0)
            for op, t in zip(problem.operators, outputs, strict=True)
        ]
        self.cycles = [
            min((array_cycles(problem, c) for c in options), default=0) * problem.batch
            for options in problem.choices
        ]

    def start(self, path: Partial) -> Candidate:
        """The root of a search."""
        return Candidate(0.0, 0.0, sum(self.macs), sum(self.cycles), sum(self.bytes), 0, path)

    def extend(self, before: Candidate, path: Partial, choice: Choice) -> Candidate:
        """The candidate after ``choice``, which led to ``path``."""
        problem, state = self.problem, path.state
        record = state.history[0] if state.history is not None else None
        macs_left = before.macs_left - sum(self.macs[n] for n in choice.operators)
        cycles_left = before.cycles_left - sum(self.cycles[n] for n in choice.operators)
        bytes_left = before.bytes_left - sum(self.bytes[n] for n in choice.operators)
        occupied = before.occupied
        if isinstance(record, TaskRecord):
            occupied += record.plan.run_cycles * problem.library[choice.fragment].multipliers
        # what was sent to DRAM comes back for every reader
        again = sum(
            size * unread
            for where, unread, size in zip(
                state.location, state.unread, problem.tensor_bytes, strict=True
            )
            if unread and where == DRAM
        )
        rate, multipliers = problem.chip.dram_bytes_per_cycle, problem.chip.multipliers
        traffic = state.traffic_bytes + bytes_left + again
        steady = state.latency_cycles + max(cycles_left, (bytes_left + again) / rate)
        hopeful = max(
            state.latency_cycles, (occupied + macs_left) / multipliers, traffic / rate
        )
        return Candidate(
            self.objective(problem, state, steady, traffic),
            self.objective(problem, state, hopeful, traffic),
            macs_left,
            cycles_left,
            bytes_left,
            occupied,
            path,
        )


def array_cycles(problem: Problem, choice: Choice) -> int:
    """Cycles of one frame of a task on its fragment, all weights in one RUN."""
    shape, fragment = choice.shape, problem.library[choice.fragment]
    blocks = (0, shape.blocks_per_group(fragment) * shape.output_groups(fragment))
    return shape.run_cycles(fragment, blocks, shape.window.rows_out, shape.out_rows, shape.k)


def run_actions(problem: Problem, state: State, allow: Filter | None) -> list[tuple[int, Choice]]:
    """The RUN actions of the first ready operators that pass the filter."""
    stride = problem.num_choices + 1
    nodes: list[int] = []
    found = []
    for action in problem.legal_actions(state):
        if not is_run(problem, action):
            continue
        node, index = divmod(action - MAX_SLOTS, stride)
        choice = problem.choices[node][index]
        if allow is not None and not allow(choice):
            continue
        if node not in nodes:
            if len(nodes) == READY_NODES:
                break
            nodes.append(node)
        found.append((action, choice))
    return found


def other_victims(problem: Problem, state: State, fragment: int) -> list[int]:
    """Slots to EVICT by hand before a RUN on ``fragment``: each of those whose area is enough,
    where the transition would evict the least recently used one instead."""
    bound = [(i, slot) for i, slot in enumerate(state.slots) if slot is not None]
    able, area = problem.substitutes[fragment], problem.areas[fragment]
    free = problem.chip.area - state.area_held
    if any(slot.fragment in able for _, slot in bound):
        return []
    if area.fits(free) and len(bound) < MAX_SLOTS:
        return []
    oldest = min(bound, key=lambda item: item[1].last_use)[0]
    return [
        i for i, slot in bound if i != oldest and area.fits(free + problem.areas[slot.fragment])
    ]


def signature(state: State) -> tuple[object, ...]:
    """Equal for states with the same future decisions."""
    bound = tuple(sorted(slot.fragment for slot in state.slots if slot))
    return state.done, state.location, bound


Level = dict[tuple[object, ...], Candidate]


def beam_search(meter: Meter, width: int, allow: Filter | None = None) -> Partial | None:
    """The best complete schedule of a beam of ``width``; None where the budget ends before any or
    the filter leaves none.

    Partial schedules are compared with those that have as many operators done, one half of the
    beam by either estimate; of those with the same signature only the best by each is kept. SPILL
    is left to the transition: a tensor that would be spilled early is one that was not to be kept.
    """
    estimator = Estimator(meter)
    total = len(meter.problem.operators)
    root = estimator.start(Partial(meter.problem.initial()))
    levels: list[Level] = [{} for _ in range(total + 1)]
    levels[0][(0,)] = root
    try:
        for level in range(total):
            beam = _narrow(list({id(c): c for c in levels[level].values()}.values()), width)
            levels[level] = {}
            for candidate in beam:
                for found, size in _successors(meter, estimator, candidate, allow, width > 1):
                    _enter(levels[level + size], found)
    except BudgetSpentError:
        pass
    best: Partial | None = None
    for candidate in levels[total].values():
        best = meter.better(best, candidate.path)
    return best


def _narrow(candidates: list[Candidate], width: int) -> list[Candidate]:
    """The best by each estimate: a steady one, a hopeful one, and so on."""
    steady = iter(sorted(candidates, key=lambda c: c.steady))
    hopeful = iter(sorted(candidates, key=lambda c: (c.hopeful, c.steady)))
    chosen: dict[int, Candidate] = {}
    while len(chosen) < min(width, len(candidates)):
        for order in (steady, hopeful):
            candidate = next((c for c in order if id(c) not in chosen), None)
            if candidate is not None and len(chosen) < width:
                chosen[id(candidate)] = candidate
    return list(chosen.values())


def _successors(
    meter: Meter, estimator: Estimator, candidate: Candidate, allow: Filter | None, evict: bool
) -> Iterator[tuple[Candidate, int]]:
    """Candidates one RUN further, with the number of operators that it finished; with ``evict``
    also by an EVICT and a RUN where another victim is possible."""
    problem, path = meter.problem, candidate.path
    evicted: dict[int, Partial] = {}
    for action, choice in run_actions(problem, path.state, allow):
        starts = [path]
        for slot in other_victims(problem, path.state, choice.fragment) if evict else ():
            if slot not in evicted:
                evicted[slot] = path.then(slot, meter.apply(path.state, slot))
            starts.append(evicted[slot])
        for start in starts:
            after = start.then(action, meter.apply(start.state, action))
            yield estimator.extend(candidate, after, choice), len(choice.operators)


def _enter(level: Level, found: Candidate) -> None:
    key = signature(found.path.state)
    steady, hopeful = level.get((0, *key)), level.get((1, *key))
    if steady is None or found.steady < steady.steady:
        level[(0, *key)] = found
    if hopeful is None or found.hopeful < hopeful.hopeful:
        level[(1, *key)] = found


def widest_beam(meter: Meter, calls: int, allow: Filter | None = None) -> Partial | None:
    """Beams, each about four times as wide as the one before, that take ``calls`` together: the
    first ones give an answer and measure what a unit of width takes."""
    end, width, best = meter.calls + calls, 1, None
    while width:
        before = meter.calls
        best = meter.better(best, beam_search(meter, width, allow))
        per_width = max(1, (meter.calls - before) // width)
        affordable = (end - meter.calls) // per_width
        # nothing is left over: the last beam is as wide as the calls allow
        width = affordable if affordable < 12 * width else 4 * width
        if affordable <= 1:
            break
    return best
