"""Runs what is missing of a benchmark, in this process or in several, and keeps every row."""

from __future__ import annotations

import multiprocessing
import queue
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from agents.benchmark import leaderboard
from agents.benchmark.contestants import NO_SCHEDULE, Contestant, Field
from agents.benchmark.leaderboard import Candidate
from agents.benchmark.row_store import Row, RowStore, source_digest
from agents.benchmark.solve import bound_key, bound_row, case_row, infeasible_row, prepared
from agents.benchmark.submission import candidate_of
from agents.benchmark.suite import Case, Instance, Suite
from fragenv.errors import InfeasibleError, ProcessLostError

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event

KIND, VERSION = "fragenv-benchmark-rows", 1
#: folder of the rows, a file per instance
ROWS = "rows"
#: seconds after which the parent looks whether a process has failed
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Work:
    """What is missing of an instance: done by one process, which builds the problem once."""

    instance: Instance
    cases: tuple[Case, ...]
    #: the row of the bounds is missing
    bounds: bool
    #: the cheapest row there is, and the cost that the leaderboard has; None for none
    best: Row | None
    listed: float | None
    settings: int


@dataclass(frozen=True, slots=True)
class Found:
    """The rows that a suite asks for: of every instance that was tried its bounds, or why it cannot
    be, and its searches."""

    bounds: dict[Instance, Row]
    cases: dict[Case, Row]


