"""The transition on flat tables: what ``transition.apply`` does, to a state in given memory.

``transition.py`` is the definition; this is the same, rule by rule, for the latency of one job and
without records of what was placed. The state is changed in place.
"""

from __future__ import annotations

from numba import njit

from fragenv.schedule.compiled_bind import bind, evict, swap_back
from fragenv.schedule.compiled_memory import (
    ASKED_CHOICE,
    ASKED_ON_CHIP,
    ASKED_ROOM,
    BOUND,
    DECISIONS,
    DMA,
    FINISHED,
    KEPT,
    LAST_USE,
    LATENCY,
    READ,
    TASKS_LEFT,
    UNTOUCHED,
    WEIGHTS,
    WRITTEN,
)
from fragenv.schedule.compiled_place import place_best, release
from fragenv.schedule.compiled_tables import (
    BYTES,
    CAPACITY,
    FIRST_CHOICE,
    FRAGMENT,
    HIGH,
    KEPT_BYTES,
    LOCATION,
    LOW,
    MORE_INTERVALS,
    NEEDS,
    NEXT,
    NOT_RUN,
    NOT_RUN_END,
    NUM_CHOICES,
    NUM_INPUTS,
    ON_CHIP,
    OPERATORS,
    OPERATORS_END,
    OUTPUTS,
    OUTPUTS_END,
    PLAN,
    PLANS,
    READ_BYTES,
    READERS,
    READS,
    READS_END,
    RESOURCES,
    SOURCES,
    SOURCES_END,
    SPILL_CYCLES,
    SRAM_BYTES,
    STRIDE,
    THERE,
    THERE_END,
    WEIGHT_BYTES,
    WRITE_BYTES,
)
from fragenv.schedule.problem import MAX_SLOTS
from fragenv.schedule.state import DRAM, NOWHERE, SRAM
from fragenv.schedule.timeline import insert

#: how a step ended. Where a plan is missing in the book or the memory is too small, the same action
#: goes on from there once that is put right; an illegal action changes nothing
DONE, NO_PLAN, NO_MEMORY, ILLEGAL = range(4)


@njit(cache=True)
def reset(tables, memory):  # type: ignore[no-untyped-def]
    """``initial_state``."""
    now, inputs = memory.now, tables.limits[NUM_INPUTS]
    now[:] = 0
    now[TASKS_LEFT] = tables.nodes.shape[0]
    for i in range(RESOURCES):
        now[UNTOUCHED + i] = tables.limits[i]
    memory.done[:] = 0
    memory.location[:inputs] = DRAM
    memory.location[inputs:] = NOWHERE
    memory.last_read[:] = 0
    memory.unread[:] = tables.tensors[:, READERS]
    memory.ready[:] = 0
    memory.slots[:, BOUND] = -1
    memory.counts[:] = 0


@njit(inline="always")
def is_available(tables, memory, need):  # type: ignore[no-untyped-def]
    """Whether choices with this row of ``needs`` may run at a node that has not run."""
    row = tables.needs[need]
    for i in range(row[THERE], row[THERE_END]):
        if memory.location[tables.lists[i]] == NOWHERE:
            return False
    for i in range(row[NOT_RUN], row[NOT_RUN_END]):  # noqa: SIM110 - this is compiled
        if memory.done[tables.lists[i]]:
            return False
    return True


@njit(inline="always")
def step(tables, book, memory, action):  # type: ignore[no-untyped-def]
    """Apply an action; how it ended."""
    now, stride = memory.now, tables.limits[STRIDE]
    if now[FINISHED] or not 0 <= action < MAX_SLOTS + tables.nodes.shape[0] * stride:
        return ILLEGAL
    if action < MAX_SLOTS:
        if memory.slots[action, BOUND] < 0:
            return ILLEGAL
        evict(tables, memory, action)
        now[DECISIONS] += 1
        return DONE
    node, index = (action - MAX_SLOTS) // stride, (action - MAX_SLOTS) % stride
    if index == stride - 1:
        tensor = tables.limits[NUM_INPUTS] + node
        if memory.location[tensor] != SRAM:
            return ILLEGAL
        if not _spill(tables, memory, tensor):
            return NO_MEMORY
        now[DECISIONS] += 1
        return DONE
    if index >= tables.nodes[node, NUM_CHOICES] or memory.done[node]:
        return ILLEGAL
    number = tables.nodes[node, FIRST_CHOICE] + index
    if not is_available(tables, memory, tables.choices[number, NEEDS]):
        return ILLEGAL
    return _run(tables, book, memory, number)


