"""The checker's rules for rows that pass through rings between the layers of a fused task.

Shares no code with what makes such tasks: windows are followed again from the operators' nests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fragenv.schedule.check import _Checker

Json = dict[str, Any]
Span = tuple[int, int]


class Write(NamedTuple):
    """When a row was written."""

    start: int
    end: int


class RingCheck:
    """Judges the rings of a schedule. Times come from the checker that it belongs to."""

    def __init__(self, checker: _Checker) -> None:
        self.checker = checker
        self._writes: dict[tuple[int, str], dict[int, Write]] = {}

    def loads(self, group: int, tensor: str) -> list[int]:
        """The LOADs of a tensor for the layers of a group."""
        return [
            number
            for number, command in enumerate(self.checker.commands)
            if command["kind"] == "load"
            and command["tensor"] == tensor
            and self.checker.tasks[command["task"]]["group"] == group
        ]

    def check(self, number: int, tensor: str, runs: list[int]) -> None:
        """Every row that a RUN reads was written before it starts, and nothing else is written to
        its place before the RUN ends."""
        checker = self.checker
        task = checker.tasks[number]
        ring = task["rings"][tensor]
        writes = self._written(task["group"], tensor, ring["frame_rows"])
        for run in runs:
            command = checker.commands[run]
            start, end = checker.starts[run], checker.ends[run]
            for frame in range(*command["frames"]):
                for row in self._rows_read(task, tensor, command["rows"]):
                    place = frame * ring["frame_rows"] + row
                    where = f"row {row} of '{tensor}' by command {run}"
                    made = writes.get(place)
                    if made is None or made.end > start:
                        ready = made.end if made is not None else -1
                        checker.broken("row read before it is there", where, start, ready, "cycles")
                        return
                    after = writes.get(place + ring["rows"])
                    if after is not None and after.start < end:
                        checker.broken("row overwritten", where, after.start, end, "cycles")
                        return

    def _written(self, group: int, tensor: str, frame_rows: int) -> dict[int, Write]:
        """Per row, counted over all frames, when it was written: by LOADs or by the RUNs of the
        layer that makes the tensor."""
        if (group, tensor) in self._writes:
            return self._writes[group, tensor]
        checker = self.checker
        sources = self.loads(group, tensor) or [
            number
            for number, command in enumerate(checker.commands)
            if command["kind"] == "run"
            and checker.tasks[command["task"]]["group"] == group
            and checker.tasks[command["task"]]["output"] == tensor
        ]
        writes: dict[int, Write] = {}
        for number in sources:
            command = checker.commands[number]
            for frame in range(*command["frames"]):
                for row in range(*command["rows"]):
                    when = Write(checker.starts[number], checker.ends[number])
                    if frame * frame_rows + row in writes:
                        where = f"row {row} of '{tensor}'"
                        checker.broken("row written twice", where, 2, 1, "times")
                    writes[frame * frame_rows + row] = when
        self._writes[group, tensor] = writes
        return writes

    def _rows_read(self, task: Json, tensor: str, rows: list[int]) -> set[int]:
        """Rows of a tensor that the output rows [rows[0], rows[1]) of a layer read, without those
        that earlier output rows needed of the stages before a pool."""
        chain = [self.checker.operators[name] for name in task["operators"]]
        found: set[int] = set()
        low, high = rows
        for position in reversed(range(len(chain))):
            op = chain[position]
            before = chain[position - 1]["output"] if position else None
            inputs = list(op["inputs"])
            if before is not None:
                inputs.remove(before)
            slides = position == 0 or op["kind"] in ("maxpool", "avgpool", "globalavg")
            if tensor in inputs:
                found |= _touched(op["nest"], low, high) if slides else set(range(low, high))
            if slides:
                low, high = _needed(op["nest"], low), _needed(op["nest"], high)
        return found


def _touched(nest: Json, low: int, high: int) -> set[int]:
    """Input rows inside the windows of the output rows [low, high)."""
    first = (y * nest["stride"][0] - nest["padding"][0] for y in range(low, high))
    reach = [k * nest["dilation"][0] for k in range(nest["r"])]
    return {y + k for y in first for k in reach if 0 <= y + k < nest["h"]}


def _needed(nest: Json, rows: int) -> int:
    """Input rows [0, n) that the output rows [0, rows) need."""
    return max(_touched(nest, 0, rows), default=-1) + 1