class Session:
    """A suite with its contestants and the rows in its folder, a file per instance.

    Args:
        suite: what is to be done.
        field: who takes part.
        output: the folder.
        settings: up to which the bounds look at every plan, see ``bounds_task.MAX_SETTINGS``.
        author: of what is entered into the leaderboard.

    Raises:
        FragenvError: a wrong instance, contestant or author, or a damaged file of rows.
    """

    def __init__(
        self, suite: Suite, field: Field, output: Path, settings: int, author: str
    ) -> None:
        self.suite, self.field, self.output, self.settings = suite, field, output, settings
        self.author = leaderboard.author_of(author)
        self.contestants = field.contestants()
        self.instances = suite.instances()
        folder = output / ROWS
        folder.mkdir(exist_ok=True)
        digest = source_digest(NO_SCHEDULE)
        self._stores = {
            instance: RowStore(folder / f"{instance.stem}.json", KIND, VERSION, digest)
            for instance in self.instances
        }
        #: searches and bounds that are asked for, and those that are there or cannot be
        self.asked = len(self.instances) + sum(len(self.cases(i)) for i in self.instances)
        self.done = self.asked - sum(self._missing(i) for i in self.instances)

    def cases(self, instance: Instance) -> list[Case]:
        """The searches on an instance."""
        who = [(c.label, c.deterministic) for c in self.contestants]
        return list(self.suite.cases(instance, who))

    def _rows(self, instance: Instance) -> dict[str, Row]:
        return self._stores[instance].rows

    def _missing(self, instance: Instance) -> int:
        """Rows of an instance that are still to be made."""
        rows = self._rows(instance)
        bound = rows.get(bound_key(instance, self.settings))
        if bound is not None and "error" in bound:
            return 0
        return (bound is None) + sum(case.key not in rows for case in self.cases(instance))

    def found(self) -> Found:
        """What there is."""
        bounds, cases = {}, {}
        for instance in self.instances:
            rows = self._rows(instance)
            if bound_key(instance, self.settings) in rows:
                bounds[instance] = rows[bound_key(instance, self.settings)]
            cases.update({c: rows[c.key] for c in self.cases(instance) if c.key in rows})
        return Found(bounds, cases)

    def run(self, jobs: int, command: str) -> Iterator[str]:
        """Do what is missing, and say after every row whose it was.

        Raises:
            FragenvError: what a scheduler raises, or a file that cannot be written.
        """
        for message in run_works(self._works(jobs), self.field, self.author, jobs):
            if isinstance(message, Candidate):
                leaderboard.enter(self.output, message)
                continue
            instance = Instance(**{name: message[name] for name in Instance.__slots__})
            missing = self._missing(instance)
            self._stores[instance].add(message, command)
            self.done += missing - self._missing(instance)
            yield f"{instance.key} {message.get('scheduler', 'bounds')}"

    def _works(self, jobs: int) -> list[Work]:
        """What is missing, in pieces for that many processes."""
        listed = leaderboard.read(self.output)
        pieces = -(-jobs // len(self.instances))
        works = []
        for instance in self.instances:
            rows = self._rows(instance)
            bound = rows.get(bound_key(instance, self.settings))
            if bound is not None and "error" in bound:
                continue
            todo = [case for case in self.cases(instance) if case.key not in rows]
            solved = [row for row in rows.values() if "actions" in row]
            best = min(solved, key=lambda row: float(row["cost"]), default=None)
            known = listed[instance.key].cost if instance.key in listed else None
            for piece in range(pieces):
                first = piece == 0
                cases, bounds = tuple(todo[piece::pieces]), bound is None and first
                if cases or bounds or (first and _better(best, known)):
                    works.append(Work(instance, cases, bounds, best, known, self.settings))
        return works


def _better(row: Row | None, listed: float | None) -> bool:
    """Whether a row beats what the leaderboard has."""
    return row is not None and leaderboard.beats(float(row["cost"]), listed)


def perform(
    work: Work, contestants: Sequence[Contestant], author: str
) -> Iterator[Row | Candidate]:
    """Do a piece of work: every row as soon as it is there, then the best schedule, if the
    leaderboard has none that is as good."""
    try:
        problem = prepared(work.instance)
    except InfeasibleError as error:
        yield infeasible_row(work.instance, work.settings, error)
        return
    if work.bounds:
        yield bound_row(work.instance, problem, work.settings)
    by_label = {contestant.label: contestant for contestant in contestants}
    best = work.best
    for case in work.cases:
        row = case_row(case, problem, by_label[case.label])
        if best is None or row["cost"] < best["cost"]:
            best = row
        yield row
    if best is not None and _better(best, work.listed):
        yield candidate_of(work.instance, problem, best, author)


def run_works(
    works: Sequence[Work], field: Field, author: str, jobs: int
) -> Iterator[Row | Candidate]:
    """All rows and candidates, each as soon as it is there.

    Raises:
        FragenvError: what a scheduler or an agent's folder raises.
        ProcessLostError: a process was killed.
    """
    if jobs == 1 or len(works) < 2:
        contestants = field.contestants()
        for work in works:
            yield from perform(work, contestants, author)
        return
    # a fork would share PyTorch's threads
    context = multiprocessing.get_context("spawn")
    messages, stop = context.Queue(), context.Event()
    pool = ProcessPoolExecutor(jobs, context, _start, (messages, stop))
    futures = [pool.submit(_perform_there, work, field, author) for work in works]
    try:
        yield from _received(messages, futures)
    except BrokenProcessPool:
        raise ProcessLostError from None
    finally:
        # where this is interrupted, every process ends with the search that it is at
        stop.set()
        pool.shutdown(cancel_futures=True)


class _There(NamedTuple):
    """What a process of the pool has: where its messages go, and whether it is to end."""

    messages: Queue[Row | Candidate]
    stop: Event


_there: list[_There] = []


def _start(messages: Queue[Row | Candidate], stop: Event) -> None:
    torch.set_num_threads(1)
    # the parent decides what an interruption means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # when nobody reads any more, what is left is given up
    messages.cancel_join_thread()
    _there.append(_There(messages, stop))


@lru_cache(maxsize=1)
def _contestants(field: Field) -> list[Contestant]:
    return field.contestants()


def _perform_there(work: Work, field: Field, author: str) -> int:
    """Do a piece of work in a process of the pool; how many messages were sent."""
    (there,) = _there
    sent = 0
    for message in perform(work, _contestants(field), author):
        there.messages.put(message)
        sent += 1
        if there.stop.is_set():
            break
    return sent


def _received(
    messages: Queue[Row | Candidate], futures: Sequence[Future[int]]
) -> Iterator[Row | Candidate]:
    """Messages of the processes until all have ended and every message is here."""
    received = 0
    while True:
        try:
            message = messages.get(timeout=POLL_S)
        except queue.Empty:
            ended = [future.result() for future in futures if future.done()]
            if len(ended) == len(futures) and received == sum(ended):
                break
            continue
        received += 1
        yield message
