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
LANES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 28, 30, 32)
LANES += (36, 40, 44, 48, 52, 56, 60, 64, 72, 80, 96, 112, 128, 160, 192, 256)
#: (share of the chip, how many lane shapes): large fragments take the chip in turns, smaller ones
#: share it
BUDGETS = ((1.0, 3), (0.5, 2), (0.25, 1))
DEPTHWISE_SHARES = (0.25, 0.125)


def build_library(shapes: Sequence[TaskShape], chip: Chip, batch: int) -> tuple[Fragment, ...]:
    """Fragments for tasks of the given shapes, largest first.

    MAC fragments carry every further stage that some task needs, so that one of them alone can run
    a whole network; depthwise fragments and one fragment without an array stand beside them.
    Lane shapes are Pareto-optimal in multipliers against cycles for some task; of those, for each
    budget the one that is best for all tasks together, then those that lower the sum most when
    each task may choose.
    """
    stages: set[Stage] = set().union(*(s.stages for s in shapes))
    arrays = _distinct(s for s in shapes if s.array is Stage.MAC)
    fragments: list[Fragment] = []
    if arrays:
        lanes, cycles = _lane_cycles(arrays, chip, batch)
        keep = _pareto(lanes, cycles)
        lanes, cycles = lanes[keep], cycles[:, keep]
        for share, count in BUDGETS:
            chosen = _select(lanes, cycles, _scaled(chip.area, share), tuple(sorted(stages)), count)
            fragments += [f for f in chosen if f not in fragments]
    rest = stages - {Stage.MAC}
    if Stage.DEPTHWISE in rest:
        for share in DEPTHWISE_SHARES:
            area = _scaled(chip.area, share)
            lanes_out = max(
                1, min(area.multipliers, area.local_bytes // (8 * ACC_PIXELS), max(LANES))
            )
            fragments.append(Fragment(1, lanes_out, tuple(rest)))
    vector = tuple(rest - {Stage.DEPTHWISE})
    if vector or any(s.array is None for s in shapes):
        fragments.append(Fragment(1, min(64, max(8, chip.dram_bytes_per_cycle)), vector))
    return tuple(f for f in dict.fromkeys(fragments) if f.area.fits(chip.area))


def _distinct(shapes: Iterable[TaskShape]) -> list[TaskShape]:
    return list(dict.fromkeys(shapes))


def _scaled(area: Area, share: float) -> Area:
    return Area(int(area.multipliers * share), int(area.lut * share), int(area.local_bytes * share))


def _lane_cycles(
    shapes: Sequence[TaskShape], chip: Chip, batch: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Lane pairs (n, 2) that fit the chip, and cycles (shapes, n) of each shape on each: the
    array's, or the time to load the weights where that is more."""
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
        rows.append(np.maximum(blocks * beats, s.weight_bytes / chip.dram_bytes_per_cycle))
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


def _select(
    lanes: npt.NDArray[np.int64],
    cycles: npt.NDArray[np.float64],
    budget: Area,
    stages: tuple[Stage, ...],
    count: int,
) -> list[Fragment]:
    """Greedy cover: ``count`` shapes within ``budget`` that lower the sum over tasks of the
    cycles on the best chosen shape most, one at a time; fewer where one more gains under 1%."""
    candidates = [Fragment(int(i), int(o), stages) for i, o in lanes]
    fits = np.array([f.area.fits(budget) for f in candidates], dtype=np.bool_)
    if not fits.any():
        return []
    best = np.full(len(cycles), np.inf)
    chosen: list[Fragment] = []
    for _ in range(count):
        totals = np.where(fits, np.minimum(best[:, None], cycles).sum(axis=0), np.inf)
        index = int(totals.argmin())
        if chosen and totals[index] > 0.99 * best.sum():
            break
        best = np.minimum(best, cycles[:, index])
        chosen.append(candidates[index])
    return chosen
