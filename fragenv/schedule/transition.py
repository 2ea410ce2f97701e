"""The transition function: one decision, its consequences, and the commands it places.

Everything is placed by insertion (HEFT, Topcuoglu et al., TPDS 2002): a command takes the earliest
gap of its unit's timeline that holds it, given what it waits for, and never delays another.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fragenv.hardware.chip import Area
from fragenv.schedule.objective import period_cycles
from fragenv.schedule.placement import Ints, Placed, place_task
from fragenv.schedule.problem import MAX_SLOTS
from fragenv.schedule.state import (
    DRAM,
    NOWHERE,
    SRAM,
    BindRecord,
    Slot,
    SpillRecord,
    State,
    TaskRecord,
)
from fragenv.schedule.timeline import Timeline, free_from

if TYPE_CHECKING:
    from fragenv.schedule.choices import Choice
    from fragenv.schedule.fused_plan import FusedPlan
    from fragenv.schedule.problem import Problem
    from fragenv.schedule.steps import TaskPlan

T = TypeVar("T")

#: a task that moves at most this many times its bytes leaves room for another job
MORE_BYTES = 1.02


def apply(problem: Problem, state: State, action: int) -> State:
    """The state after ``action`` (see ``Problem.apply``)."""
    new = state.copy()
    new.decisions += 1
    if not is_legal(problem, state, action):
        raise ValueError(f"action {action} is illegal in this state")
    if action < MAX_SLOTS:
        _evict(problem, new, action)
        return new
    node, index = divmod(action - MAX_SLOTS, problem.num_choices + 1)
    new.sram_releases = new.sram_releases.copy()
    if index == problem.num_choices:
        _spill(problem, new, problem.tensor_of[problem.operators[node].output])
        return new
    _run(problem, new, problem.choices[node][index])
    if not new.tasks_left:
        _swap_back(problem, new)
        new.finished = True
        new.period_cycles = period_cycles(problem, new)
    return new


def is_legal(problem: Problem, state: State, action: int) -> bool:
    """Whether an action may be taken."""
    if not 0 <= action < problem.num_actions or state.finished:
        return False
    if action < MAX_SLOTS:
        return state.slots[action] is not None
    node, index = divmod(action - MAX_SLOTS, problem.num_choices + 1)
    if index == problem.num_choices:
        return state.location[problem.num_inputs + node] == SRAM
    options = problem.choices[node]
    return index < len(options) and not state.done[node] and _available(state, options[index])


def _available(state: State, choice: Choice) -> bool:
    """Whether its inputs are there and none of its operators has run; of a single chain, later
    operators need the first one's output."""
    location, done = state.location, state.done
    if choice.layers and any(done[node] for node in choice.operators):
        return False
    return all(location[t] != NOWHERE for t in choice.sources)


def legal_actions(problem: Problem, state: State) -> list[int]:
    """Legal actions in ascending order."""
    if state.finished:
        return []
    result = [i for i, slot in enumerate(state.slots) if slot is not None]
    stride = problem.num_choices + 1
    location, first = state.location, problem.num_inputs
    for node, done in enumerate(state.done):
        base = MAX_SLOTS + node * stride
        if done:
            if location[first + node] == SRAM:
                result.append(base + problem.num_choices)
            continue
        there: list[int] = []
        for sources, others, actions in problem.actions_by_needs[node]:
            # plain loops, for speed: this is asked for every node after every decision
            for tensor in sources:
                if location[tensor] == NOWHERE:
                    break
            else:
                for other in others:
                    if state.done[other]:
                        break
                else:
                    there = sorted(there + actions) if there else actions
        result += there
    return result


def _evict(problem: Problem, state: State, index: int) -> None:
    slot = state.slots[index]
    assert slot is not None
    state.slots = (*state.slots[:index], None, *state.slots[index + 1 :])
    state.area_held = state.area_held - problem.areas[slot.fragment]
    releases = list(state.area_releases)
    for part, area in enumerate(problem.part_areas[slot.fragment]):
        free_at = max(slot.timelines[part].last, slot.bound_at[part])
        releases.append((free_at, area, slot.instance + part))
    releases.sort(key=itemgetter(0), reverse=True)
    state.area_releases = tuple(releases)


def _spill(problem: Problem, state: State, tensor: int) -> None:
    """Send a kept tensor to DRAM; its buffer is free when the STORE and its readers are done."""
    size = problem.tensor_bytes[tensor]
    ready = max(state.ready[tensor])
    duration = problem.port.cycles(size)
    start, state.dma = state.dma.placed(ready, duration)
    end = start + duration
    state.location = _replaced(state.location, tensor, DRAM)
    state.ready = _replaced(state.ready, tensor, (end,) * problem.batch)
    state.kept_bytes -= size
    state.sram_releases.append((max(end, state.last_read[tensor]), size))
    state.dram_write_bytes += size
    state.dma_cycles += duration
    state.busiest_cycles = max(state.busiest_cycles, state.dma_cycles)
    state.latency_cycles = max(state.latency_cycles, end)
    state.history = (SpillRecord(tensor, start, end), state.history)


