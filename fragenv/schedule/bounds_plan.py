"""What a plan takes at least: times that it cannot beat, whatever else the schedule holds.

A plan's commands start no earlier than if every unit could do any number of them at once: then
each starts when what it waits for is over (a longest path). One command at a time is put back by
the preemptive one-machine bound (Carlier, EJOR 11, 1982): with heads and tails from the longest
paths, the commands of a unit take at least as long as a preemptive schedule that always serves the
longest tail (Jackson's rule).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fragenv.schedule.fused_plan import FusedPlan
from fragenv.schedule.placement import (
    CHIP_SOURCES,
    FIRST_FRAME,
    INPUT_CYCLES,
    INPUT_SOURCES,
    INPUT_WAIT,
    LAST_FRAME,
    OUTPUT,
    RUN_CYCLES,
    STORE_CYCLES,
    STORE_WAIT,
    UNIT,
    WEIGHT_CYCLES,
    WEIGHT_WAIT,
)

if TYPE_CHECKING:
    from fragenv.schedule.problem import Plan

Ints = npt.NDArray[np.int64]

#: a time before everything: what does not wait for the source in question
NEVER = -(1 << 50)


class OutputTimes(NamedTuple):
    """From a source to an output, in cycles: from its first frame to the output's first, from its
    last to the output's last, from its first to the output's last. A source's first frame is the
    one that is there first, whatever its number."""

    first: int
    last: int
    whole: int


class SourceTimes(NamedTuple):
    """From a source's first frame to the end of the task, and to each output."""

    end: int
    outputs: tuple[OutputTimes, ...]


class LayerWork(NamedTuple):
    """What a layer takes of the resources that all share."""

    run_cycles: int
    moved_bytes: int
    dma_cycles: int


class TaskLeast(NamedTuple):
    """The least of each figure over some plans; they need not come from the same one."""

    layers: tuple[LayerWork, ...]
    sources: tuple[SourceTimes, ...]


def smallest(found: list[TaskLeast]) -> TaskLeast:
    """The least of each figure."""
    layers = tuple(
        LayerWork(*(min(column) for column in zip(*works, strict=True)))
        for works in zip(*(f.layers for f in found), strict=True)
    )
    sources = []
    for times in zip(*(f.sources for f in found), strict=True):
        outputs = tuple(
            OutputTimes(*(min(column) for column in zip(*one, strict=True)))
            for one in zip(*(t.outputs for t in times), strict=True)
        )
        sources.append(SourceTimes(min(t.end for t in times), outputs))
    return TaskLeast(layers, tuple(sources))


def task_least(plan: Plan, sources: int, outputs: int) -> TaskLeast:
    """What one plan takes at least.

    Args:
        plan: a task written out.
        sources: how many tensors it reads.
        outputs: how many it makes.
    """
    times = tuple(_source_times(plan, sources, outputs, i) for i in range(sources))
    return TaskLeast(layer_work(plan), times)


def layer_work(plan: Plan) -> tuple[LayerWork, ...]:
    """What each layer takes; a plan of one layer has one."""
    fused = isinstance(plan, FusedPlan)
    layer_of = [s.layer for s in plan.fused] if isinstance(plan, FusedPlan) else []
    layers = len(plan.layers) if isinstance(plan, FusedPlan) else 1
    work = [[0, 0, 0] for _ in range(layers)]
    for number, step in enumerate(plan.steps):
        mine = work[layer_of[number] if fused else 0]
        moved = [t for t in (step.weights, *step.inputs, step.store) if t is not None]
        mine[0] += step.run_cycles
        mine[1] += sum(t.bytes for t in moved)
        mine[2] += sum(t.cycles for t in moved)
    return tuple(LayerWork(*w) for w in work)


def _source_times(plan: Plan, sources: int, outputs: int, source: int) -> SourceTimes:
    batch = plan.setting.batch
    args = (plan.table, plan.run_waits, plan.input_waits)
    ready = np.full((sources, batch), NEVER, dtype=np.int64)
    ready[source] = 0
    starts, frames = _relaxed(*args, ready, outputs)
    after_run, after_store = _tails(*args)
    end = _one_at_a_time(plan, starts, after_run, after_store)
    whole = [int(f.max()) for f in frames]
    first = [int(f.min()) for f in frames]
    end = max(end, *whole)
    if outputs == 1:
        whole = [end]
    last = whole
    for frame in range(batch if batch > 1 else 0):
        ready[source] = NEVER
        ready[source, frame] = 0
        _, frames = _relaxed(*args, ready, outputs)
        last = [min(known, int(f.max())) for known, f in zip(last, frames, strict=True)]
    # an output that does not depend on the source has no time of its own
    return SourceTimes(
        end,
        tuple(
            OutputTimes(max(a, NEVER), max(b, NEVER), max(c, NEVER))
            for a, b, c in zip(first, last, whole, strict=True)
        ),
    )


def _one_at_a_time(plan: Plan, starts: Ints, after_run: Ints, after_store: Ints) -> int:
    """The one-machine bound of the DMA and of each circuit, over the commands that wait for the
    source."""
    dma: list[tuple[int, int, int]] = []
    units: dict[int, list[tuple[int, int, int]]] = {}
    rows = zip(
        plan.table.tolist(), starts.tolist(), after_run.tolist(), after_store.tolist(), strict=True
    )
    for step, (weights, inputs, run, store), run_tail, store_tail in rows:
        cycles = step[RUN_CYCLES]
        units.setdefault(step[UNIT], []).append((run, cycles, run_tail))
        dma.append((weights, step[WEIGHT_CYCLES], run_tail + cycles))
        dma.append((inputs, step[INPUT_CYCLES], run_tail + cycles))
        dma.append((store, step[STORE_CYCLES], store_tail))
    return max(jackson(dma), *(jackson(jobs) for jobs in units.values()))


