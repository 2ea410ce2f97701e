"""Timelines of units and of shared resources, small lists that are cheap to copy."""

from __future__ import annotations

from bisect import bisect_right


class Timeline:
    """The busy intervals of one unit, sorted, touching ones merged."""

    __slots__ = ("ends", "starts")

    def __init__(self, starts: list[int] | None = None, ends: list[int] | None = None) -> None:
        self.starts = starts if starts is not None else []
        self.ends = ends if ends is not None else []

    def copy(self) -> Timeline:
        return Timeline(self.starts.copy(), self.ends.copy())

    @property
    def last(self) -> int:
        """When the unit is free for good."""
        return self.ends[-1] if self.ends else 0

    def place(self, ready: int, duration: int) -> int:
        """Take the earliest gap of ``duration`` cycles that starts at ``ready`` or later; returns
        its start."""
        starts, ends = self.starts, self.ends
        if not ends or ready >= ends[-1]:
            if ends and ready == ends[-1]:
                ends[-1] = ready + duration
            else:
                starts.append(ready)
                ends.append(ready + duration)
            return ready
        i = bisect_right(ends, ready)  # the first interval that ends after ``ready``
        count = len(starts)
        start = ready
        while i < count and starts[i] < start + duration:
            start = ends[i]
            i += 1
        end = start + duration
        before = i > 0 and ends[i - 1] == start
        after = i < count and starts[i] == end
        if before and after:
            ends[i - 1] = ends[i]
            del starts[i], ends[i]
        elif before:
            ends[i - 1] = end
        elif after:
            starts[i] = start
        else:
            starts.insert(i, start)
            ends.insert(i, end)
        return start

    def gaps(self, ready: int, duration: int) -> list[tuple[int, int | None]]:
        """The gaps (start, end; None for the last) that hold ``duration`` cycles from ``ready``."""
        result: list[tuple[int, int | None]] = []
        previous = 0
        for start, end in zip(self.starts, self.ends, strict=True):
            if start - max(previous, ready) >= duration:
                result.append((previous, start))
            previous = end
        result.append((previous, None))
        return result

    def reserve(self, start: int, end: int) -> None:
        """Take [start, end), which must be free."""
        if self.place(start, end - start) != start:
            raise AssertionError(f"[{start}, {end}) is not free")


def free_from(releases: list[tuple[int, int]], held: int, need: int, capacity: int) -> int:
    """The earliest time from which ``need`` more of a resource is always free.

    ``held`` is taken for good; ``releases`` are (time, amount) of what is given back later. What
    starts late counts from the beginning, so that the answer can only be later than necessary.
    """
    free = capacity - held - need
    time = 0
    if free < sum(amount for _, amount in releases):
        taken = 0
        for end, amount in sorted(releases, reverse=True):
            taken += amount
            if taken > free:
                time = end
                break
    return time
