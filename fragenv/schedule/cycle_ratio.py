"""The largest cycle ratio of an event graph, rounded up: the least whole period it can keep.

Events repeat every period. An arc (a, b, weight, tokens) says that b of period m comes at least
``weight`` cycles after a of period m - tokens. The graph can repeat with period P exactly where no
cycle has a positive sum of weight - P x tokens, so the least P is the largest ratio of weights to
tokens over all cycles (the eigenvalue of the max-plus matrix: Baccelli, Cohen, Olsder, Quadrat,
"Synchronization and Linearity", Wiley 1992, theorem 3.28). It is found from below: as long as there
is a positive cycle, its ratio is the next P (compared with others by Dasdan, "Experimental analysis
of the fastest optimum cycle ratio and mean algorithms", TODAES 9(4), 2004).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]

_NONE = -1


class Arcs(NamedTuple):
    """Arcs as columns, best sorted so that most events come after what they wait for in the same
    period."""

    sources: Ints
    targets: Ints
    weights: Ints
    tokens: Ints


def least_period(events: int, arcs: Arcs, first: int, limit: int) -> tuple[int, Ints] | None:
    """The least whole period, from ``first`` to ``limit``, and the earliest times of the events in
    it; None where there is none, because the period is longer or events wait for each other."""
    times = np.zeros(events, dtype=np.int64)
    period = int(_search(*arcs, first, limit, times))
    return None if period == _NONE else (period, times)


@njit(cache=True)
def _search(sources, targets, weights, tokens, period, limit, times):  # type: ignore[no-untyped-def]
    reached_by = np.full(len(times), -1, dtype=np.int64)
    seen = np.empty(len(times), dtype=np.int64)
    while period <= limit:
        if not _pass(sources, targets, weights, tokens, period, times, reached_by):
            return period
        start = _on_cycle(sources, reached_by, seen)
        if start < 0:
            continue
        weight, token, event = 0, 0, start
        while True:
            arc = reached_by[event]
            weight, token = weight + weights[arc], token + tokens[arc]
            event = sources[arc]
            if event == start:
                break
        if token <= 0:
            break
        period = -(-weight // token)
        times[:] = 0
        reached_by[:] = -1
    return _NONE


@njit(cache=True)
def _pass(sources, targets, weights, tokens, period, times, reached_by):  # type: ignore[no-untyped-def]
    """Move events back to where their arcs allow, once per arc; whether any moved."""
    moved = False
    for arc in range(len(sources)):
        time = times[sources[arc]] + weights[arc] - period * tokens[arc]
        if time > times[targets[arc]]:
            times[targets[arc]] = time
            reached_by[targets[arc]] = arc
            moved = True
    return moved


@njit(cache=True)
def _on_cycle(sources, reached_by, seen):  # type: ignore[no-untyped-def]
    """An event on a cycle of the arcs ``reached_by``, which is then a positive one; -1 for none.
    ``seen`` is overwritten."""
    seen[:] = -1
    for start in range(len(reached_by)):
        event = start
        while seen[event] < 0:
            seen[event] = start
            if reached_by[event] < 0:
                break
            event = sources[reached_by[event]]
        else:
            if seen[event] == start:
                return event
    return -1
