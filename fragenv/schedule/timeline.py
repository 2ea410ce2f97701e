"""Timelines of units and of shared resources, small arrays that are cheap to copy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]


@njit(cache=True, inline="always")
def insert(starts, ends, count, ready, duration):  # type: ignore[no-untyped-def]
    """Take the earliest gap of ``duration`` cycles from ``ready`` on among ``count`` sorted busy
    intervals; touching intervals are merged. Returns (start, new count)."""
    if count == 0 or ready > ends[count - 1]:
        starts[count] = ready
        ends[count] = ready + duration
        return ready, count + 1
    # the first interval that ends after ``ready``, in growing leaps from the end: it is near there
    high, leap = count, 1
    low = count - 1
    while low >= 0 and ends[low] > ready:
        high = low
        low -= leap
        leap *= 2
    low = max(0, low + 1)
    while low < high:
        middle = (low + high) // 2
        if ends[middle] > ready:
            high = middle
        else:
            low = middle + 1
    start = ready
    while low < count and starts[low] < start + duration:
        start = ends[low]
        low += 1
    end = start + duration
    before = low > 0 and ends[low - 1] == start
    after = low < count and starts[low] == end
    if before and after:
        ends[low - 1] = ends[low]
        for i in range(low, count - 1):
            starts[i], ends[i] = starts[i + 1], ends[i + 1]
        return start, count - 1
    if before:
        ends[low - 1] = end
        return start, count
    if after:
        starts[low] = start
        return start, count
    for i in range(count, low, -1):
        starts[i], ends[i] = starts[i - 1], ends[i - 1]
    starts[low], ends[low] = start, end
    return start, count + 1


class Timeline:
    """The busy intervals of one unit, sorted, touching ones merged. The arrays may be longer than
    ``count``; states share them, so they are copied before they are written."""

    __slots__ = ("count", "ends", "starts")

    def __init__(
        self, starts: Ints | None = None, ends: Ints | None = None, count: int = 0
    ) -> None:
        self.starts: Ints = np.empty(0, dtype=np.int64) if starts is None else starts
        self.ends: Ints = np.empty(0, dtype=np.int64) if ends is None else ends
        self.count = count

    @property
    def last(self) -> int:
        """When the unit is free for good."""
        return int(self.ends[self.count - 1]) if self.count else 0

    def placed(self, ready: int, duration: int) -> tuple[int, Timeline]:
        """The earliest start of ``duration`` cycles from ``ready`` on, and the timeline with it."""
        count = self.count
        starts = np.empty(count + 1, dtype=np.int64)
        ends = np.empty(count + 1, dtype=np.int64)
        starts[:count], ends[:count] = self.starts[:count], self.ends[:count]
        start, count = insert(starts, ends, count, ready, duration)
        return start, Timeline(starts, ends, count)

    def gaps(self, ready: int, duration: int) -> list[tuple[int, int | None]]:
        """The gaps (start, end; None for the last) that hold ``duration`` cycles from ``ready``."""
        result: list[tuple[int, int | None]] = []
        previous = 0
        for start, end in zip(
            self.starts[: self.count].tolist(), self.ends[: self.count].tolist(), strict=True
        ):
            if start - max(previous, ready) >= duration:
                result.append((previous, start))
            previous = end
        result.append((previous, None))
        return result


def free_from(releases: list[tuple[int, int]], held: int, need: int, capacity: int) -> int:
    """The earliest time from which ``need`` more of a resource is always free.

    ``held`` is taken for good; ``releases`` are (time, amount) of what is given back later. What
    starts late counts from the beginning, so that the answer can only be later than necessary.
    """
    free = capacity - held - need
    if free >= sum(amount for _, amount in releases):
        return 0
    taken = 0
    for end, amount in sorted(releases, reverse=True):
        taken += amount
        if taken > free:
            return end
    return 0
