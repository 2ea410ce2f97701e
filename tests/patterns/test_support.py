"""has_disjoint() against every choice of sets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fragenv.patterns.support import has_disjoint


def naive(sets: list[frozenset[int]], wanted: int) -> bool:
    return any(
        all(not a & b for a, b in itertools.combinations(choice, 2))
        for choice in itertools.combinations(sets, wanted)
    )


@settings(max_examples=400)
@given(
    st.lists(st.frozensets(st.integers(0, 7), min_size=1, max_size=3), max_size=9),
    st.integers(0, 5),
)
def test_has_disjoint__equals_naive_choice(sets: list[frozenset[int]], wanted: int) -> None:
    assert has_disjoint([tuple(sorted(s)) for s in sets], wanted) == naive(sets, wanted)


@pytest.mark.parametrize(
    ("sets", "wanted", "answer"),
    [
        # the first set meets both others: order alone says 1
        ([(1, 2), (0, 1), (2, 3)], 2, True),
        # no element is in all three, yet every two meet
        ([(0, 1), (1, 2), (0, 2)], 2, False),
    ],
)
def test_has_disjoint__where_the_quick_answers_fail(
    sets: list[tuple[int, ...]], wanted: int, answer: bool
) -> None:
    assert has_disjoint(sets, wanted) is answer
