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

    from fragenv.schedule.fused_plan import FusedPlan
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
    CHIP_SOURCES,
    UNIT,
    RUN_CYCLES,
    STORE_CYCLES,
    STORE_WAIT,
    OUTPUT,
    COLUMNS,
) = range(14)


#: the gap behind all intervals, (start, end)
LAST_GAP: list[tuple[int, int | None]] = [(0, None)]


class Placed(NamedTuple):
    """Where a task went. Times in cycles."""

    dma: Timeline
    #: of each circuit of the fragment
    units: tuple[Timeline, ...]
    #: per step, see ``TaskRecord.times``; (steps, 4)
    times: Ints
    #: end of the last RUN, and of the last RUN or STORE
    run_end: int
    end: int
    #: per output and frame: when it is where it stays
    frames_ready: tuple[tuple[int, ...], ...]


def place_task(
    plan: TaskPlan | FusedPlan,
    outputs: int,
    dma: Timeline,
    units: Sequence[Timeline],
    units_ready: Sequence[int],
    room_at: int,
    source_ready: Ints,
) -> Placed:
    """Place a task's commands one by one, each in the earliest gap of its unit.

    A task that leaves sums in the accumulators between its RUNs holds its fragment from the first
    to the last: it takes the first gap of the fragment in which it ends in time.

    Args:
        plan: what is placed.
        outputs: tensors that the task makes.
        dma: the DMA's timeline; not changed.
        units: the timelines of the fragment's circuits; not changed.
        units_ready: per circuit: no RUN before this cycle.
        room_at: no command before this cycle.
        source_ready: per source and residual, per frame: when it is there; (sources, batch).
    """
    earliest = [max(ready, room_at) for ready in units_ready]
    holds = plan.holds
    gaps = units[0].gaps(earliest[0], plan.run_cycles) if holds else LAST_GAP
    timelines = _stacked(units)
    for start, end in gaps:
        begin = np.array([max(start, e) for e in earliest], dtype=np.int64)
        times, frames, starts, ends, run_starts, run_ends, run_counts, counts = _place_steps(
            plan.table,
            plan.run_waits,
            plan.input_waits,
            source_ready,
            dma.starts,
            dma.ends,
            dma.count,
            plan.transfers,
            *timelines,
            begin,
            room_at,
            outputs,
            holds,
        )
        transfer_count, run_end, last = counts
        if end is None or run_end <= end:
            placed = tuple(map(Timeline, run_starts, run_ends, run_counts.tolist()))
            if holds:
                first = int(times[0, 2])
                placed = (units[0].placed(first, run_end - first)[1],)
            moved = Timeline(starts, ends, transfer_count)
            return Placed(moved, placed, times, run_end, last, tuple(map(tuple, frames.tolist())))
    raise AssertionError("the last gap has no end")


def _stacked(units: Sequence[Timeline]) -> tuple[Ints, Ints, Ints]:
    """Intervals of the units as arrays (units, intervals), and their counts."""
    counts = np.array([unit.count for unit in units], dtype=np.int64)
    if len(units) == 1:
        return units[0].starts[None], units[0].ends[None], counts
    starts = np.empty((len(units), int(counts.max())), dtype=np.int64)
    ends = np.empty_like(starts)
    for i, unit in enumerate(units):
        starts[i, : unit.count] = unit.starts[: unit.count]
        ends[i, : unit.count] = unit.ends[: unit.count]
    return starts, ends, counts


@njit(cache=True)
def _place_steps(  # type: ignore[no-untyped-def]
    table,
    run_waits,
    input_waits,
    source_ready,
    old_starts,
    old_ends,
    count,
    transfers,
    old_run_starts,
    old_run_ends,
    old_run_counts,
    begin,
    room_at,
    outputs,
    holds,
):
    """``place_steps`` on copies of the timelines, which have room for all ``transfers`` and steps.

    Returns (times, frames, starts and ends of the DMA's intervals, those of the circuits', counts
    of these, (intervals of the DMA, end of the last RUN, end of all)).
    """
    steps, units = table.shape[0], old_run_counts.shape[0]
    starts = np.empty(count + transfers, dtype=np.int64)
    ends = np.empty(count + transfers, dtype=np.int64)
    starts[:count], ends[:count] = old_starts[:count], old_ends[:count]
    room = old_run_counts.max() + steps
    run_starts = np.empty((units, room), dtype=np.int64)
    run_stops = np.empty((units, room), dtype=np.int64)
    for unit in range(units):
        for i in range(old_run_counts[unit]):
            run_starts[unit, i] = old_run_starts[unit, i]
            run_stops[unit, i] = old_run_ends[unit, i]
    run_counts = old_run_counts.copy()
    times = np.full((steps, 4), -1, dtype=np.int64)
    run_ends = np.zeros(steps, dtype=np.int64)
    store_ends = np.zeros(steps, dtype=np.int64)
    frames = np.zeros((outputs, source_ready.shape[1]), dtype=np.int64)
    counts = place_steps(
        table,
        run_waits,
        input_waits,
        source_ready,
        starts,
        ends,
        count,
        run_starts,
        run_stops,
        run_counts,
        begin,
        room_at,
        holds,
        times,
        run_ends,
        store_ends,
        frames,
    )
    return times, frames, starts, ends, run_starts, run_stops, run_counts, counts


