"""Who waits for whose room in the tensor buffer, where jobs overlap.

A group of tasks takes room for its buffers and for what it keeps on the chip when its first command
starts, and gives it back when the last commands that use it are over. The plan counts on times,
which change where jobs overlap; waits that hold whatever the times are take their place:

Take the groups of all jobs in the order in which they take their room by some plan. A group waits
for those before it that are over first, until those that may still be there and its own room fit
the buffer. What is there at any time are rooms of some groups; the last of these in that order did
not wait for the others, therefore they fit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fragenv.schedule.program import Command, CommandKind, Program, Role, working_bytes

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem

Ints = npt.NDArray[np.int64]


class Links(NamedTuple):
    """Columns: an event, the event that comes when it is over, and the jobs between them."""

    sources: Ints
    targets: Ints
    jobs: Ints


def joined(*links: Links) -> Links:
    """All links together."""
    return Links(*(np.concatenate(column) for column in zip(*links, strict=True)))


class Rooms:
    """The rooms of a program, group by group in the order of decisions."""

    def __init__(self, problem: Problem, program: Program) -> None:
        self.capacity = problem.chip.buffer_bytes
        groups: dict[int, list[Command]] = defaultdict(list)
        for command in program.commands:
            if command.task >= 0:
                groups[program.tasks[command.task].group].append(command)
        number = {group: i for i, group in enumerate(groups)}
        self.count = len(groups)
        #: per group: the commands that the others of the group follow
        self.firsts = [_firsts(members) for members in groups.values()]
        sizes = dict.fromkeys(groups, 0)
        for task, size in zip(program.tasks, working_bytes(program), strict=True):
            sizes[task.group] += size
        taken = [(number[g], sizes[g], _last_of_units(groups[g])) for g in groups]
        for keeper, users in _users_of_kept(program).items():
            task = program.tasks[keeper]
            size = problem.tensor_bytes[task.choice.output]
            taken.append((number[task.group], size, _last_of_units(users)))
        #: per piece of room: its group, its bytes, and the last commands that use it, one per unit
        self.owners = np.array([owner for owner, _, _ in taken], dtype=np.int64)
        self.sizes = np.array([size for _, size, _ in taken], dtype=np.int64)
        self.users = np.full((len(taken), max(len(u) for *_, u in taken)), -1, dtype=np.int64)
        for i, (_, _, users) in enumerate(taken):
            self.users[i, : len(users)] = [c.id for c in users]

    def ends(self, command_ends: Ints) -> Ints:
        """When each piece is given back. Times may be negative: a plan need not begin at 0."""
        never = np.iinfo(np.int64).min
        last: Ints = np.where(self.users >= 0, command_ends[self.users], never).max(axis=1)
        return last

    def waits(self, starts: Ints, turns: Ints, ends: Ints, units: Ints, period: int) -> Links:
        """What the groups wait for, the groups numbered from 0.

        Args:
            starts: when each group takes its room by the plan of a job.
            turns: per command a time by which its unit's commands are in order.
            ends: per command.
            units: number of each command's unit.
            period: of the plan.
        """
        found = _waits(
            self.owners, self.sizes, self.users, starts, turns, self.ends(ends), units,
            period, self.capacity,
        )  # fmt: skip
        return Links(*found)


def _firsts(members: list[Command]) -> tuple[int, ...]:
    inside = {c.id for c in members}
    return tuple(c.id for c in members if inside.isdisjoint(c.waits))


def _last_of_units(commands: Iterable[Command]) -> list[Command]:
    """The last command of each unit; units keep the order of a job's commands."""
    return list({c.unit: c for c in sorted(commands, key=lambda c: c.id)}.values())


def _users_of_kept(program: Program) -> dict[int, list[Command]]:
    """Per task that keeps its output on the chip: the commands that write it, read it there, and
    send it to DRAM."""
    keeper = {t.choice.output: i for i, t in enumerate(program.tasks) if t.keeps_output}
    touched: list[set[int]] = []
    for number, task in enumerate(program.tasks):
        read = {keeper[t] for i, t in enumerate(task.choice.sources) if task.on_chip >> i & 1}
        touched.append(read | {number} if task.keeps_output else read)
    users: dict[int, list[Command]] = defaultdict(list)
    for command in program.commands:
        if command.role is Role.SPILL:
            # it waits for the RUN that finished the tensor
            users[program.commands[command.waits[0]].task].append(command)
        elif command.kind is CommandKind.RUN:
            for number in touched[command.task]:
                users[number].append(command)
    return users


@njit(cache=True)
def _waits(  # type: ignore[no-untyped-def]  # noqa: C901
    owners, sizes, users, starts, turns, ends, units, period, capacity
):
    """See ``Rooms.waits``. Piece i of job m is given back at ends[i] + m x period in the plan; a
    period later it has been given back in any case."""
    pieces, most_units = len(owners), units.max() + 1
    sources, targets, jobs = [0 for _ in range(0)], [0 for _ in range(0)], [0 for _ in range(0)]
    newest = np.empty(pieces, dtype=np.int64)
    chosen = np.empty(most_units, dtype=np.int64)
    chosen_job = np.empty(most_units, dtype=np.int64)
    for room in range(len(starts)):
        start, left = starts[room], capacity
        late_ends, late_sizes = [start for _ in range(0)], [start for _ in range(0)]
        for i in range(pieces):
            owner = owners[i]
            if owner == room:
                left -= sizes[i]
            # the last job whose group of that number comes before this one
            newest[i] = (start - starts[owner] - (0 if owner < room else 1)) // period
            job = newest[i]
            while ends[i] + job * period > start - period:
                late_ends.append(ends[i] + job * period)
                late_sizes.append(sizes[i])
                job -= 1
        over = start - period
        order = np.argsort(np.array(late_ends))
        for k in range(len(order) - 1, -1, -1):
            left -= late_sizes[order[k]]
            if left < 0:
                over = late_ends[order[k]]
                break
        chosen[:] = -1
        for i in range(pieces):
            job = min(newest[i], (over - ends[i]) // period)
            for user in users[i]:
                if user < 0:
                    break
                unit = units[user]
                best = chosen[unit]
                turn = turns[user] + job * period
                if best < 0 or (turn, user) > (turns[best] + chosen_job[unit] * period, best):
                    chosen[unit], chosen_job[unit] = user, job
        for unit in range(most_units):
            if chosen[unit] >= 0:
                sources.append(chosen[unit])
                targets.append(room)
                jobs.append(-chosen_job[unit])
    return np.array(sources), np.array(targets), np.array(jobs)
