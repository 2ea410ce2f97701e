"""Which states have the same future: the only dominance rule that exact search may use.

Commands are inserted into gaps and cannot be interrupted. Then a state whose units are free
earlier need not lead to the earlier end: a transfer that starts sooner may take the gap that a more
urgent one would have had (Graham's anomalies, SIAM J. Appl. Math. 17, 1969). So "no later on every
clock" is no dominance here, and is not used.

What holds without exception: the transition reads of a state nothing but what is fingerprinted
here. Of two states that agree in all of it the same decisions are legal, and place the same
commands at the same times. The latency at the end is the larger of what it was and of those
commands' ends, and the traffic is what it was and what they move. Hence the state with no more
latency and no more traffic so far costs no more in the end, whatever is decided.
"""

from __future__ import annotations

import hashlib

from fragenv.schedule.bounds_state import Least
from fragenv.schedule.state import NOWHERE, SRAM, State
from fragenv.schedule.timeline import Timeline


def fingerprint(state: State) -> bytes:
    """A digest of all that the transition reads of a state; 128 bits, so that no two of the
    states that a search can visit are ever confused."""
    uses = sorted(slot.last_use for slot in state.slots if slot is not None)
    slots = tuple(
        (
            slot.fragment,
            slot.bound_at,
            uses.index(slot.last_use),
            tuple(_busy(timeline) for timeline in slot.timelines),
        )
        if slot is not None
        else None
        for slot in state.slots
    )
    live = tuple(
        (t, where, state.ready[t], state.last_read[t] if where == SRAM else 0)
        for t, where in enumerate(state.location)
        if where != NOWHERE and (state.unread[t] or where == SRAM)
    )
    content = (
        state.done,
        live,
        slots,
        sorted(state.sram_releases),
        [(time, area) for time, area, _ in state.area_releases],
        state.untouched,
        state.first_fragments,
        _busy(state.dma),
        _busy(state.config_port),
    )
    return hashlib.blake2b(repr(content).encode(), digest_size=16).digest()


def _busy(timeline: Timeline) -> bytes:
    count = timeline.count
    return timeline.starts[:count].tobytes() + timeline.ends[:count].tobytes()


class Seen:
    """The states of a search by their futures, with what each has taken so far."""

    def __init__(self) -> None:
        self._best: dict[bytes, list[Least]] = {}

    def dominated(self, state: State) -> bool:
        """Whether a state with the same future has taken no more; otherwise it is remembered."""
        mine = Least(state.latency_cycles, state.traffic_bytes)
        known = self._best.setdefault(fingerprint(state), [])
        if any(k[0] <= mine[0] and k[1] <= mine[1] for k in known):
            return True
        known[:] = [k for k in known if not (mine[0] <= k[0] and mine[1] <= k[1])]
        known.append(mine)
        return False
