"""Placing one task's transfers and RUNs on the timelines of the DMA and its fragment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fragenv.schedule.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fragenv.schedule.steps import TaskPlan

Times = tuple[int, int, int, int]


class Placed(NamedTuple):
    """Where a task went. Times in cycles."""

    dma: Timeline
    slot: Timeline
    #: per step, see ``TaskRecord.times``; only the first two of a task that streams on
    times: list[Times]
    #: start of the third weight LOAD of a task that streams without a gap from there; else -1
    stream_start: int
    #: end of the last RUN, and of the last RUN or STORE
    run_end: int
    end: int
    #: per frame: when its output is where it stays
    frames_ready: tuple[int, ...]


def place_task(
    plan: TaskPlan,
    dma: Timeline,
    slot: Timeline,
    slot_ready: int,
    room_at: int,
    source_ready: Sequence[tuple[int, ...]],
) -> Placed:
    """Place a task in the first gap of its fragment in which it ends in time.

    Args:
        dma: the DMA's timeline; not changed.
        slot: the fragment's timeline; not changed.
        slot_ready: no RUN before this cycle.
        room_at: no transfer before this cycle.
        source_ready: per source and residual, per frame: when it is there.
    """
    for start, end in slot.gaps(slot_ready, plan.run_cycles):
        placed = _attempt(plan, dma.copy(), max(start, slot_ready), room_at, source_ready)
        if end is None or placed.run_end <= end:
            timeline = slot.copy()
            timeline.reserve(placed.times[0][2], placed.run_end)
            return placed._replace(slot=timeline)
    raise AssertionError("the last gap has no end")


def _attempt(
    plan: TaskPlan,
    dma: Timeline,
    begin: int,
    room_at: int,
    source_ready: Sequence[tuple[int, ...]],
) -> Placed:
    """Place all steps on ``dma``; the first RUN starts at ``begin`` or later."""
    on_chip = plan.setting.on_chip
    chip_ready = [t for i, t in enumerate(source_ready) if on_chip >> i & 1]
    place = dma.place
    times: list[Times] = []
    run_ends: list[int] = []
    store_ends: list[int] = []
    frames = [0] * plan.setting.batch
    run_end, end, stream_start = begin, 0, -1
    for step in plan.compact:
        first, last, weight_cycles, weight_wait, input_cycles, input_wait, sources = step[:7]
        run_cycles, store_cycles, store_wait, finishes = step[7:]
        weight_start = input_start = store_start = -1
        run_start = run_end
        if weight_cycles:
            ready = run_ends[weight_wait] if weight_wait >= 0 else room_at
            weight_start = place(ready, weight_cycles)
            if plan.streams and len(times) == 2 and weight_start + weight_cycles == dma.last:
                stream_start = weight_start
                break
            run_start = max(run_start, weight_start + weight_cycles)
        if input_cycles:
            ready = run_ends[input_wait] if input_wait >= 0 else room_at
            for source in sources:
                ready = max(ready, *source_ready[source][first:last])
            input_start = place(ready, input_cycles)
            run_start = max(run_start, input_start + input_cycles)
        for there in chip_ready:
            run_start = max(run_start, *there[first:last])
        if store_wait >= 0:
            run_start = max(run_start, store_ends[store_wait])
        run_end = done = run_start + run_cycles
        if store_cycles:
            store_start = place(run_end, store_cycles)
            done = store_start + store_cycles
        run_ends.append(run_end)
        store_ends.append(done)
        times.append((weight_start, input_start, run_start, store_start))
        end = max(end, done)
        if finishes:
            for f in range(first, last):
                frames[f] = max(frames[f], done)
    if stream_start >= 0:
        # the third LOAD is placed; the others follow each other; each RUN starts when its weights are there
        run_end = stream_start + plan.stream_cycles
        rest = plan.stream_cycles - plan.steps[2].weight_cycles - plan.steps[-1].run_cycles
        place(dma.last, rest)
        end = run_end
        if plan.steps[-1].store_cycles:
            end = place(run_end, plan.steps[-1].store_cycles) + plan.steps[-1].store_cycles
        frames = [end] * plan.setting.batch
    return Placed(dma, dma, times, stream_start, run_end, end, tuple(frames))
