"""Binding and evicting in the compiled transition: slots, area, and the configuration port."""

from __future__ import annotations

from numba import njit

from fragenv.schedule.compiled_memory import (
    AREA_FREE_AT,
    AREA_RELEASES,
    BOUND,
    CIRCUITS,
    CONFIG,
    CONFIG_PORT,
    DECISIONS,
    FIRST_COUNT,
    HELD,
    LAST_USE,
    LATENCY,
    STARTUP,
    UNTOUCHED,
)
from fragenv.schedule.compiled_tables import (
    BIND_CYCLES,
    FRAGMENT_CONFIG_BYTES,
    PARTS,
    RESOURCES,
)
from fragenv.schedule.problem import MAX_SLOTS
from fragenv.schedule.timeline import insert


@njit(cache=True)
def _last(ends, counts, row):  # type: ignore[no-untyped-def]
    """When a unit is free for good."""
    return ends[row, counts[row] - 1] if counts[row] else 0


@njit(inline="always")
def _fits(tables, memory, fragment):  # type: ignore[no-untyped-def]
    """Whether a fragment fits beside those that are bound."""
    for i in range(RESOURCES):
        if tables.fragments[fragment, i] > tables.limits[i] - memory.now[HELD + i]:
            return False
    return True


@njit(inline="always")
def bind(tables, memory, fragment):  # type: ignore[no-untyped-def]
    """The slot of the fragment or one that subsumes it; bound now where there is none."""
    parts = memory.begin.shape[0]
    best, best_last, free = -1, 0, -1
    for slot in range(MAX_SLOTS):
        bound = memory.slots[slot, BOUND]
        if bound >= 0 and tables.able[fragment, bound]:
            last = 0
            for part in range(tables.fragments[bound, PARTS]):
                last = max(last, _last(memory.ends, memory.counts, CIRCUITS + slot * parts + part))
            if best < 0 or last < best_last:
                best, best_last = slot, last
    if best >= 0:
        return best
    free = _free_slot(memory.slots)
    while free < 0 or not _fits(tables, memory, fragment):
        oldest = -1
        for slot in range(MAX_SLOTS):
            if memory.slots[slot, BOUND] >= 0 and (
                oldest < 0 or memory.slots[slot, LAST_USE] < memory.slots[oldest, LAST_USE]
            ):
                oldest = slot
        evict(tables, memory, oldest)
        free = _free_slot(memory.slots)
    now, row = memory.now, tables.fragments[fragment]
    untouched = True
    for i in range(RESOURCES):
        untouched = untouched and row[i] <= now[UNTOUCHED + i]
    if untouched:
        memory.first_fragments[now[FIRST_COUNT]] = fragment
        now[FIRST_COUNT] += 1
        now[STARTUP] += row[FRAGMENT_CONFIG_BYTES]
        for i in range(RESOURCES):
            now[UNTOUCHED + i] -= row[i]
        memory.bound_at[free] = 0
    else:
        _configure(tables, memory, fragment, free)
    _occupy(tables, memory, fragment, free)
    return free


@njit(cache=True)
def _free_slot(slots):  # type: ignore[no-untyped-def]
    """The first free slot, -1 for none."""
    for slot in range(MAX_SLOTS):
        if slots[slot, BOUND] < 0:
            return slot
    return -1


@njit(inline="always")
def _occupy(tables, memory, fragment, slot):  # type: ignore[no-untyped-def]
    """A fragment's circuits take their area and a slot."""
    parts = memory.begin.shape[0]
    for i in range(RESOURCES):
        memory.now[HELD + i] += tables.fragments[fragment, i]
    first = CIRCUITS + slot * parts
    memory.counts[first : first + parts] = 0
    memory.slots[slot, BOUND] = fragment
    memory.slots[slot, LAST_USE] = memory.now[DECISIONS]


@njit(inline="always")
def evict(tables, memory, slot):  # type: ignore[no-untyped-def]
    """Give the area of a bound fragment back, circuit by circuit."""
    now, fragment, parts = memory.now, memory.slots[slot, BOUND], memory.begin.shape[0]
    memory.slots[slot, BOUND] = -1
    for i in range(RESOURCES):
        now[HELD + i] -= tables.fragments[fragment, i]
    releases = memory.area_releases
    for part in range(tables.fragments[fragment, PARTS]):
        time = max(
            _last(memory.ends, memory.counts, CIRCUITS + slot * parts + part),
            memory.bound_at[slot, part],
        )
        i = now[AREA_RELEASES]
        while i > 0 and releases[i - 1, AREA_FREE_AT] > time:
            releases[i] = releases[i - 1]
            i -= 1
        releases[i, AREA_FREE_AT] = time
        releases[i, :RESOURCES] = tables.parts[fragment, part, :RESOURCES]
        now[AREA_RELEASES] += 1


@njit(inline="always")
def _configure(tables, memory, fragment, slot):  # type: ignore[no-untyped-def]
    """Swap a fragment in through the configuration port, circuit by circuit, as soon as its area
    is free."""
    now, releases, row = memory.now, memory.area_releases, tables.fragments[fragment]
    free_at = 0
    for i in range(RESOURCES):
        # before the latest release that is needed, area is short
        taken = now[HELD + i] + row[i]
        for j in range(now[AREA_RELEASES] - 1, -1, -1):
            taken += releases[j, i]
            if taken > tables.limits[i]:
                free_at = max(free_at, releases[j, AREA_FREE_AT])
                break
    first_start = -1
    for part in range(row[PARTS]):
        duration = tables.parts[fragment, part, BIND_CYCLES]
        start, memory.counts[CONFIG_PORT] = insert(
            memory.starts[CONFIG_PORT],
            memory.ends[CONFIG_PORT],
            memory.counts[CONFIG_PORT],
            free_at,
            duration,
        )
        memory.bound_at[slot, part] = start + duration
        now[LATENCY] = max(now[LATENCY], start + duration)
        first_start = start if first_start < 0 else min(first_start, start)
    now[CONFIG] += row[FRAGMENT_CONFIG_BYTES]
    # area of evicted fragments that still run is not free for this one
    for i in range(RESOURCES):
        left = tables.limits[i] - now[HELD + i] - row[i]
        for j in range(now[AREA_RELEASES] - 1, -1, -1):
            if releases[j, AREA_FREE_AT] <= first_start:
                break
            left -= releases[j, i]
        now[UNTOUCHED + i] = min(now[UNTOUCHED + i], left)


@njit(cache=True)
def swap_back(tables, memory):  # type: ignore[no-untyped-def]
    """Bind again what the next job finds bound at its start, in the order of first use; what does
    not belong to the first configuration is evicted."""
    first = memory.first_fragments
    count = memory.now[FIRST_COUNT]
    for slot in range(MAX_SLOTS):
        bound = memory.slots[slot, BOUND]
        if bound < 0:
            continue
        found = -1
        for i in range(count):
            if first[i] == bound:
                found = i
                break
        if found < 0:
            evict(tables, memory, slot)
        else:
            for i in range(found, count - 1):
                first[i] = first[i + 1]
            count -= 1
    for i in range(count):
        slot = _free_slot(memory.slots)
        _configure(tables, memory, first[i], slot)
        _occupy(tables, memory, first[i], slot)
