"""Where a job has to pause so that jobs fit together when one begins every period.

A job takes some of several resources at every time. Wrapped around the period it meets the jobs
before and after; it is laid down change by change, and holds what it has until the next fits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]

#: parts of a period for which it is known how much is taken
PARTS = 128


class Uses(NamedTuple):
    """Columns: ``amounts`` of ``resources`` are taken from ``starts`` to ``ends``."""

    starts: Ints
    ends: Ints
    resources: Ints
    amounts: Ints


def pauses(uses: Uses, capacities: Ints, period: int) -> tuple[Ints, Ints] | None:
    """Times of a job, and the cycles to add to it from each on, to the accuracy of a part of the
    period; None where no pauses help."""
    times, which = np.unique(np.concatenate([uses.starts, uses.ends]), return_inverse=True)
    levels = np.zeros((len(times), len(capacities)), dtype=np.int64)
    resources = np.concatenate([uses.resources, uses.resources])
    np.add.at(levels, (which, resources), np.concatenate([uses.amounts, -uses.amounts]))
    part = max(1.0, period / PARTS)
    begin = np.round(times / part).astype(np.int64)
    added = _fit(begin, levels.cumsum(axis=0), round(period / part), capacities)
    return None if added[0] < 0 else (times, np.round(added * part).astype(np.int64))


@njit(cache=True)
def _fit(begin, levels, parts, capacities):  # type: ignore[no-untyped-def]
    """Parts of a period to add from each change of levels on; the first is -1 where jobs cannot
    fit together."""
    used = np.zeros((parts, len(capacities)), dtype=np.int64)
    added = np.zeros(len(begin), dtype=np.int64)
    pause = 0
    for k in range(len(begin) - 1):
        length = begin[k + 1] - begin[k]
        while not _fits(used, begin[k] + pause, length, levels[k], capacities):
            here = (begin[k] + pause) % parts
            pause += 1
            if k:
                used[here] += levels[k - 1]
            if pause > 2 * parts or (used[here] > capacities).any():
                added[0] = -1
                return added
        for part in range(begin[k] + pause, begin[k + 1] + pause):
            used[part % parts] += levels[k]
        added[k] = pause
    added[-1] = pause
    return added


@njit(cache=True)
def _fits(used, start, length, levels, capacities):  # type: ignore[no-untyped-def]
    """Whether levels fit from a part on; where they last longer than a period, they meet
    themselves."""
    parts = len(used)
    rounds, rest = length // parts, length % parts
    for part in range(min(length, parts)):
        times = rounds + (1 if part < rest else 0)
        if (used[(start + part) % parts] + levels * times > capacities).any():
            return False
    return True
