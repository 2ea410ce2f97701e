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
def release(memory, time, size):  # type: ignore[no-untyped-def]
    """Note that bytes of the buffer are given back."""
    releases, i = memory.releases, memory.now[RELEASES]
    while i > 0 and releases[i - 1, FREE_AT] > time:
        releases[i, FREE_AT] = releases[i - 1, FREE_AT]
        releases[i, FREE_BYTES] = releases[i - 1, FREE_BYTES]
        i -= 1
    releases[i, FREE_AT], releases[i, FREE_BYTES] = time, size
    memory.now[RELEASES] += 1
    memory.now[RELEASED_BYTES] += size


@njit(cache=True)
def _free_from(memory, free):  # type: ignore[no-untyped-def]
    """``timeline.free_from``; ``free`` bytes are left when all that is released later is back."""
    if free >= memory.now[RELEASED_BYTES]:
        return 0
    taken = 0
    for i in range(memory.now[RELEASES] - 1, -1, -1):
        taken += memory.releases[i, FREE_BYTES]
        if taken > free:
            return memory.releases[i, FREE_AT]
    return 0


@njit(cache=True)
def put(memory, source, target):  # type: ignore[no-untyped-def]
    """Copy a timeline."""
    count = memory.counts[source]
    memory.starts[target, :count] = memory.starts[source, :count]
    memory.ends[target, :count] = memory.ends[source, :count]
    memory.counts[target] = count


@njit(cache=True)
def place_best(tables, book, memory, choice, plan, slot):  # type: ignore[no-untyped-def]
    """Place a plan, or the one with more weight buffers that ends first. Returns (row of the
    plan, end of its last RUN, end of all)."""
    room = tables.limits[CAPACITY] - memory.now[KEPT] - choice[KEPT_BYTES]
    for i in range(choice[SOURCES_END] - choice[SOURCES]):
        memory.source_ready[i] = memory.ready[tables.lists[choice[SOURCES] + i]]
    deeper = book.plans[plan, DEEPER]
    if deeper < 0 or book.plans[deeper, SRAM_BYTES] > room:
        run_end, end = _place(tables, book, memory, choice, plan, slot)
        return plan, run_end, end
    # such a task runs on one circuit and makes one tensor
    part = book.steps[book.plans[plan, STEPS], UNIT]
    unit = CIRCUITS + slot * memory.begin.shape[0] + part
    put(memory, DMA, DMA_BEFORE)
    put(memory, unit, UNIT_BEFORE)
    best_run_end, best_end = _place(tables, book, memory, choice, plan, slot)
    while deeper >= 0 and book.plans[deeper, SRAM_BYTES] <= room:
        put(memory, DMA, DMA_BEST)
        put(memory, unit, UNIT_BEST)
        memory.frames_best[0] = memory.frames[0]
        put(memory, DMA_BEFORE, DMA)
        put(memory, UNIT_BEFORE, unit)
        run_end, end = _place(tables, book, memory, choice, deeper, slot)
        if end < best_end:
            plan, best_run_end, best_end = deeper, run_end, end
        else:
            put(memory, DMA_BEST, DMA)
            put(memory, UNIT_BEST, unit)
            memory.frames[0] = memory.frames_best[0]
        deeper = book.plans[deeper, DEEPER]
    return plan, best_run_end, best_end


@njit(cache=True)
def _place(tables, book, memory, choice, number, slot):  # type: ignore[no-untyped-def]
    """``transition._placed``, on the timelines themselves. Returns (end of the last RUN, end)."""
    plan = book.plans[number]
    free = tables.limits[CAPACITY] - memory.now[KEPT] - choice[KEPT_BYTES] - plan[SRAM_BYTES]
    room_at = _free_from(memory, free)
    for part in range(memory.begin.shape[0]):
        memory.begin[part] = max(memory.bound_at[slot, part], room_at)
    if not plan[HOLDS]:
        return _place_commands(book, memory, choice, plan, slot, room_at)
    part = book.steps[plan[STEPS], UNIT]
    unit = CIRCUITS + slot * memory.begin.shape[0] + part
    count, earliest = memory.counts[unit], memory.begin[part]
    saved, previous = False, 0
    run_end = end = 0
    for gap in range(count + 1):
        # the last gap has no end
        gap_end = memory.starts[unit, gap] if gap < count else -1
        if gap == count or gap_end - max(previous, earliest) >= plan[RUN_CYCLES_SUM]:
            if saved:
                put(memory, DMA_GAP, DMA)
            elif gap < count:
                put(memory, DMA, DMA_GAP)
                saved = True
            memory.begin[part] = max(earliest, previous)
            run_end, end = _place_commands(book, memory, choice, plan, slot, room_at)
            if gap == count or run_end <= gap_end:
                break
        previous = memory.ends[unit, gap]
    first = memory.times[0, 2]
    _, memory.counts[unit] = insert(
        memory.starts[unit], memory.ends[unit], count, first, run_end - first
    )
    return run_end, end


@njit(cache=True)
def _place_commands(book, memory, choice, plan, slot, room_at):  # type: ignore[no-untyped-def]
    """Put a plan's commands on the timelines."""
    parts = memory.begin.shape[0]
    first = CIRCUITS + slot * parts
    begin, end = plan[STEPS], plan[STEPS_END]
    frames = memory.frames[: choice[OUTPUTS_END] - choice[OUTPUTS]]
    frames[:] = 0
    memory.counts[DMA], run_end, last = place_steps(
        book.steps[begin:end],
        book.run_waits[begin:end],
        book.input_waits[begin:end],
        memory.source_ready[: choice[SOURCES_END] - choice[SOURCES]],
        memory.starts[DMA],
        memory.ends[DMA],
        memory.counts[DMA],
        memory.starts[first : first + parts],
        memory.ends[first : first + parts],
        memory.counts[first : first + parts],
        memory.begin,
        room_at,
        plan[HOLDS] != 0,
        memory.times,
        memory.run_ends,
        memory.store_ends,
        frames,
    )
    return run_end, last
