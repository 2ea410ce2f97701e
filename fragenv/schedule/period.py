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

* The tensor buffer. Each job under way has its own part of it, as large as the plan's: a job
  begins when the last one that used its part is over. Within a job, a task begins when those are over
  whose room the plan gives it, whatever the order.
* The region. What is swapped belongs to one job at a time: the first BIND, or RUN on a fragment that
  is evicted in every job, comes after the last one of the job before.
* Tensors in DRAM are no event: each job under way has its own.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fragenv.schedule.cycle_ratio import Arcs, Ints, least_period
from fragenv.schedule.program import CONFIG_PORT, CommandKind, Program, fragment_unit
from fragenv.schedule.rooms import rooms
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


def steady_state(problem: Problem, program: Program) -> Steady:
    """The steady state of a program, its latency as the period at worst."""
    timing = simulate(program)
    best = Steady(timing.latency_cycles, timing.starts)
    events = _Events(problem, program, timing.starts)
    enough = int(events.busiest * (1 + CLOSE))
    starts = events.planned
    for _ in range(ROUNDS):
        longest, better = best.period_cycles, None
        for number in range(GUESSES):
            if best.period_cycles <= enough:
                return best
            guess = round(events.busiest * (longest / events.busiest) ** (number / GUESSES))
            found = events.repeat(starts, guess, best.period_cycles - 1)
            if found is not None:
                period, better = found
                best = Steady(period, tuple(better[: len(program.commands)].tolist()))
        if better is None:
            break
        starts = better
    return best


class _Events:
    """The events of a job: its commands, then the one that takes each group's room, then the end of
    the job and the end of its swaps."""

    def __init__(self, problem: Problem, program: Program, starts: tuple[int, ...]) -> None:
        commands = program.commands
        self.units: dict[str, list[int]] = defaultdict(list)
        for command in commands:
            self.units[command.unit].append(command.id)
        taken = rooms(problem, program, starts)
        first = len(commands)
        self.count = first + len(taken) + 2
        job_end, swap_end = self.count - 2, self.count - 1
        self.cycles = np.zeros(self.count, dtype=np.int64)
        self.cycles[:first] = [c.cycles for c in commands]
        self.planned = np.array([*starts, *(room.start for room in taken), 0, 0], dtype=np.int64)
        self.planned[job_end:] = int((self.planned + self.cycles).max())
        #: (event, event that comes when it is over, jobs between them)
        self.links = [(wait, c.id, 0) for c in commands for wait in c.waits]
        for number, room in enumerate(taken, first):
            self.links += [(command, number, 0) for command in room.after]
            self.links += [(number, command, 0) for command in room.before]
        moving = [unit for unit in self.units if unit != CONFIG_PORT]
        self._turns(moving, job_end, problem.objective.jobs_in_flight)
        swapped = _swapped_units(program, self.units)
        self._turns(swapped, swap_end, 1)
        #: periods begin here, so that the swaps of a job lie in one period
        self.origin = min((starts[self.units[unit][0]] for unit in swapped), default=0)
        self.orders = [np.array(unit) for unit in self.units.values()]
        self.leaders = _leaders(program, self.count)
        self.busiest = max(int(self.cycles[order].sum()) for order in self.orders)
        #: events without cycles come before the commands that start at the same time
        self.rank = np.arange(self.count)
        self.rank[first:] -= self.count

    def _turns(self, units: list[str], end: int, jobs: int) -> None:
        """Commands of ``units`` come after all those of the job ``jobs`` before."""
        for unit in units:
            self.links += [(self.units[unit][-1], end, 0), (end, self.units[unit][0], jobs)]

    def repeat(self, starts: Ints, guess: int, limit: int) -> tuple[int, Ints] | None:
        """The least period, at most ``limit``, of the order that comes of wrapping a job that
        starts at ``starts`` around the period ``guess``, and the starts in it; None for none."""
        lead = starts[self.leaders] - self.origin
        # event i of job n belongs to period n + number[i]
        number, phase = np.divmod(lead, guess)
        arcs = np.array(self.links, dtype=np.int64).T
        sources, targets, jobs = arcs
        parts = [(sources, targets, jobs + number[targets] - number[sources])]
        for order in self.orders:
            turn = order[np.lexsort((self.rank[order], starts[order], phase[order]))]
            apart = np.zeros(len(turn), dtype=np.int64)
            apart[-1] = 1
            parts.append((turn, np.roll(turn, -1), apart))
        sources, targets, tokens = (np.concatenate(column) for column in zip(*parts, strict=True))
        place = np.empty(self.count, dtype=np.int64)
        place[np.lexsort((self.rank, starts, phase))] = np.arange(self.count)
        by_place = np.argsort(place[sources], kind="stable")
        found = least_period(
            self.count,
            Arcs(
                sources[by_place],
                targets[by_place],
                self.cycles[sources[by_place]],
                tokens[by_place],
            ),
            self.busiest,
            limit,
        )
        if found is None:
            return None
        period, times = found
        return period, times + number * period


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
