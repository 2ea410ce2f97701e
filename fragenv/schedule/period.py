"""The steady state of a program: how soon one job can follow another.

Every job runs the same commands, ``period`` cycles after the job before. Commands are events: each
comes after those that it waits for, and the commands of a unit come in a fixed order that repeats
every period. In that order commands of different jobs take turns: a unit may load for the next job
what it needs before it stores the last of this one. For a given order the least period is the
largest cycle ratio of the events (``cycle_ratio``), so that no job is ever simulated.

The orders that are tried come from the plan: its job is wrapped around a period that is guessed, as
modulo scheduling does (Rau, "Iterative modulo scheduling", MICRO 1994), and the commands take turns
as they come. Guesses go from the busiest unit's cycles to the latency; then they start again from
the steady state that was found. The best is kept, jobs one after the other being the first.

What jobs share beside the units:

* The tensor buffer: groups of tasks wait until others of any job have given enough of it back
  (``rooms``). A guess pauses the job where it would not fit beside its neighbours.
* Jobs: one begins when all but ``jobs_in_flight`` - 1 of those before are over.
* The region: what is swapped belongs to one job at a time. The first BIND, or RUN on a fragment
  that does not stay bound, comes after the last one of the job before.
* Tensors in DRAM are no event: each job under way has its own.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fragenv.schedule.cycle_ratio import Arcs, Ints, least_period
from fragenv.schedule.pauses import Uses, pauses
from fragenv.schedule.program import CONFIG_PORT, CommandKind, Program, fragment_unit
from fragenv.schedule.rooms import Links, Rooms, joined
from fragenv.schedule.simulate import simulate
from fragenv.schedule.steps import TaskPlan

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem

#: periods that are guessed in a round, and rounds at most
GUESSES, ROUNDS = 10, 3
#: a period that exceeds the busiest unit's cycles by this share at most is good enough
CLOSE = 0.002


class Steady(NamedTuple):
    """Jobs that follow each other: command i of job n starts at ``starts[i]`` + n x the period."""

    period_cycles: int
    starts: tuple[int, ...]
    #: the order that it has: events, the commands first, with what they come after in which job
    order: Links
    #: of the events; 0 of those that are no commands
    cycles: Ints


def steady_state(problem: Problem, program: Program) -> Steady:
    """The steady state of a program, its latency as the period at worst."""
    timing = simulate(program)
    events = _Events(problem, program, timing.starts)
    best = events.repeat(events.planned, timing.latency_cycles, timing.latency_cycles)
    assert best is not None, "jobs one after the other wait for each other"
    enough = int(events.busiest * (1 + CLOSE))
    starts = events.planned
    for _ in range(ROUNDS):
        longest, better = best.period_cycles, None
        for number in range(GUESSES):
            if best.period_cycles <= enough:
                break
            guess = round(events.busiest * (longest / events.busiest) ** (number / GUESSES))
            better = events.repeat(starts, guess, best.period_cycles - 1) or better
            best = better or best
        if better is None:
            break
        starts = better.starts
    found = best.starts[: len(program.commands)]
    return Steady(
        best.period_cycles,
        tuple((found - found.min()).tolist()),
        best.order,
        events.cycles,
    )


class _Found(NamedTuple):
    """A period, the starts of all events, and their order."""

    period_cycles: int
    starts: Ints
    order: Links


class _Events:
    """The events of a job: its commands, then the ones that take each group's room, then the end
    of the job and the end of its swaps."""

    def __init__(self, problem: Problem, program: Program, starts: tuple[int, ...]) -> None:
        commands = program.commands
        units: dict[str, list[int]] = defaultdict(list)
        for command in commands:
            units[command.unit].append(command.id)
        self.rooms = Rooms(problem, program)
        self.commands = len(commands)
        self.count = self.commands + self.rooms.count + 2
        ends = self.count - 2, self.count - 1
        self.cycles = np.zeros(self.count, dtype=np.int64)
        self.cycles[: self.commands] = [c.cycles for c in commands]
        self.planned = np.zeros(self.count, dtype=np.int64)
        self.planned[: self.commands] = starts
        self.planned[list(ends)] = int((self.planned + self.cycles).max())
        links = [(wait, c.id, 0) for c in commands for wait in c.waits]
        for room, firsts in enumerate(self.rooms.firsts, self.commands):
            links += [(room, command, 0) for command in firsts]
            self.planned[room] = min(starts[i] for i in firsts)
        swapped = _swapped_units(program, units)
        for moving, end, jobs in (
            ([u for u in units if u != CONFIG_PORT], ends[0], problem.objective.jobs_in_flight),
            (swapped, ends[1], 1),
        ):
            # the first commands of a job come after the last ones of the job ``jobs`` before
            links += [(units[u][-1], end, 0) for u in moving]
            links += [(end, units[u][0], jobs) for u in moving]
        self.links = Links(*np.array(links, dtype=np.int64).T)
        #: periods begin here, so that the swaps of a job lie in one period
        self.origin = min((starts[units[u][0]] for u in swapped), default=0)
        self.leaders = _leaders(program, self.count)
        #: the number of each command's unit; each other event is a unit of its own
        numbers = {unit: i for i, unit in enumerate(units)}
        own = len(units) + np.arange(self.count - self.commands)
        self.units = np.concatenate([[numbers[c.unit] for c in commands], own])
        runs = [c for c in commands if c.kind is CommandKind.RUN and self.leaders[c.id] == c.id]
        circuits = {unit: 1 + i for i, unit in enumerate(dict.fromkeys(c.unit for c in runs))}
        #: RUNs, or the first of those that are held together; whether they are; their resources
        self.runs = np.array([c.id for c in runs])
        self.held = np.isin(self.runs, self.leaders[self.leaders != np.arange(self.count)])
        self.circuits = np.array([circuits[c.unit] for c in runs])
        self.capacities = np.full(1 + len(circuits), problem.objective.jobs_in_flight)
        self.capacities[0] = problem.chip.buffer_bytes
        busy = np.bincount(self.units, weights=self.cycles)
        self.busiest = int(busy.max())
        #: events without cycles come before the commands that start at the same time
        self.rank = np.arange(self.count)
        self.rank[self.commands :] -= self.count

    def repeat(self, starts: Ints, guess: int, limit: int) -> _Found | None:
        """The least period, at most ``limit``, of the order that comes of wrapping a job that
        starts at ``starts`` around the period ``guess``; None for none."""
        starts = starts - self.origin
        if guess < (starts + self.cycles).max() - starts.min():
            paused = pauses(self._uses(starts), self.capacities, guess)
            if paused is None:
                return None
            times, added = paused
            starts = starts + added[np.searchsorted(times, starts, side="right") - 1]
        turns = starts[self.leaders]
        # event i of job n belongs to period n + number[i]
        number, phase = np.divmod(turns, guess)
        place = np.lexsort((self.rank, starts, phase))
        by_unit = place[np.argsort(self.units[place], kind="stable")]
        rooms = self.rooms.waits(
            starts[self.commands : -2],
            turns,
            starts + self.cycles,
            self.units[: self.commands],
            guess,
        )
        order = joined(
            self.links,
            rooms._replace(targets=rooms.targets + self.commands),
            _turns(by_unit, self.units, number),
        )
        # most events come after what they wait for when the arcs are followed one by one
        position = np.empty(self.count, dtype=np.int64)
        position[place] = np.arange(self.count)
        sources, targets, jobs = (x[np.argsort(position[order.sources])] for x in order)
        tokens = jobs + number[targets] - number[sources]
        arcs = Arcs(sources, targets, self.cycles[sources], tokens)
        found = least_period(self.count, arcs, self.busiest, limit)
        if found is None:
            return None
        period, offsets = found
        return _Found(period, offsets + number * period, order)

    def _uses(self, starts: Ints) -> Uses:
        """What a job takes: room in the buffer, resource 0, and its circuits; a task that leaves
        sums in the accumulators takes all of its circuit from its first RUN to its last."""
        ends = starts + self.cycles
        rooms, runs = self.rooms, self.runs
        share = np.where(self.held, self.capacities[-1], 1)
        last = ends.copy()
        np.maximum.at(last, self.leaders[runs], ends[runs])
        return Uses(
            np.concatenate([starts[self.commands : -2][rooms.owners], starts[runs]]),
            np.concatenate([rooms.ends(ends), last[runs]]),
            np.concatenate([np.zeros(len(rooms.owners), dtype=np.int64), self.circuits]),
            np.concatenate([rooms.sizes, share]),
        )


def _turns(order: Ints, units: Ints, number: Ints) -> Links:
    """The events of each unit, one after the other, and again in the next period. ``order``: unit
    by unit, as they come within a period."""
    unit = units[order]
    first = np.flatnonzero(np.diff(unit, prepend=-1))
    last = np.append(first[1:], len(order)) - 1
    following = np.roll(order, -1)
    following[last] = order[first]
    periods = np.zeros(len(order), dtype=np.int64)
    periods[last] = 1
    return Links(order, following, periods - number[following] + number[order])


def _swapped_units(program: Program, units: dict[str, list[int]]) -> list[str]:
    """The configuration port, where it is used, and the circuits that do not stay bound: those that
    a BIND binds, and those of the first configuration that one may have to bind again."""
    again = {c.instance for c in program.commands if c.kind is CommandKind.BIND}
    fragments = {b.fragment for b in program.bindings if b.instance in again}
    moved = {b.instance for b in program.bindings if b.fragment in fragments}
    return [unit for unit in (CONFIG_PORT, *map(fragment_unit, sorted(moved))) if unit in units]


def _leaders(program: Program, events: int) -> Ints:
    """The event that each takes its turn with: itself, or, where a task leaves sums in the
    accumulators between its RUNs, the first of these, because nothing may come between them."""
    leaders = np.arange(events)
    first: dict[int, int] = {}
    for command in program.commands:
        if command.kind is CommandKind.RUN:
            plan = program.tasks[command.task].plan
            if isinstance(plan, TaskPlan) and plan.holds:
                leaders[command.id] = first.setdefault(command.task, command.id)
    return leaders
