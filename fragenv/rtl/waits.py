"""Waits as counts per unit, and the waits that shared addresses make necessary.

The schedule's waits are commands; the hardware waits until a unit has completed a number of its
commands, which is the same because units are in order. Two commands of different units that touch
the same bytes of the buffer, one of them writing, must not overlap or swap: where the schedule
does not order them already (buffers that are needed one after the other share addresses), a wait
is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fragenv.rtl.record import Span


@dataclass(frozen=True, slots=True)
class Access:
    """What a command does to the buffer."""

    unit: int
    reads: Sequence[Span]
    writes: Sequence[Span]
    #: ids of commands that the schedule makes it wait for
    waits: Sequence[int]


@dataclass(slots=True)
class _Touch:
    low: int
    high: int
    writes: bool
    unit: int
    count: int


def count_waits(accesses: Sequence[Access], units: int) -> tuple[list[dict[int, int]], int]:
    """Per command, unit -> completed commands to wait for; and how many waits were added."""
    done = [0] * units
    ordinals: list[int] = []
    #: per command: for each unit, what is known to be complete when it starts
    known: list[list[int]] = []
    last_of_unit = [-1] * units
    touches: list[_Touch] = []
    result: list[dict[int, int]] = []
    added = 0
    for number, access in enumerate(accesses):
        waits: dict[int, int] = {}
        for other in access.waits:
            unit = accesses[other].unit
            waits[unit] = max(waits.get(unit, 0), ordinals[other] + 1)
        seen = [0] * units
        before = last_of_unit[access.unit]
        for other in [*access.waits, *([before] if before >= 0 else [])]:
            seen = [max(a, b) for a, b in zip(seen, known[other], strict=True)]
            seen[accesses[other].unit] = max(seen[accesses[other].unit], ordinals[other] + 1)
        keep: list[_Touch] = []
        for touch in touches:
            clash = _clashes(touch, access)
            if clash and touch.unit != access.unit and seen[touch.unit] < touch.count:
                waits[touch.unit] = max(waits.get(touch.unit, 0), touch.count)
                seen[touch.unit] = touch.count
                added += 1
            if not any(low <= touch.low and touch.high <= high for low, high in access.writes):
                keep.append(touch)
        count = done[access.unit] + 1
        keep += [_Touch(low, high, False, access.unit, count) for low, high in access.reads]
        keep += [_Touch(low, high, True, access.unit, count) for low, high in access.writes]
        touches = keep
        waits.pop(access.unit, None)
        ordinals.append(done[access.unit])
        done[access.unit] = count
        last_of_unit[access.unit] = number
        known.append(seen)
        result.append(waits)
    return result, added


def _clashes(touch: _Touch, access: Access) -> bool:
    spans = [*access.writes, *access.reads] if touch.writes else access.writes
    return any(low < touch.high and touch.low < high for low, high in spans)