def _run(problem: Problem, state: State, choice: Choice) -> None:
    index = _bind(problem, state, choice.fragment)
    kept = sum(problem.tensor_bytes[t] for t in choice.outputs) if choice.keep else 0
    _make_room(problem, state, choice, kept)
    on_chip = _on_chip(state, choice)
    capacity = _capacity(problem, state, choice, kept, on_chip)
    room = capacity - state.kept_bytes - kept
    plan = problem.plan(choice, on_chip, room)
    assert plan is not None
    slot = state.slots[index]
    assert slot is not None
    there = np.array([state.ready[t] for t in choice.sources], dtype=np.int64)
    room_at, placed = _placed(problem, state, choice, plan, slot, kept, capacity, there)
    for deeper in plan.deeper_plans(room):
        later, found = _placed(problem, state, choice, deeper, slot, kept, capacity, there)
        if found.end < placed.end:
            plan, room_at, placed = deeper, later, found
    state.dma = placed.dma
    slots = list(state.slots)
    timelines, run_cycles = list(slot.timelines), list(slot.run_cycles)
    for unit, part in enumerate(choice.circuits):
        timelines[part] = placed.units[unit]
        run_cycles[part] += plan.unit_cycles[unit]
    slots[index] = slot._replace(
        timelines=tuple(timelines), last_use=state.decisions, run_cycles=tuple(run_cycles)
    )
    state.slots = tuple(slots)
    state.sram_releases.append((placed.end, plan.tiling.sram_bytes))
    state.dram_read_bytes += plan.dram_read_bytes
    state.weight_read_bytes += plan.weight_read_bytes
    state.dram_write_bytes += plan.dram_write_bytes
    state.dma_cycles += plan.transfer_cycles
    state.busiest_cycles = max(state.busiest_cycles, state.dma_cycles, *run_cycles)
    state.latency_cycles = max(state.latency_cycles, placed.end)
    record = TaskRecord(
        choice,
        plan,
        index,
        slot.instance,
        on_chip,
        placed.times,
        room_at,
    )
    state.history = (record, state.history)
    _finish_operators(problem, state, choice, placed.run_end)
    for tensor, ready in zip(choice.outputs, placed.frames_ready, strict=True):
        state.location = _replaced(state.location, tensor, SRAM if choice.keep else DRAM)
        state.ready = _replaced(state.ready, tensor, ready)
    state.kept_bytes += kept


def _capacity(problem: Problem, state: State, choice: Choice, kept: int, on_chip: int) -> int:
    """What a job should take of the buffer while a task runs: an equal part for each job under way,
    all of it where the task does not fit into that or moves more bytes then."""
    whole, part = problem.chip.buffer_bytes, problem.job_bytes
    if part < whole:
        taken = state.kept_bytes + kept
        plan = problem.plan(choice, on_chip, part - taken) if taken < part else None
        best = problem.plan(choice, on_chip, whole - taken)
        if plan is not None and best is not None:
            moved = plan.dram_read_bytes + plan.dram_write_bytes
            if moved <= MORE_BYTES * (best.dram_read_bytes + best.dram_write_bytes):
                return part
    return whole


def _placed(
    problem: Problem,
    state: State,
    choice: Choice,
    plan: TaskPlan | FusedPlan,
    slot: Slot,
    kept: int,
    capacity: int,
    source_ready: Ints,
) -> tuple[int, Placed]:
    """From when on the buffer has room for a plan and ``kept`` bytes, and where its commands go.
    ``capacity``: what the job may take of the buffer; ``source_ready``: see ``place_task``."""
    room_at = free_from(
        state.sram_releases,
        state.kept_bytes,
        plan.tiling.sram_bytes + kept,
        capacity,
    )
    placed = place_task(
        plan,
        len(choice.outputs),
        state.dma,
        [slot.timelines[part] for part in choice.circuits],
        [slot.bound_at[part] for part in choice.circuits],
        room_at,
        source_ready,
    )
    return room_at, placed


def _finish_operators(problem: Problem, state: State, choice: Choice, run_end: int) -> None:
    """Mark the operators as done, and give back kept tensors that nobody reads any more."""
    done, unread, last_read = list(state.done), list(state.unread), list(state.last_read)
    for node in choice.operators:
        done[node] = True
        state.tasks_left -= 1
        for tensor in problem.reads[node]:
            unread[tensor] -= 1
    for tensor in choice.sources:
        if state.location[tensor] == SRAM:
            last_read[tensor] = max(last_read[tensor], run_end)
            if not unread[tensor]:
                size = problem.tensor_bytes[tensor]
                state.kept_bytes -= size
                state.sram_releases.append((last_read[tensor], size))
                state.location = _replaced(state.location, tensor, NOWHERE)
    state.done, state.unread, state.last_read = tuple(done), tuple(unread), tuple(last_read)