@njit(cache=True)
def place_steps(  # type: ignore[no-untyped-def]  # noqa: C901
    table,
    run_waits,
    input_waits,
    source_ready,
    starts,
    ends,
    count,
    run_starts,
    run_stops,
    run_counts,
    begin,
    room_at,
    holds,
    times,
    run_ends,
    store_ends,
    frames,
):
    """Place all steps on the intervals of the DMA and the circuits (changed in place); no RUN of a
    circuit starts before its ``begin``.

    Written as well: ``times`` (steps, 4) where there is a command, ``run_ends`` and ``store_ends``
    per step, and ``frames`` (outputs, batch), which holds zeros before. Returns (intervals of the
    DMA, end of the last RUN, end of all).
    """
    steps = table.shape[0]
    sources = source_ready.shape[0]
    run_end, end = 0, 0
    lane, lane_starts, lane_stops = 0, run_starts[0], run_stops[0]
    for index in range(steps):
        # column by column: a view of a row or of a circuit's timeline costs as much as an insertion
        first, last = table[index, FIRST_FRAME], table[index, LAST_FRAME]
        unit, run_cycles = table[index, UNIT], table[index, RUN_CYCLES]
        if unit != lane:
            lane, lane_starts, lane_stops = unit, run_starts[unit], run_stops[unit]
        run_start = begin[unit]
        for i in range(run_waits.shape[1]):
            if run_waits[index, i] >= 0:
                run_start = max(run_start, run_ends[run_waits[index, i]])
        cycles = table[index, WEIGHT_CYCLES]
        if cycles > 0:
            wait = table[index, WEIGHT_WAIT]
            ready = run_ends[wait] if wait >= 0 else room_at
            start, count = insert(starts, ends, count, ready, cycles)
            times[index, 0] = start
            run_start = max(run_start, start + cycles)
        cycles = table[index, INPUT_CYCLES]
        if cycles > 0:
            wait = table[index, INPUT_WAIT]
            ready = run_ends[wait] if wait >= 0 else room_at
            for i in range(input_waits.shape[1]):
                if input_waits[index, i] >= 0:
                    ready = max(ready, run_ends[input_waits[index, i]])
            for source in range(sources):
                if table[index, INPUT_SOURCES] >> source & 1:
                    for frame in range(first, last):
                        ready = max(ready, source_ready[source, frame])
            start, count = insert(starts, ends, count, ready, cycles)
            times[index, 1] = start
            run_start = max(run_start, start + cycles)
        for source in range(sources):
            if table[index, CHIP_SOURCES] >> source & 1:
                for frame in range(first, last):
                    run_start = max(run_start, source_ready[source, frame])
        wait = table[index, STORE_WAIT]
        if wait >= 0:
            run_start = max(run_start, store_ends[wait])
        if not holds:
            run_start, run_counts[unit] = insert(
                lane_starts, lane_stops, run_counts[unit], run_start, run_cycles
            )
        times[index, 2] = run_start
        done = run_start + run_cycles
        run_ends[index] = done
        run_end = max(run_end, done)
        cycles = table[index, STORE_CYCLES]
        if cycles > 0:
            start, count = insert(starts, ends, count, done, cycles)
            times[index, 3] = start
            done = start + cycles
        store_ends[index] = done
        end = max(end, done)
        output = table[index, OUTPUT]
        if output >= 0:
            for frame in range(first, last):
                frames[output, frame] = max(frames[output, frame], done)
    return count, run_end, end
