"""Placing one task's transfers and RUNs on the timelines of the DMA and its fragment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fragenv.schedule.state import TaskRecord
from fragenv.schedule.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fragenv.schedule.problem import Choice
    from fragenv.schedule.steps import TaskPlan


class Placed(NamedTuple):
    """Where a task went. Times in cycles."""

    dma: Timeline
    slot: Timeline
    times: list[tuple[int, int, int, int]]
    #: end of the last RUN, and of the last RUN or STORE
    run_end: int
    end: int
    #: per frame: when its output is where it stays
    frames_ready: tuple[int, ...]

    def record(
        self,
        choice: Choice,
        plan: TaskPlan,
        slot: int,
        instance: int,
        on_chip: int,
        room_at: int,
    ) -> TaskRecord:
        return TaskRecord(choice, plan, slot, instance, on_chip, tuple(self.times), room_at)


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
        dma: the DMA's timeline; used up (a copy is returned where an attempt had to be undone).
        slot: the fragment's timeline; not changed.
        slot_ready: no RUN before this cycle.
        room_at: no transfer before this cycle.
        source_ready: per source and residual, per frame: when it is there.
    """
    latest = max((max(t) for t in source_ready), default=0)
    gaps = slot.gaps(
        max(slot_ready, min((min(t) for t in source_ready), default=0)), plan.run_cycles
    )
    for number, (start, end) in enumerate(gaps):
        last = number == len(gaps) - 1
        trial = dma if last else dma.copy()
        begin = max(start, slot_ready)
        placed = _attempt(plan, trial, begin, room_at, source_ready, latest)
        if last or end is None or placed.run_end <= end:
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
    latest: int,
) -> Placed:
    setting = plan.setting
    on_chip, batch = setting.on_chip, setting.batch
    chip_ready = [t for i, t in enumerate(source_ready) if on_chip >> i & 1]
    single = batch == 1
    times: list[tuple[int, int, int, int]] = []
    run_ends: list[int] = []
    store_ends: list[int] = []
    frames = [0] * batch
    place = dma.place
    run_end, end = begin, 0
    for step in plan.steps:
        first, last = step.chunk.frames
        weight_start = input_start = store_start = -1
        run_start = run_end
        if step.weights is not None:
            ready = room_at
            if step.weight_wait >= 0 and run_ends[step.weight_wait] > ready:
                ready = run_ends[step.weight_wait]
            weight_start = place(ready, step.weight_cycles)
            loaded = weight_start + step.weight_cycles
            if loaded > run_start:
                run_start = loaded
        if step.inputs:
            ready = room_at
            if step.input_wait >= 0 and run_ends[step.input_wait] > ready:
                ready = run_ends[step.input_wait]
            there = (
                latest
                if single
                else max(max(source_ready[t.source][first:last]) for t in step.inputs)
            )
            if there > ready:
                ready = there
            input_start = place(ready, step.input_cycles)
            loaded = input_start + step.input_cycles
            if loaded > run_start:
                run_start = loaded
        for ready_frames in chip_ready:
            there = ready_frames[0] if single else max(ready_frames[first:last])
            if there > run_start:
                run_start = there
        if step.store_wait >= 0 and store_ends[step.store_wait] > run_start:
            run_start = store_ends[step.store_wait]
        run_end = run_start + step.run_cycles
        done = run_end
        if step.store is not None:
            store_start = place(run_end, step.store_cycles)
            done = store_start + step.store_cycles
        run_ends.append(run_end)
        store_ends.append(done)
        times.append((weight_start, input_start, run_start, store_start))
        if done > end:
            end = done
        if step.finishes:
            for f in range(first, last):
                if done > frames[f]:
                    frames[f] = done
    return Placed(dma, dma, times, run_end, end, tuple(frames))
