"""The memory that the compiled transition works in: one state, and room for placing tasks.

Everything is allocated once and used for state after state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from fragenv.schedule.compiled_tables import RESOURCES
from fragenv.schedule.problem import MAX_SLOTS

if TYPE_CHECKING:
    from fragenv.schedule.compiled_tables import Tables

Ints = npt.NDArray[np.int64]

#: fields of ``Memory.now``, named after those of ``State``; the first ones are results
(
    LATENCY,
    READ,
    WRITTEN,
    WEIGHTS,
    CONFIG,
    STARTUP,
    DECISIONS,
    FINISHED,
    RESULTS,
) = range(9)
#: HELD and UNTOUCHED are areas; then which plan is missing: row of the choice, sources on the
#: chip, free bytes
TASKS_LEFT, KEPT, RELEASES, RELEASED_BYTES, AREA_RELEASES, FIRST_COUNT, HELD = range(
    RESULTS, RESULTS + 7
)
UNTOUCHED = HELD + RESOURCES
ASKED_CHOICE, ASKED_ON_CHIP, ASKED_ROOM, FIELDS = range(
    UNTOUCHED + RESOURCES, UNTOUCHED + RESOURCES + 4
)
#: columns of ``Memory.slots``; BOUND is -1 where the slot is free
BOUND, LAST_USE, SLOT_COLUMNS = range(3)
#: columns of ``Memory.releases``
FREE_AT, FREE_BYTES, RELEASE_COLUMNS = range(3)
#: column of ``Memory.area_releases`` after those of the area
AREA_FREE_AT = RESOURCES
#: timelines: of the units, then those put aside (before a task, with its best plan so far, before
#: a gap is tried), then those of the circuits of slot 0, slot 1, and so on
DMA, CONFIG_PORT, DMA_BEFORE, UNIT_BEFORE, DMA_BEST, UNIT_BEST, DMA_GAP, CIRCUITS = range(8)
#: intervals of a timeline at first; more are given where a schedule needs them
FIRST_INTERVALS = 1024


class Memory(NamedTuple):
    """A state, and room to work in."""

    now: Ints
    done: Ints
    location: Ints
    last_read: Ints
    unread: Ints
    #: (tensors, batch)
    ready: Ints
    slots: Ints
    #: (slots, circuits)
    bound_at: Ints
    #: (timelines, intervals), and their counts
    starts: Ints
    ends: Ints
    counts: Ints
    #: by rising time
    releases: Ints
    area_releases: Ints
    first_fragments: Ints
    # for placing a task, see ``placement.place_steps``
    source_ready: Ints
    frames: Ints
    frames_best: Ints
    begin: Ints
    times: Ints
    run_ends: Ints
    store_ends: Ints


def make_memory(tables: Tables, batch: int) -> Memory:
    """Memory for the states of a problem."""
    tensors, nodes = len(tables.tensors), len(tables.nodes)
    parts = tables.parts.shape[1]
    # a RUN binds once at most, the end binds every slot, what is bound is evicted once at most
    binds = nodes + MAX_SLOTS

    def zeros(*shape: int) -> Ints:
        return np.zeros(shape, dtype=np.int64)

    return Memory(
        now=zeros(FIELDS),
        done=zeros(nodes),
        location=zeros(tensors),
        last_read=zeros(tensors),
        unread=zeros(tensors),
        ready=zeros(tensors, batch),
        slots=zeros(MAX_SLOTS, SLOT_COLUMNS),
        bound_at=zeros(MAX_SLOTS, parts),
        starts=zeros(CIRCUITS + MAX_SLOTS * parts, FIRST_INTERVALS),
        ends=zeros(CIRCUITS + MAX_SLOTS * parts, FIRST_INTERVALS),
        counts=zeros(CIRCUITS + MAX_SLOTS * parts),
        # a task gives its working set back, a tensor is given back once
        releases=zeros(nodes + tensors, RELEASE_COLUMNS),
        area_releases=zeros(binds * parts, RESOURCES + 1),
        first_fragments=zeros(binds),
        source_ready=zeros(tensors, batch),
        frames=zeros(tensors, batch),
        frames_best=zeros(tensors, batch),
        begin=zeros(parts),
        times=zeros(1, 4),
        run_ends=zeros(1),
        store_ends=zeros(1),
    )


def with_steps(memory: Memory, steps: int) -> Memory:
    """The same state with room for tasks of ``steps`` RUNs."""
    if steps <= len(memory.run_ends):
        return memory
    room = 2 * steps
    return memory._replace(
        times=np.zeros((room, 4), dtype=np.int64),
        run_ends=np.zeros(room, dtype=np.int64),
        store_ends=np.zeros(room, dtype=np.int64),
    )


def with_intervals(memory: Memory) -> Memory:
    """The same state with room for twice as many intervals on every timeline."""
    room = np.zeros_like(memory.starts)
    return memory._replace(
        starts=np.concatenate([memory.starts, room], axis=1),
        ends=np.concatenate([memory.ends, room], axis=1),
    )