def _on_chip(state: State, choice: Choice) -> int:
    return sum(1 << i for i, t in enumerate(choice.sources) if state.location[t] == SRAM)


def _make_room(problem: Problem, state: State, choice: Choice, kept: int) -> None:
    """Spill kept tensors until some tiling of the task fits: least recently made first, the task's
    own inputs last."""
    while True:
        room = problem.chip.buffer_bytes - state.kept_bytes - kept
        on_chip = _on_chip(state, choice)
        if room > 0 and problem.plan(choice, on_chip, room) is not None:
            return
        others = [t for t, where in enumerate(state.location) if where == SRAM]
        victim = min(others, key=lambda t: (t in choice.sources, max(state.ready[t]), t))
        _spill(problem, state, victim)


def _bind(problem: Problem, state: State, fragment: int) -> int:
    """The slot of the fragment or one that subsumes it; bound now where there is none."""
    able = problem.substitutes[fragment]
    found = [
        (slot.last, i)
        for i, slot in enumerate(state.slots)
        if slot is not None and slot.fragment in able
    ]
    if found:
        return min(found)[1]
    area = problem.areas[fragment]
    while None not in state.slots or not area.fits(problem.region - state.area_held):
        _, oldest = min((s.last_use, i) for i, s in enumerate(state.slots) if s is not None)
        _evict(problem, state, oldest)
    index = state.slots.index(None)
    if area.fits(state.untouched):
        state.first_fragments = (*state.first_fragments, fragment)
        state.startup_config_bytes += problem.config_bytes[fragment]
        state.untouched = state.untouched - area
        bound_at = (0,) * len(problem.part_areas[fragment])
        for part in range(len(bound_at)):
            instance = state.bind_count + part
            record = BindRecord(instance, fragment, part, index, None, None, ())
            state.history = (record, state.history)
    else:
        bound_at = _configure(problem, state, fragment, index)
    _occupy(problem, state, fragment, index, bound_at)
    return index


def _occupy(
    problem: Problem, state: State, fragment: int, index: int, bound_at: tuple[int, ...]
) -> None:
    """A fragment's circuits take their area and a slot."""
    state.area_held = state.area_held + problem.areas[fragment]
    free = (Timeline(),) * len(bound_at)
    idle = (0,) * len(bound_at)
    slot = Slot(fragment, bound_at, free, state.decisions, state.bind_count, idle)
    state.slots = (*state.slots[:index], slot, *state.slots[index + 1 :])
    state.bind_count += len(bound_at)


def _configure(problem: Problem, state: State, fragment: int, index: int) -> tuple[int, ...]:
    """Swap a fragment in through the configuration port, circuit by circuit, as soon as its area is
    free; when each is in."""
    area, total = problem.areas[fragment], problem.region
    taken, free_at = state.area_held + area, 0
    for time, given, _ in state.area_releases:
        # before ``time`` that fragment's area was still taken
        taken = taken + given
        if not taken.fits(total):
            free_at = time
            break
    starts, ends = [], []
    for duration in problem.part_bind_cycles[fragment]:
        start, state.config_port = state.config_port.placed(free_at, duration)
        starts.append(start)
        ends.append(start + duration)
    state.config_bytes += problem.config_bytes[fragment]
    state.config_cycles += problem.bind_cycles[fragment]
    state.busiest_cycles = max(state.busiest_cycles, state.config_cycles)
    # area of evicted fragments that still run is not free for this one
    left = total - (state.area_held + area)
    for time, given, _ in state.area_releases:
        if time > min(starts):
            left = left - given
    state.untouched = Area(
        min(state.untouched.multipliers, left.multipliers),
        min(state.untouched.lut, left.lut),
        min(state.untouched.local_bytes, left.local_bytes),
    )
    for part, (start, end) in enumerate(zip(starts, ends, strict=True)):
        evicted = tuple(who for time, _, who in state.area_releases if time <= start)
        instance = state.bind_count + part
        record = BindRecord(instance, fragment, part, index, start, end, evicted)
        state.history = (record, state.history)
    state.latency_cycles = max(state.latency_cycles, *ends)
    return tuple(ends)


def _swap_back(problem: Problem, state: State) -> None:
    """Bind again what the next job finds bound at its start, in the order of first use; what does
    not belong to the first configuration is evicted."""
    missing = list(state.first_fragments)
    for index, slot in enumerate(state.slots):
        if slot is None:
            continue
        if slot.fragment in missing:
            missing.remove(slot.fragment)
        else:
            _evict(problem, state, index)
    for fragment in missing:
        index = state.slots.index(None)
        _occupy(problem, state, fragment, index, _configure(problem, state, fragment, index))


def _replaced(items: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*items[:index], value, *items[index + 1 :])
