"""Lanes of a pipeline's circuits against every combination."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given, settings
from strategies import seeds

from fragenv.hardware.balance import Option, balanced
from fragenv.hardware.chip import Area
from fragenv.hardware.fragment import Fragment, Stage


def option(multipliers: int, lut: int, local_bytes: int, cycles: int) -> Option:
    """An option whose circuit is recognised by all of its figures."""
    circuit = Fragment(1 + multipliers * 1000 + lut, 1 + local_bytes * 1000 + cycles, (Stage.MAC,))
    return Option(circuit, Area(multipliers, lut, local_bytes), cycles)


def random_options(rng: random.Random) -> list[list[Option]]:
    return [
        [
            option(rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 12))
            for _ in range(rng.randint(1, 6))
        ]
        for _ in range(rng.randint(1, 4))
    ]


def by_brute_force(layers: list[list[Option]], room: Area) -> tuple[float, int] | None:
    """(cycles of the slowest layer, multipliers) of the best combination that fits."""
    found = [
        (max(o.cycles for o in chosen), sum(o.area.multipliers for o in chosen))
        for chosen in product(*layers)
        if sum((o.area for o in chosen), Area()).fits(room)
    ]
    return min(found, default=None)


@settings(max_examples=300, deadline=None)
@given(seeds)
def test_balanced__is_the_best_of_all_combinations(seed: int) -> None:
    rng = random.Random(seed)
    layers = random_options(rng)
    room = Area(*(rng.randint(3, 25) for _ in range(3)))
    chosen, expected = balanced(layers, room), by_brute_force(layers, room)
    if chosen is None:
        assert expected is None
        return
    assert len(chosen) == len(layers)
    # circuits with equal figures may stand for each other: look at the figures
    options = [
        next(o for o in own if o.circuit == c) for own, c in zip(layers, chosen, strict=True)
    ]
    assert sum((o.area for o in options), Area()).fits(room)
    found = max(o.cycles for o in options), sum(o.area.multipliers for o in options)
    assert found == expected


def test_balanced__gives_the_layer_with_most_work_most() -> None:
    layers = [[option(m, 1, 1, work // m) for m in (1, 2, 4, 8)] for work in (8, 16, 32)]
    chosen = balanced(layers, Area(14, 10, 10))
    assert chosen == tuple(o[i].circuit for o, i in zip(layers, (1, 2, 3), strict=True))


@pytest.mark.parametrize("room", [Area(5, 9, 9), Area(9, 5, 9), Area(9, 9, 5)])
def test_balanced__nothing_fits(room: Area) -> None:
    assert balanced([[option(3, 3, 3, 1)], [option(3, 3, 3, 1)]], room) is None


def test_balanced__no_option_for_a_layer() -> None:
    assert balanced([[option(1, 1, 1, 1)], []], Area(9, 9, 9)) is None
