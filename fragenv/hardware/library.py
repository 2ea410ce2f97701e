"""The fragment library of a problem: which lane shapes are worth offering on a chip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fragenv.hardware.chip import Area, Chip
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.hardware.timing import ACC_PIXELS

if TYPE_CHECKING:
    from fragenv.schedule.shape import TaskShape

#: lanes that are tried on either side of the array; a shape is any pair whose product fits
LANES: tuple[int, ...] = (
    *range(1, 17),
    *range(18, 33, 2),
    *range(36, 65, 4),
    *(72, 80, 96, 112, 128, 160, 192, 256),
)
#: lane shapes that take the whole chip in turns, and pairs that share it
WHOLE_CHIP, PAIRS = 3, 2
#: depthwise fragments are the widest that fit in these shares of the chip
DEPTHWISE_SHARES = (1.0, 0.5, 0.25)


def build_library(shapes: Sequence[TaskShape], chip: Chip, batch: int) -> tuple[Fragment, ...]:
    """Fragments for tasks of the given shapes, largest first.

    MAC fragments carry every further stage that some task needs, so that one of them alone can run
    a whole network; depthwise fragments and one fragment without an array stand beside them.
    Lane shapes are Pareto-optimal in multipliers against cycles for some task. Of those: the shape
    that is best for all tasks together, and those that lower the sum most when each task may take
    its best (the chip in turns); then the pairs that share the chip and work on different frames at
    the same time, each task on either (Shen et al., ISCA 2017).
    """
    stages: set[Stage] = set().union(*(s.stages for s in shapes))
    rest = stages - {Stage.MAC}
    depthwise = _depthwise(tuple(rest), chip) if Stage.DEPTHWISE in rest else []
    arrays = _distinct(s for s in shapes if s.array is Stage.MAC)
    fragments: list[Fragment] = []
    if arrays:
        lanes, cycles = _lane_cycles(arrays, chip, batch)
        # before the comparison: a shape that needs more accumulators than there are excludes none
        fits = [
            Fragment(int(i), int(o), tuple(stages)).bound_area(chip).fits(chip.area)
            for i, o in lanes
        ]
        lanes, cycles = lanes[fits], cycles[:, fits]
        keep = _pareto(lanes, cycles)
        lanes, cycles = lanes[keep], cycles[:, keep]
        # alone, a fragment is no faster than its weights arrive; a pair shares the DRAM port anyway
        loads = np.array([s.weight_bytes / chip.dram_bytes_per_cycle for s in arrays])
        bounded = np.maximum(cycles, loads[:, None])
        candidates = [Fragment(int(i), int(o), tuple(stages)) for i, o in lanes]
        areas = [f.bound_area(chip) for f in candidates]
        fragments += _in_turns(candidates, areas, bounded, chip.area)
        fragments += _in_pairs(candidates, areas, cycles, chip.area)
        if depthwise:
            # a partner for the depthwise fragment of middle size
            room = chip.area - depthwise[len(depthwise) // 2].bound_area(chip)
            fragments += _in_turns(candidates, areas, bounded, room)[:1]
    fragments += depthwise
    vector = tuple(rest - {Stage.DEPTHWISE})
    if vector or any(s.array is None for s in shapes):
        lanes_out = min(64, max(8, chip.dram_bytes_per_cycle))
        while not Fragment(1, lanes_out, vector).bound_area(chip).fits(chip.area) and lanes_out > 1:
            lanes_out //= 2
        fragments.append(Fragment(1, lanes_out, vector))
    return tuple(f for f in dict.fromkeys(fragments) if f.bound_area(chip).fits(chip.area))


def _depthwise(stages: tuple[Stage, ...], chip: Chip) -> list[Fragment]:
    found = []
    for share in DEPTHWISE_SHARES:
        total = chip.area
        room = Area(*(int(r * share) for r in (total.multipliers, total.lut, total.local_bytes)))
        fragments = (Fragment(1, lanes, stages) for lanes in reversed(LANES))
        found += [f for f in fragments if f.bound_area(chip).fits(room)][:1]
    return found


def _distinct(shapes: Iterable[TaskShape]) -> list[TaskShape]:
    return list(dict.fromkeys(shapes))


def _lane_cycles(
    shapes: Sequence[TaskShape], chip: Chip, batch: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Lane pairs (n, 2) that fit the chip, and the array's cycles (shapes, n) for each shape."""
    pairs = np.array(
        [(i, o) for i in LANES for o in LANES if i * o <= chip.multipliers], dtype=np.int64
    )
    lanes_in, lanes_out = pairs[:, 0], pairs[:, 1]
    rows = []
    for s in shapes:
        blocks = s.groups * -(-(s.k // s.groups) // lanes_out)
        blocks = blocks * -(-(s.c // s.groups) // lanes_in) * s.kernel
        pixels = s.window.rows_out * s.array_cols * batch
        beats = np.maximum(pixels, lanes_in * max(1, -(-pixels // ACC_PIXELS)))
        rows.append(blocks * beats)
    return pairs, np.array(rows, dtype=np.float64)


def _pareto(lanes: npt.NDArray[np.int64], cycles: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which lane pairs are Pareto-optimal (multipliers, cycles) for at least one shape."""
    area = lanes[:, 0] * lanes[:, 1]
    keep = np.zeros(len(lanes), dtype=np.bool_)
    for row in cycles:
        order = np.lexsort((row, area))
        best = np.inf
        for index in order:
            if row[index] < best:
                best = row[index]
                keep[index] = True
    return keep


def _in_turns(
    candidates: list[Fragment], areas: list[Area], cycles: npt.NDArray[np.float64], room: Area
) -> list[Fragment]:
    """Greedy cover: shapes within ``room`` that lower the sum over tasks of the cycles on the best
    chosen shape most, one at a time; fewer than ``WHOLE_CHIP`` where one more gains under 1%."""
    fits = np.array([a.fits(room) for a in areas], dtype=np.bool_)
    if not fits.any():
        return []
    best = np.full(len(cycles), np.inf)
    chosen: list[Fragment] = []
    for _ in range(WHOLE_CHIP):
        totals = np.where(fits, np.minimum(best[:, None], cycles).sum(axis=0), np.inf)
        index = int(totals.argmin())
        if chosen and totals[index] > 0.99 * best.sum():
            break
        best = np.minimum(best, cycles[:, index])
        chosen.append(candidates[index])
    return chosen


def _in_pairs(
    candidates: list[Fragment], areas: list[Area], cycles: npt.NDArray[np.float64], room: Area
) -> list[Fragment]:
    """The ``PAIRS`` best pairs that fit together without a fragment in common, by the time of the
    busier one when the tasks are divided between them as well as possible (divided tasks
    allowed)."""
    if not candidates:
        return []
    taken = np.array([(a.multipliers, a.lut, a.local_bytes) for a in areas])
    limit = np.array([room.multipliers, room.lut, room.local_bytes])
    first, second = np.triu_indices(len(candidates), k=1)
    fits = ((taken[first] + taken[second]) <= limit).all(axis=1)
    first, second = first[fits], second[fits]
    if not len(first):
        return []
    a, b = cycles[:, first], cycles[:, second]  # (shapes, pairs)
    order = np.argsort(a / b, axis=0)
    a, b = np.take_along_axis(a, order, axis=0), np.take_along_axis(b, order, axis=0)
    zero = np.zeros((1, a.shape[1]))
    on_first = np.concatenate([zero, np.cumsum(a, axis=0)])
    on_second = np.concatenate([np.cumsum(b[::-1], axis=0)[::-1], zero])
    # the first k tasks on the one, the others on the other
    busier = np.maximum(on_first, on_second).min(axis=0)
    chosen: list[Fragment] = []
    for index in np.argsort(busier, kind="stable"):
        pair = [candidates[first[index]], candidates[second[index]]]
        if not set(pair) & set(chosen):
            chosen += pair
        if len(chosen) == 2 * PAIRS:
            break
    return chosen
