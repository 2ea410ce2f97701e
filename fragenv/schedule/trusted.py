"""A schedule's file becomes a program only where the file is sound and agrees with its decisions.

The decisions alone make the program; the commands, tasks and sizes that the file lists beside them
are for other readers. A file that was edited by hand would mean two things at once. It is refused:
by the independent checker where the edit breaks a rule, by comparison where it does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fragenv.errors import Violation
from fragenv.schedule.check import check_file
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Program
from fragenv.schedule.schedule import (
    FORMAT,
    VERSION,
    Schedule,
    ScheduleError,
    schedule_content,
    schedule_path,
)
from fragenv.serialize import read_json


def trusted_program(path: Path, found: Schedule, problem: Problem) -> Program:
    """The program of a schedule.

    Args:
        path: the file, or the folder that has it.
        found: what ``load_schedule`` read from it.
        problem: what the schedule says that it belongs to.

    Raises:
        FileError: the file cannot be read.
        ScheduleError: the file breaks a rule, or differs from what its decisions give; the message
            names the rule and the command.
    """
    path = schedule_path(path)
    violations = _violations(path)
    try:
        state = found.replay(problem)
    except ScheduleError as error:
        raise _refusal(path, violations, str(error)) from None
    content = json.loads(json.dumps(schedule_content(found, problem, state)))
    difference = next(_differences(read_json(path, FORMAT, VERSION), content), "")
    if violations or difference:
        raise _refusal(path, violations, difference)
    return lower(problem, state)


def _refusal(path: Path, violations: tuple[Violation, ...], difference: str) -> ScheduleError:
    """One sentence: the first rule that is broken, and where the file leaves its decisions."""
    reasons = []
    if violations:
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        reasons.append(f"it breaks a rule: {violations[0]}{more}")
    if difference:
        reasons.append(difference)
    return ScheduleError(
        f"'{path}' cannot be trusted: {'; '.join(reasons)}. "
        "Do not edit a schedule by hand: have a solver write it again"
    )


def _violations(path: Path) -> tuple[Violation, ...]:
    try:
        return check_file(path).violations
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        what = f"{type(error).__name__} {error}"
        raise ScheduleError(f"'{path}' is damaged: the checker stops at {what}") from None


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Where a file's fields are not those of its decisions, commands first."""
    yield from _command_differences(found["commands"], wanted["commands"])
    for name, value in wanted.items():
        if name == "commands" or found.get(name) == value:
            continue
        if not isinstance(value, list) or not isinstance(found.get(name), list):
            yield f"field '{name}' is {found.get(name)}, its decisions give {value}"
            continue
        for number, (mine, theirs) in enumerate(zip(found[name], value, strict=False)):
            if mine != theirs:
                yield f"entry {number} of '{name}' differs from what the decisions give"
        yield f"'{name}' has {len(found[name])} entries, the decisions give {len(value)}"


def _command_differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    if found["columns"] != wanted["columns"]:
        yield f"the commands have the columns {found['columns']}, not {wanted['columns']}"
    pairs = zip(found["rows"], wanted["rows"], strict=False)
    for number, (mine, theirs) in enumerate(pairs):
        for column, here, there in zip(wanted["columns"], mine, theirs, strict=True):
            if here != there:
                yield (
                    f"'{column}' of command {number} ({theirs[0]}) is {here}, "
                    f"the decisions give {there}"
                )
    if len(found["rows"]) != len(wanted["rows"]):
        counts = len(found["rows"]), len(wanted["rows"])
        yield f"the file has {counts[0]} commands, the decisions give {counts[1]}"
