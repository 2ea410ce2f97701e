"""What a schedule occupies when: the placed records of a state, as intervals for pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from fragenv.schedule.state import BindRecord, SpillRecord, TaskRecord

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem
    from fragenv.schedule.state import State

WEIGHTS, INPUTS, OUTPUTS, SPILLS = "weights", "inputs", "outputs", "spills"
TRANSFERS = (WEIGHTS, INPUTS, OUTPUTS, SPILLS)


class Span(NamedTuple):
    """[start, end) in cycles."""

    start: int
    end: int


@dataclass
class Task:
    """RUNs of one task; ``node`` is its first operator, ``fragment`` the bound one that runs it,
    which may stand in for the one chosen."""

    node: int
    operators: tuple[int, ...]
    fragment: int
    runs: list[Span]


@dataclass
class Intervals:
    """Cycles during which each unit is busy; touching spans are merged.

    ``bound`` and ``configured`` hold (fragment, span): when each binding is on the chip, and when
    the configuration port loads it. ``buffer`` holds (cycle, bytes) from that cycle on: working
    sets of the tasks, and with ``kept`` only the tensors that stay on the chip.
    """

    tasks: list[Task] = field(default_factory=list)
    transfers: dict[str, list[Span]] = field(default_factory=dict)
    bound: list[tuple[int, Span]] = field(default_factory=list)
    configured: list[tuple[int, Span]] = field(default_factory=list)
    buffer: list[tuple[int, int]] = field(default_factory=list)
    kept: list[tuple[int, int]] = field(default_factory=list)

    @property
    def fragments(self) -> list[int]:
        """Fragments in the order in which they are bound first."""
        return list(dict.fromkeys(fragment for fragment, _ in self.bound))


def intervals_of(problem: Problem, state: State) -> Intervals:
    """The intervals of everything that is placed in ``state``."""
    result = Intervals(transfers={name: [] for name in TRANSFERS})
    records = state.records()
    fragment_of = {r.instance: r.fragment for r in records if isinstance(r, BindRecord)}
    for record in records:
        if isinstance(record, TaskRecord):
            _add_task(result, record, fragment_of[record.instance])
        elif isinstance(record, SpillRecord):
            result.transfers[SPILLS].append(Span(record.start, record.end))
        elif record.start is not None and record.end is not None:
            result.configured.append((record.fragment, Span(record.start, record.end)))
    result.transfers = {name: merged(spans) for name, spans in result.transfers.items()}
    result.bound = list(_bound_spans(records, state.latency_cycles))
    working = [(span, r.plan.tiling.sram_bytes) for r, span in _task_spans(records)]
    kept = list(_kept_spans(problem, records, state.latency_cycles))
    result.buffer = _levels([*working, *kept])
    result.kept = _levels(kept)
    return result


def merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in the order of time, touching and overlapping ones as one."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.start <= result[-1].end:
            result[-1] = Span(result[-1].start, max(result[-1].end, span.end))
        else:
            result.append(span)
    return result


def _add_task(result: Intervals, record: TaskRecord, fragment: int) -> None:
    runs = []
    for step, (weights, inputs, run, store) in zip(record.plan.steps, record.times, strict=True):
        runs.append(Span(run, run + step.run_cycles))
        for name, start, cycles in (
            (WEIGHTS, weights, step.weight_cycles),
            (INPUTS, inputs, step.input_cycles),
            (OUTPUTS, store, step.store_cycles),
        ):
            if start >= 0:
                result.transfers[name].append(Span(start, start + cycles))
    choice = record.choice
    result.tasks.append(Task(choice.node, choice.operators, fragment, merged(runs)))


def _bound_spans(records: Iterable[object], latency: int) -> Iterator[tuple[int, Span]]:
    binds = [r for r in records if isinstance(r, BindRecord)]
    for bind in binds:
        gone = (b.start for b in binds if bind.instance in b.evicted and b.start is not None)
        yield bind.fragment, Span(bind.end or 0, min(gone, default=latency))


def _task_spans(records: Iterable[object]) -> Iterator[tuple[TaskRecord, Span]]:
    """Each task from its first command to its last."""
    for record in records:
        if isinstance(record, TaskRecord):
            steps = list(zip(record.plan.steps, record.times, strict=True))
            start = min(time for _, times in steps for time in times if time >= 0)
            stores = [times[3] + step.store_cycles for step, times in steps if times[3] >= 0]
            yield record, Span(start, max(_run_end(record), *stores, 0))


def _run_end(record: TaskRecord) -> int:
    """When the last RUN of a task is over: of a pipeline, not always that of its last step."""
    runs = zip(record.plan.steps, record.times, strict=True)
    return max(times[2] + step.run_cycles for step, times in runs)


def _kept_spans(
    problem: Problem, records: Sequence[object], latency: int
) -> Iterator[tuple[Span, int]]:
    """Each kept tensor from its task's first command until its last reader or its STORE is over."""
    begun: dict[int, int] = {}
    last_read: dict[int, int] = {}
    readers = list(problem.readers)
    spilled: dict[int, int] = {}
    for record in records:
        if isinstance(record, SpillRecord):
            spilled[record.tensor] = record.end
    for record, span in _task_spans(records):
        for node in record.choice.operators:
            for tensor in problem.reads[node]:
                readers[tensor] -= 1
        run_end = _run_end(record)
        for bit, tensor in enumerate(record.choice.sources):
            if record.on_chip >> bit & 1:
                last_read[tensor] = max(last_read.get(tensor, 0), run_end)
        if record.choice.keep:
            begun |= dict.fromkeys(record.choice.outputs, span.start)
    for tensor, start in begun.items():
        end = max(last_read.get(tensor, 0), spilled.get(tensor, 0))
        if tensor not in spilled and readers[tensor]:
            end = latency
        yield Span(start, end), problem.tensor_bytes[tensor]


def _levels(spans: Iterable[tuple[Span, int]]) -> list[tuple[int, int]]:
    """(cycle, sum of what is held from then on), starting at cycle 0."""
    changes: dict[int, int] = {0: 0}
    for span, size in spans:
        changes[span.start] = changes.get(span.start, 0) + size
        changes[span.end] = changes.get(span.end, 0) - size
    levels, level = [], 0
    for cycle in sorted(changes):
        level += changes[cycle]
        levels.append((cycle, level))
    return [levels[0], *(b for a, b in pairwise(levels) if a[1] != b[1])]
