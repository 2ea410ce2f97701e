"""Placing one task's transfers and RUNs on the timelines of the DMA and its fragment.

The loop over steps is compiled (numba): it is the hot path of every solver and of the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fragenv.schedule.timeline import Timeline, insert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fragenv.schedule.steps import TaskPlan

Ints = npt.NDArray[np.int64]

#: columns of ``TaskPlan.table``
(
    FIRST_FRAME,
    LAST_FRAME,
    WEIGHT_CYCLES,
    WEIGHT_WAIT,
    INPUT_CYCLES,
    INPUT_WAIT,
    INPUT_SOURCES,
    RUN_CYCLES,
    STORE_CYCLES,
    STORE_WAIT,
    FINISHES,
    COLUMNS,
) = range(12)


class Placed(NamedTuple):
    """Where a task went. Times in cycles."""

    dma: Timeline
    slot: Timeline
    #: per step, see ``TaskRecord.times``; (steps, 4)
    times: Ints
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
    """Place a task's commands one by one, each in the earliest gap of its unit.

    A task that leaves sums in the accumulators between its RUNs holds its fragment from the first
    to the last: it takes the first gap of the fragment in which it ends in time.

    Args:
        dma: the DMA's timeline; not changed.
        slot: the fragment's timeline; not changed.
        slot_ready: no RUN before this cycle.
        room_at: no transfer before this cycle.
        source_ready: per source and residual, per frame: when it is there.
    """
    ready = np.array(source_ready, dtype=np.int64)  # (sources, batch)
    holds = plan.holds
    gaps = slot.gaps(slot_ready, plan.run_cycles) if holds else [(0, None)]
    for start, end in gaps:
        transfers = dma.with_room(plan.transfers)
        runs = slot.with_room(len(plan.steps))
        begin = max(start, slot_ready)
        times, counts, frames = _place_steps(
            plan.table, ready, plan.setting.on_chip, *transfers, *runs, begin, room_at, holds
        )
        transfer_count, run_count, run_end, last = counts
        if end is None or run_end <= end:
            timeline = Timeline(runs[0], runs[1], run_count)
            if holds:
                first = int(times[0, 2])
                _, timeline = slot.placed(first, run_end - first)
            placed = Timeline(transfers[0], transfers[1], transfer_count)
            return Placed(placed, timeline, times, run_end, last, tuple(frames.tolist()))
    raise AssertionError("the last gap has no end")


@njit(cache=True)
def _place_steps(  # type: ignore[no-untyped-def]  # noqa: C901
    table,
    source_ready,
    on_chip,
    starts,
    ends,
    count,
    run_starts,
    run_stops,
    run_count,
    begin,
    room_at,
    holds,
):
    """Place all steps on the intervals of the DMA and the fragment (changed in place); the first
    RUN starts at ``begin`` or later. Returns (times (steps, 4), (intervals of the DMA, of the
    fragment, end of the last RUN, end of all), frames)."""
    steps = table.shape[0]
    sources, batch = source_ready.shape
    times = np.full((steps, 4), -1, dtype=np.int64)
    run_ends = np.zeros(steps, dtype=np.int64)
    store_ends = np.zeros(steps, dtype=np.int64)
    frames = np.zeros(batch, dtype=np.int64)
    run_end, end = begin, 0
    for index in range(steps):
        step = table[index]
        first, last = step[FIRST_FRAME], step[LAST_FRAME]
        run_start = run_end
        if step[WEIGHT_CYCLES] > 0:
            ready = run_ends[step[WEIGHT_WAIT]] if step[WEIGHT_WAIT] >= 0 else room_at
            start, count = insert(starts, ends, count, ready, step[WEIGHT_CYCLES])
            times[index, 0] = start
            run_start = max(run_start, start + step[WEIGHT_CYCLES])
        if step[INPUT_CYCLES] > 0:
            ready = run_ends[step[INPUT_WAIT]] if step[INPUT_WAIT] >= 0 else room_at
            for source in range(sources):
                if step[INPUT_SOURCES] >> source & 1:
                    for frame in range(first, last):
                        ready = max(ready, source_ready[source, frame])
            start, count = insert(starts, ends, count, ready, step[INPUT_CYCLES])
            times[index, 1] = start
            run_start = max(run_start, start + step[INPUT_CYCLES])
        for source in range(sources):
            if on_chip >> source & 1:
                for frame in range(first, last):
                    run_start = max(run_start, source_ready[source, frame])
        if step[STORE_WAIT] >= 0:
            run_start = max(run_start, store_ends[step[STORE_WAIT]])
        if not holds:
            run_start, run_count = insert(
                run_starts, run_stops, run_count, run_start, step[RUN_CYCLES]
            )
        times[index, 2] = run_start
        run_end = run_start + step[RUN_CYCLES]
        done = run_end
        if step[STORE_CYCLES] > 0:
            start, count = insert(starts, ends, count, run_end, step[STORE_CYCLES])
            times[index, 3] = start
            done = start + step[STORE_CYCLES]
        run_ends[index], store_ends[index] = run_end, done
        end = max(end, done)
        if step[FINISHES]:
            for frame in range(first, last):
                frames[frame] = max(frames[frame], done)
    return times, (count, run_count, run_end, end), frames
