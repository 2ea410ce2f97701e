"""Placing a task in the compiled transition: its plan, and when the buffer has room for it."""

from __future__ import annotations

from numba import njit

from fragenv.schedule.compiled_memory import (
    CIRCUITS,
    DMA,
    DMA_BEFORE,
    DMA_BEST,
    DMA_GAP,
    FREE_AT,
    FREE_BYTES,
    KEPT,
    RELEASED_BYTES,
    RELEASES,
    UNIT_BEFORE,
    UNIT_BEST,
)
from fragenv.schedule.compiled_tables import (
    CAPACITY,
    DEEPER,
    HOLDS,
    KEPT_BYTES,
    OUTPUTS,
    OUTPUTS_END,
    RUN_CYCLES_SUM,
    SOURCES,
    SOURCES_END,
    SRAM_BYTES,
    STEPS,
    STEPS_END,
)
from fragenv.schedule.placement import UNIT, place_steps
from fragenv.schedule.timeline import insert


@njit(cache=True)
def release(releases, now, time, size):  # type: ignore[no-untyped-def]
    """Note that bytes of the buffer are given back."""
    i = now[RELEASES]
    while i > 0 and releases[i - 1, FREE_AT] > time:
        releases[i, FREE_AT] = releases[i - 1, FREE_AT]
        releases[i, FREE_BYTES] = releases[i - 1, FREE_BYTES]
        i -= 1
    releases[i, FREE_AT], releases[i, FREE_BYTES] = time, size
    now[RELEASES] += 1
    now[RELEASED_BYTES] += size


@njit(cache=True)
def _free_from(releases, now, free):  # type: ignore[no-untyped-def]
    """``timeline.free_from``; ``free`` bytes are left when all that is released later is back."""
    if free >= now[RELEASED_BYTES]:
        return 0
    taken = 0
    for i in range(now[RELEASES] - 1, -1, -1):
        taken += releases[i, FREE_BYTES]
        if taken > free:
            return releases[i, FREE_AT]
    return 0


@njit(cache=True)
def _put(starts, ends, counts, source, target):  # type: ignore[no-untyped-def]
    """Copy a timeline."""
    for i in range(counts[source]):
        starts[target, i] = starts[source, i]
        ends[target, i] = ends[source, i]
    counts[target] = counts[source]


@njit(inline="always")
def place_best(tables, book, memory, choice, plan, slot):  # type: ignore[no-untyped-def]
    """Place a plan, or the one with more weight buffers that ends first. Returns (row of the
    plan, end of its last RUN, end of all)."""
    starts, ends, counts = memory.starts, memory.ends, memory.counts
    room = tables.limits[CAPACITY] - memory.now[KEPT] - choice[KEPT_BYTES]
    for i in range(choice[SOURCES_END] - choice[SOURCES]):
        tensor = tables.lists[choice[SOURCES] + i]
        for frame in range(memory.ready.shape[1]):
            memory.source_ready[i, frame] = memory.ready[tensor, frame]
    deeper = book.plans[plan, DEEPER]
    more = deeper >= 0 and book.plans[deeper, SRAM_BYTES] <= room
    # a task with deeper plans runs on one circuit and makes one tensor
    part = book.steps[book.plans[plan, STEPS], UNIT]
    unit = CIRCUITS + slot * memory.begin.shape[0] + part
    if more:
        _put(starts, ends, counts, DMA, DMA_BEFORE)
        _put(starts, ends, counts, unit, UNIT_BEFORE)
    best, best_run_end, best_end = -1, 0, 0
    while True:
        run_end, end = _place(tables, book, memory, choice, plan, slot, unit, part)
        better = best < 0 or end < best_end
        if better:
            best, best_run_end, best_end = plan, run_end, end
        plan = book.plans[plan, DEEPER]
        more = plan >= 0 and book.plans[plan, SRAM_BYTES] <= room
        if better and more:
            _put(starts, ends, counts, DMA, DMA_BEST)
            _put(starts, ends, counts, unit, UNIT_BEST)
            memory.frames_best[0] = memory.frames[0]
        elif not better and not more:
            _put(starts, ends, counts, DMA_BEST, DMA)
            _put(starts, ends, counts, UNIT_BEST, unit)
            memory.frames[0] = memory.frames_best[0]
        if not more:
            break
        _put(starts, ends, counts, DMA_BEFORE, DMA)
        _put(starts, ends, counts, UNIT_BEFORE, unit)
    return best, best_run_end, best_end


@njit(inline="always")
def _place(tables, book, memory, choice, number, slot, unit, part):  # type: ignore[no-untyped-def]
    """``transition._placed``, on the timelines themselves; ``unit`` is the timeline of the task's
    first circuit ``part``. Returns (end of the last RUN, end)."""
    plan, begin, parts = book.plans[number], memory.begin, memory.begin.shape[0]
    starts, ends, counts = memory.starts, memory.ends, memory.counts
    free = tables.limits[CAPACITY] - memory.now[KEPT] - choice[KEPT_BYTES] - plan[SRAM_BYTES]
    room_at = _free_from(memory.releases, memory.now, free)
    for i in range(parts):
        begin[i] = max(memory.bound_at[slot, i], room_at)
    first = CIRCUITS + slot * parts
    outputs = choice[OUTPUTS_END] - choice[OUTPUTS]
    earliest, count, holds = begin[part], counts[unit], plan[HOLDS] != 0
    # the gap behind all intervals has no end
    gap = 0 if holds else count
    previous, saved = 0, False
    while True:
        if gap == count or starts[unit, gap] - max(previous, earliest) >= plan[RUN_CYCLES_SUM]:
            if saved:
                _put(starts, ends, counts, DMA_GAP, DMA)
            elif gap < count:
                _put(starts, ends, counts, DMA, DMA_GAP)
                saved = True
            begin[part] = max(earliest, previous)
            for i in range(outputs):
                for frame in range(memory.frames.shape[1]):
                    memory.frames[i, frame] = 0
            counts[DMA], run_end, end = place_steps(
                book.steps[plan[STEPS] : plan[STEPS_END]],
                book.run_waits[plan[STEPS] : plan[STEPS_END]],
                book.input_waits[plan[STEPS] : plan[STEPS_END]],
                memory.source_ready[: choice[SOURCES_END] - choice[SOURCES]],
                starts[DMA],
                ends[DMA],
                counts[DMA],
                starts[first : first + parts],
                ends[first : first + parts],
                counts[first : first + parts],
                begin,
                room_at,
                holds,
                memory.times,
                memory.run_ends,
                memory.store_ends,
                memory.frames,
            )
            if gap == count or run_end <= starts[unit, gap]:
                break
        previous = ends[unit, gap]
        gap += 1
    if holds:
        start = memory.times[0, 2]
        _, counts[unit] = insert(starts[unit], ends[unit], count, start, run_end - start)
    return run_end, end