def jackson(jobs: Iterable[tuple[int, int, int]]) -> int:
    """The end of the preemptive one-machine schedule of (head, duration, tail) jobs that always
    serves the longest tail of those that are there; jobs with heads before time 0 are left out."""
    waiting = sorted(job for job in jobs if job[0] >= 0 and job[1] > 0)
    queue: list[list[int]] = []
    now = end = number = 0
    while queue or number < len(waiting):
        if not queue:
            now = max(now, waiting[number][0])
        while number < len(waiting) and waiting[number][0] <= now:
            _, duration, tail = waiting[number]
            heapq.heappush(queue, [-tail, duration])
            number += 1
        job = queue[0]
        until = now + job[1]
        if number < len(waiting):
            until = min(until, waiting[number][0])
        job[1] -= until - now
        now = until
        if job[1] == 0:
            heapq.heappop(queue)
            end = max(end, now - job[0])
    return end


@njit(cache=True)
def _relaxed(  # type: ignore[no-untyped-def]  # noqa: C901
    table, run_waits, input_waits, source_ready, outputs
):
    """As ``placement._place_steps``, but every unit does any number of commands at once and what
    waits for no source starts at ``NEVER``. Returns (starts (steps, 4), when the frames of each
    output are there (outputs, batch))."""
    steps = table.shape[0]
    sources, batch = source_ready.shape
    starts = np.full((steps, 4), NEVER, dtype=np.int64)
    run_ends = np.full(steps, NEVER, dtype=np.int64)
    store_ends = np.full(steps, NEVER, dtype=np.int64)
    frames = np.full((outputs, batch), NEVER, dtype=np.int64)
    for index in range(steps):
        step = table[index]
        first, last = step[FIRST_FRAME], step[LAST_FRAME]
        run_start = NEVER
        for i in range(run_waits.shape[1]):
            if run_waits[index, i] >= 0:
                run_start = max(run_start, run_ends[run_waits[index, i]])
        if step[WEIGHT_CYCLES] > 0:
            if step[WEIGHT_WAIT] >= 0:
                starts[index, 0] = run_ends[step[WEIGHT_WAIT]]
            run_start = max(run_start, starts[index, 0] + step[WEIGHT_CYCLES])
        if step[INPUT_CYCLES] > 0:
            ready = NEVER
            if step[INPUT_WAIT] >= 0:
                ready = run_ends[step[INPUT_WAIT]]
            for i in range(input_waits.shape[1]):
                if input_waits[index, i] >= 0:
                    ready = max(ready, run_ends[input_waits[index, i]])
            for source in range(sources):
                if step[INPUT_SOURCES] >> source & 1:
                    for frame in range(first, last):
                        ready = max(ready, source_ready[source, frame])
            starts[index, 1] = ready
            run_start = max(run_start, ready + step[INPUT_CYCLES])
        for source in range(sources):
            if step[CHIP_SOURCES] >> source & 1:
                for frame in range(first, last):
                    run_start = max(run_start, source_ready[source, frame])
        if step[STORE_WAIT] >= 0:
            run_start = max(run_start, store_ends[step[STORE_WAIT]])
        starts[index, 2] = run_start
        done = run_start + step[RUN_CYCLES]
        run_ends[index] = done
        if step[STORE_CYCLES] > 0:
            starts[index, 3] = done
            done += step[STORE_CYCLES]
        store_ends[index] = done
        if step[OUTPUT] >= 0:
            for frame in range(first, last):
                frames[step[OUTPUT], frame] = max(frames[step[OUTPUT], frame], done)
    return starts, frames


@njit(cache=True)
def _tails(table, run_waits, input_waits):  # type: ignore[no-untyped-def]
    """Per step: cycles from the end of its RUN, and from the end of its STORE, to the end of the
    task at least."""
    steps = table.shape[0]
    after_run = np.zeros(steps, dtype=np.int64)
    after_store = np.zeros(steps, dtype=np.int64)
    for index in range(steps - 1, -1, -1):
        step = table[index]
        after_run[index] = max(after_run[index], step[STORE_CYCLES] + after_store[index])
        # from the start of this RUN on
        tail = step[RUN_CYCLES] + after_run[index]
        for i in range(run_waits.shape[1]):
            if run_waits[index, i] >= 0:
                after_run[run_waits[index, i]] = max(after_run[run_waits[index, i]], tail)
        if step[WEIGHT_CYCLES] > 0 and step[WEIGHT_WAIT] >= 0:
            before = step[WEIGHT_WAIT]
            after_run[before] = max(after_run[before], tail + step[WEIGHT_CYCLES])
        if step[INPUT_CYCLES] > 0:
            if step[INPUT_WAIT] >= 0:
                before = step[INPUT_WAIT]
                after_run[before] = max(after_run[before], tail + step[INPUT_CYCLES])
            for i in range(input_waits.shape[1]):
                if input_waits[index, i] >= 0:
                    before = input_waits[index, i]
                    after_run[before] = max(after_run[before], tail + step[INPUT_CYCLES])
        if step[STORE_WAIT] >= 0:
            before = step[STORE_WAIT]
            after_store[before] = max(after_store[before], tail)
    return after_run, after_store
