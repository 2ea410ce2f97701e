"""Judges a schedule's file: is it what it says, by two programs that share no code?

The decisions are taken again by the transition function, and everything else that the file says
must follow from them. The checker (``fragenv.schedule.check``) derives cycles and bytes from the
commands alone. Both must agree. Nothing of a file is executed, and what is entered into a
leaderboard is written anew from the decisions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.benchmark import leaderboard
from agents.benchmark.leaderboard import Candidate, Entry
from agents.benchmark.row_store import Row
from agents.benchmark.suite import Instance
from fragenv.errors import FragenvError
from fragenv.hardware.chip import load_chip
from fragenv.schedule.check import check_schedule
from fragenv.schedule.problem import Problem
from fragenv.schedule.schedule import (
    FORMAT,
    VERSION,
    Schedule,
    load_schedule,
    schedule_content,
    schedule_path,
)
from fragenv.schedule.state import State
from fragenv.serialize import read_json

Json = dict[str, Any]
#: files above this size are not read
MOST_BYTES = 256 * 2**20
#: what both programs must agree on
FIGURES = (
    *("latency_cycles", "period_cycles", "dram_read_bytes", "dram_write_bytes"),
    "config_bytes",
)


class SubmissionError(FragenvError):
    """A schedule is not what its file says, or belongs to no instance of the benchmark."""


def judge(path: Path, author: str) -> Candidate:
    """A schedule's file as an entry of a leaderboard.

    Args:
        path: of the file, or of a folder with a ``schedule.json``.
        author: who found it.

    Raises:
        FileError: missing, damaged or of another version.
        FragenvError: no instance of the benchmark, or refused; the message says why.
    """
    path = schedule_path(path)
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise SubmissionError(f"'{path}' is larger than {MOST_BYTES >> 20} MiB")
    schedule = load_schedule(path)
    instance = instance_of(schedule)
    problem = instance.problem()
    state = schedule.replay(problem)
    content = content_of(schedule, problem, state)
    data = read_json(path, FORMAT, VERSION)
    differing = [name for name in sorted({*data, *content}) if data.get(name) != content.get(name)]
    if differing:
        raise SubmissionError(
            f"'{path}' is not what its decisions give: field '{differing[0]}' differs; save the "
            "schedule again with this version"
        )
    return _candidate(instance, problem, state, content, leaderboard.author_of(author))


def instance_of(schedule: Schedule) -> Instance:
    """The instance that a schedule was made for.

    Raises:
        FragenvError: not the benchmark's network, chip, batch or depth.
    """
    instance = Instance(
        schedule.model,
        schedule.chip.name,
        schedule.batch,
        schedule.max_depth,
        schedule.objective,
    )
    instance.check()
    if load_chip(instance.chip) != schedule.chip:
        raise SubmissionError(f"the schedule's chip '{instance.chip}' is not the preset's")
    return instance


def content_of(schedule: Schedule, problem: Problem, state: State) -> Json:
    """What the file of a schedule holds, as it is read back."""
    content = {"format": FORMAT, "version": VERSION, **schedule_content(schedule, problem, state)}
    plain: Json = json.loads(json.dumps(content))
    return plain


def candidate_of(instance: Instance, problem: Problem, row: Row, author: str) -> Candidate:
    """A row of the benchmark as an entry, judged like any other.

    Raises:
        SubmissionError: the checker does not agree with the transition: an error of the program.
    """
    actions = tuple(map(int, row["actions"].split()))
    state = problem.initial()
    for action in actions:
        state = problem.apply(state, action)
    schedule = Schedule.of(problem, state, actions, instance.model, row["scheduler"], row["seed"])
    content = content_of(schedule, problem, state)
    return _candidate(instance, problem, state, content, author)


def _candidate(
    instance: Instance, problem: Problem, state: State, content: Mapping[str, Any], author: str
) -> Candidate:
    """The entry of a content that follows from its decisions.

    Raises:
        SubmissionError: the checker finds it wrong, or other figures.
    """
    report = check_schedule(content)
    if not report.ok:
        raise SubmissionError(f"{instance.key}: the checker refuses it: {report.violations[0]}")
    for name in FIGURES:
        here, there = getattr(state, name), getattr(report, name)
        if here != there:
            raise SubmissionError(
                f"{instance.key}: {name} is {here:,} by the transition, {there:,} by the checker"
            )
    text = json.dumps(content, separators=(",", ":")).encode("utf-8") + b"\n"
    digest = leaderboard.digest_of(text)
    entry = Entry(
        instance.model,
        instance.chip,
        instance.batch,
        instance.max_depth,
        instance.objective,
        problem.cost(state),
        state.latency_cycles,
        state.period_cycles,
        state.traffic_bytes,
        str(content["solver"]),
        author,
        leaderboard.file_name(instance, digest),
        digest,
    )
    return Candidate(entry, text)


def faults(folder: Path) -> list[str]:
    """What is wrong with a leaderboard; every schedule is judged again.

    Raises:
        FragenvError: the list cannot be read at all.
    """
    found = []
    if not (folder / leaderboard.LIST).is_file():
        raise leaderboard.LeaderboardError(f"no {leaderboard.LIST} in '{folder}'")
    for key, entry in leaderboard.read(folder).items():
        try:
            path = leaderboard.schedule_file(folder, entry)
            if not path.is_file():
                found.append(f"{key}: no file '{path}'")
                continue
            if leaderboard.digest_of(path.read_bytes()) != entry.sha256:
                found.append(f"{key}: '{path}' is not the file that was entered (sha256)")
                continue
            again = judge(path, entry.author).entry
        except FragenvError as error:
            found.append(f"{key}: {error}")
            continue
        if again != entry:
            found.append(f"{key}: the list says other figures than the schedule")
    return found
