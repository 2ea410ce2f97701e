"""The simulator: times a program from its durations, unit orders and waits alone."""

from __future__ import annotations

from dataclasses import dataclass

from fragenv.schedule.program import Program


@dataclass(frozen=True, slots=True)
class Timing:
    """Start and end cycle of every command, by id."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def latency_cycles(self) -> int:
        """Cycles from the first command to the last one's end."""
        return max(self.ends, default=0)


def simulate(program: Program) -> Timing:
    """Run every command as soon as its unit is free and its waits are over (max-plus recurrence).

    Raises:
        ValueError: a command waits for a later one.
    """
    free: dict[str, int] = {}
    starts: list[int] = []
    ends: list[int] = []
    for command in program.commands:
        start = free.get(command.unit, 0)
        for wait in command.waits:
            if wait >= len(ends):
                raise ValueError(f"command {command.id} waits for the later command {wait}")
            start = max(start, ends[wait])
        free[command.unit] = start + command.cycles
        starts.append(start)
        ends.append(start + command.cycles)
    return Timing(tuple(starts), tuple(ends))