@njit(inline="always")
def _run(tables, book, memory, number):  # type: ignore[no-untyped-def]
    """Run a choice. Nothing but spills happens before all that it takes is there."""
    now, choice = memory.now, tables.choices[number]
    code, plan = _make_room(tables, book, memory, number)
    if code != DONE:
        return code
    # the last RUN binds a fragment in every slot as well
    more = max(book.plans[plan, MORE_INTERVALS], (MAX_SLOTS + 1) * memory.begin.shape[0])
    if memory.counts.max() + more > memory.starts.shape[1]:
        return NO_MEMORY
    now[DECISIONS] += 1
    slot = bind(tables, memory, choice[FRAGMENT])
    plan, run_end, end = place_best(tables, book, memory, choice, plan, slot)
    memory.slots[slot, LAST_USE] = now[DECISIONS]
    row = book.plans[plan]
    release(memory.releases, now, end, row[SRAM_BYTES])
    now[READ] += row[READ_BYTES]
    now[WEIGHTS] += row[WEIGHT_BYTES]
    now[WRITTEN] += row[WRITE_BYTES]
    now[LATENCY] = max(now[LATENCY], end)
    _finish_operators(tables, memory, choice, run_end)
    for i in range(choice[OUTPUTS_END] - choice[OUTPUTS]):
        tensor = tables.lists[choice[OUTPUTS] + i]
        memory.location[tensor] = choice[LOCATION]
        for frame in range(memory.ready.shape[1]):
            memory.ready[tensor, frame] = memory.frames[i, frame]
    now[KEPT] += choice[KEPT_BYTES]
    if now[TASKS_LEFT] == 0:
        swap_back(tables, memory)
        now[FINISHED] = 1
    return DONE


@njit(inline="always")
def _find_plan(tables, book, memory, number, on_chip, room):  # type: ignore[no-untyped-def]
    """(DONE or NO_PLAN, row of the plan, -1 where none fits)."""
    entry = book.first[tables.choices[number, PLANS]]
    while entry >= 0:
        row = book.intervals[entry]
        if row[ON_CHIP] == on_chip and row[LOW] <= room and room < row[HIGH]:
            return DONE, row[PLAN]
        entry = row[NEXT]
    memory.now[ASKED_CHOICE] = number
    memory.now[ASKED_ON_CHIP] = on_chip
    memory.now[ASKED_ROOM] = room
    return NO_PLAN, -1


@njit(inline="always")
def _make_room(tables, book, memory, number):  # type: ignore[no-untyped-def]
    """Spill kept tensors until some plan fits. Returns (how it ended, row of the plan)."""
    choice = tables.choices[number]
    first, end = choice[SOURCES], choice[SOURCES_END]
    while True:
        room = tables.limits[CAPACITY] - memory.now[KEPT] - choice[KEPT_BYTES]
        if room > 0:
            on_chip = 0
            for i in range(end - first):
                if memory.location[tables.lists[first + i]] == SRAM:
                    on_chip |= 1 << i
            code, plan = _find_plan(tables, book, memory, number, on_chip, room)
            if code != DONE or plan >= 0:
                return code, plan
        if not _spill(tables, memory, _victim(tables, memory, first, end)):
            return NO_MEMORY, -1


@njit(inline="always")
def _victim(tables, memory, first, end):  # type: ignore[no-untyped-def]
    """The kept tensor to spill: least recently made first, what the task reads itself last."""
    victim, victim_own, victim_ready = -1, False, 0
    for tensor in range(memory.location.shape[0]):
        if memory.location[tensor] == SRAM:
            own = False
            for i in range(first, end):
                own = own or tables.lists[i] == tensor
            ready = memory.ready[tensor].max()
            if victim < 0 or (own, ready) < (victim_own, victim_ready):
                victim, victim_own, victim_ready = tensor, own, ready
    return victim


@njit(inline="always")
def _spill(tables, memory, tensor):  # type: ignore[no-untyped-def]
    """Send a kept tensor to DRAM; False where the DMA's timeline has no room for it."""
    now, count = memory.now, memory.counts[DMA]
    if count == memory.starts.shape[1]:
        return False
    size, duration = tables.tensors[tensor, BYTES], tables.tensors[tensor, SPILL_CYCLES]
    ready = memory.ready[tensor].max()
    start, count = insert(memory.starts[DMA], memory.ends[DMA], count, ready, duration)
    memory.counts[DMA] = count
    end = start + duration
    memory.location[tensor] = DRAM
    memory.ready[tensor] = end
    now[KEPT] -= size
    release(memory.releases, now, max(end, memory.last_read[tensor]), size)
    now[WRITTEN] += size
    now[LATENCY] = max(now[LATENCY], end)
    return True


@njit(inline="always")
def _finish_operators(tables, memory, choice, run_end):  # type: ignore[no-untyped-def]
    """Mark the operators as done, and give back kept tensors that nobody reads any more."""
    lists, now = tables.lists, memory.now
    for i in range(choice[OPERATORS], choice[OPERATORS_END]):
        node = lists[i]
        memory.done[node] = 1
        now[TASKS_LEFT] -= 1
        for j in range(tables.nodes[node, READS], tables.nodes[node, READS_END]):
            memory.unread[lists[j]] -= 1
    for i in range(choice[SOURCES], choice[SOURCES_END]):
        tensor = lists[i]
        if memory.location[tensor] == SRAM:
            memory.last_read[tensor] = max(memory.last_read[tensor], run_end)
            if memory.unread[tensor] == 0:
                size = tables.tensors[tensor, BYTES]
                now[KEPT] -= size
                release(memory.releases, now, memory.last_read[tensor], size)
                memory.location[tensor] = NOWHERE
