"""Who gives whom room in the tensor buffer, in whatever order the commands of a job end.

The plan counts on times: a task begins when enough of what lies in the buffer is over by then. Where
jobs overlap, times change, and waits have to say it. What lies there at any time are rooms of some
groups of tasks; of the group among them that was decided last, the plan says which of the earlier
ones' rooms were over before it began. If it waits for these, the others fit beside it, by the plan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from fragenv.schedule.program import Command, CommandKind, Program, Role, working_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fragenv.schedule.problem import Problem


class Room(NamedTuple):
    """The room of a group of tasks: when it is taken as planned, commands that are over before, and
    commands that come after; the group's others follow those."""

    start: int
    after: tuple[int, ...]
    before: tuple[int, ...]


class _Taken(NamedTuple):
    """Bytes that are taken until some commands, the last ones of their units, are over."""

    end: int
    size: int
    lasts: tuple[int, ...]


def rooms(problem: Problem, program: Program, starts: Sequence[int]) -> list[Room]:
    """The rooms of a program whose commands start at ``starts`` in the plan, group by group in the
    order of decisions."""
    commands = program.commands
    users = _users_of_kept(program)
    members: dict[int, list[Command]] = defaultdict(list)
    for command in commands:
        if command.task >= 0:
            members[program.tasks[command.task].group].append(command)
    sizes: dict[int, int] = defaultdict(int)
    for task, size in zip(program.tasks, working_bytes(program), strict=True):
        sizes[task.group] += size
    result: list[Room] = []
    taken: list[_Taken] = []
    for group in sorted(members):
        mine = members[group]
        own = [_taken(mine, sizes[group], starts)]
        for number, users_of_output in users.items():
            task = program.tasks[number]
            if task.group == group:
                size = problem.tensor_bytes[task.choice.output]
                own.append(_taken(users_of_output, size, starts))
        left = problem.buffer_bytes - sum(t.size for t in own)
        inside = {c.id for c in mine}
        result.append(
            Room(
                min(starts[c.id] for c in mine),
                _last_of_units((commands[i] for t in _over(taken, left) for i in t.lasts)),
                tuple(c.id for c in mine if inside.isdisjoint(c.waits)),
            )
        )
        taken += own
    return result


def _over(taken: list[_Taken], left: int) -> list[_Taken]:
    """What must be over for the rest to fit ``left``: what ends last may stay."""
    by_end = sorted(taken, key=lambda t: t.end, reverse=True)
    for number, one in enumerate(by_end):
        left -= one.size
        if left < 0:
            return by_end[number:]
    return []


def _taken(users: Iterable[Command], size: int, starts: Sequence[int]) -> _Taken:
    users = list(users)
    end = max(starts[c.id] + c.cycles for c in users)
    return _Taken(end, size, _last_of_units(users))


def _last_of_units(commands: Iterable[Command]) -> tuple[int, ...]:
    """The last command of each unit; a unit keeps the order of a job's commands."""
    last: dict[str, int] = {}
    for command in commands:
        last[command.unit] = max(command.id, last.get(command.unit, -1))
    return tuple(last.values())


def _users_of_kept(program: Program) -> dict[int, list[Command]]:
    """Per task that keeps its output on the chip: the commands that write it, read it there, and
    send it to DRAM."""
    keeper = {t.choice.output: i for i, t in enumerate(program.tasks) if t.keeps_output}
    touched: list[set[int]] = []
    for number, task in enumerate(program.tasks):
        read = {t for i, t in enumerate(task.choice.sources) if task.on_chip >> i & 1}
        keepers = {keeper[t] for t in read}
        touched.append(keepers | {number} if task.keeps_output else keepers)
    users: dict[int, list[Command]] = defaultdict(list)
    for command in program.commands:
        if command.role is Role.SPILL:
            # it waits for the RUN that finished the tensor
            users[program.commands[command.waits[0]].task].append(command)
        elif command.kind is CommandKind.RUN:
            for number in touched[command.task]:
                users[number].append(command)
    return users
