"""Lanes for the circuits of a fused fragment: the allocation whose busiest circuit is fastest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fragenv.hardware.chip import Area
from fragenv.hardware.fragment import Fragment


class Option(NamedTuple):
    """A circuit that a layer may have, its area, and the cycles that the layer takes on it."""

    circuit: Fragment
    area: Area
    cycles: float


def balanced(layers: Sequence[Sequence[Option]], room: Area) -> tuple[Fragment, ...] | None:
    """A circuit for each layer, together within ``room``, such that the layer that takes longest
    takes the fewest cycles; of equal ones those with the fewest multipliers. None where nothing
    fits.

    Exact: bisection over the cycles that some option takes, with a complete search for circuits
    that are at least that fast.
    """
    limits = sorted({option.cycles for options in layers for option in options})
    low, high = 0, len(limits)
    best: tuple[Fragment, ...] | None = None
    while low < high:
        middle = (low + high) // 2
        found = _smallest(layers, limits[middle], room)
        if found is None:
            low = middle + 1
        else:
            best, high = found, middle
    return best


def _smallest(
    layers: Sequence[Sequence[Option]], limit: float, room: Area
) -> tuple[Fragment, ...] | None:
    """Circuits that keep the limit with the fewest multipliers, within ``room``."""
    choices = [_pareto([o for o in options if o.cycles <= limit]) for options in layers]
    if not all(choices):
        return None
    least = [min(option.area.multipliers for option in options) for options in choices]
    best: tuple[int, tuple[Fragment, ...]] | None = None

    def search(chosen: tuple[Fragment, ...], left: Area, used: int) -> None:
        nonlocal best
        number = len(chosen)
        if best is not None and used + sum(least[number:]) >= best[0]:
            return
        if number == len(choices):
            best = used, chosen
            return
        for circuit, area, _ in choices[number]:
            if area.fits(left):
                search((*chosen, circuit), left - area, used + area.multipliers)

    search((), room, 0)
    return best[1] if best is not None else None


def _pareto(options: list[Option]) -> list[Option]:
    """Options that no other one undercuts in every resource, fewest multipliers first."""
    ordered = sorted(options, key=lambda o: (o.area.multipliers, o.area.lut, o.area.local_bytes))
    kept: list[Option] = []
    for option in ordered:
        if not any(other.area.fits(option.area) for other in kept):
            kept.append(option)
    return kept
