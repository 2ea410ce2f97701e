"""The independent checker's part for jobs that overlap: the starts that the file gives repeat.

Nothing is taken from how the period was found: a job that starts as the file says is repeated, and
must not meet the jobs before and after it on a unit, in the buffer or in the region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fragenv.schedule.check_rings import RingCheck

if TYPE_CHECKING:
    from fragenv.schedule.check import _Checker


def check_steady(checker: _Checker) -> int:
    """Check the steady state of a schedule; its period in cycles."""
    data, commands = checker.data, checker.commands
    period: int = data["period_cycles"]
    starts: list[int] = data["steady_starts"]
    ends = [start + c["cycles"] for start, c in zip(starts, commands, strict=True)]
    for number, command in enumerate(commands):
        for wait in command["waits"]:
            if starts[number] < ends[wait]:
                where = f"command {number} of overlapping jobs"
                checker.broken(
                    "starts before its wait", where, starts[number], ends[wait], "cycles"
                )
    _check_units(checker, period, starts)
    moving = [i for i, c in enumerate(commands) if c["kind"] != "bind"]
    longest = period * data["jobs_in_flight"]
    span = max(ends[i] for i in moving) - min(starts[i] for i in moving)
    if span > longest:
        checker.broken("too many jobs at once", "a job", span, longest, "cycles")
    _check_region(checker, period, starts, ends)
    planned = checker.starts, checker.ends, checker.rings
    checker.starts, checker.ends, checker.rings = starts, ends, RingCheck(checker)
    by_task = checker.by_task()
    for task in range(len(checker.tasks)):
        checker.check_task(task, by_task[task])
    checker.check_buffer(by_task, tuple(n * period for n in range(2 * data["jobs_in_flight"] + 1)))
    checker.starts, checker.ends, checker.rings = planned
    return period


def _check_units(checker: _Checker, period: int, starts: list[int]) -> None:
    """No unit does two things at once."""
    units: dict[str, list[tuple[int, int, int]]] = {}
    for number, command in enumerate(checker.commands):
        mine = units.setdefault(command["unit"], [])
        mine.append((starts[number] % period, command["cycles"], number))
    for unit, times in units.items():
        times.sort()
        first = times[0]
        following = [*times[1:], (first[0] + period, *first[1:])]
        for (start, cycles, number), (next_start, *_) in zip(times, following, strict=True):
            if start + cycles > next_start:
                where = f"{unit} at command {number} of overlapping jobs"
                checker.broken("unit does two things", where, start + cycles, next_start, "cycles")
                break


def _check_region(checker: _Checker, period: int, starts: list[int], ends: list[int]) -> None:
    """What is swapped belongs to one job at a time: its commands fit into a period."""
    bindings = checker.bindings
    swapped = {bindings[c["instance"]]["fragment"] for c in checker.commands if c["kind"] == "bind"}
    mine = [
        i
        for i, c in enumerate(checker.commands)
        if c["instance"] in bindings and bindings[c["instance"]]["fragment"] in swapped
    ]
    if mine:
        span = max(ends[i] for i in mine) - min(starts[i] for i in mine)
        if span > period:
            checker.broken("swaps of two jobs at once", "a job", span, period, "cycles")
