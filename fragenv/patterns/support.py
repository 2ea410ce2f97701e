"""Is a pattern frequent: does it occur often enough without its occurrences sharing an operator?

Counting occurrences that overlap would not do: one activation that ten convolutions read makes ten
occurrences of activation-and-convolution, of which a cover can use one. The number of disjoint
occurrences never grows when a pattern grows, which lets mining stop at an infrequent pattern
(Vanetik, Gudes, Shimony: Computing frequent graph patterns from semistructured data, ICDM 2002).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

Places = Sequence[Iterable[int]]


def has_disjoint(places: Places, wanted: int) -> bool:
    """Whether ``wanted`` of the sets ``places`` share no element, two by two.

    Two quick answers come first: sets taken in order may do, and if ``wanted - 1`` elements hit
    every set, no ``wanted`` sets are disjoint. Only between the two a search is needed.
    """
    if wanted <= 0:
        return True
    if len(places) < wanted:
        return False
    if _greedy(places) >= wanted:
        return True
    sets = [frozenset(place) for place in places]
    return not _hit_by(sets, wanted - 1) and _search(sets, wanted)


def _greedy(places: Places) -> int:
    used: set[int] = set()
    count = 0
    for place in places:
        if used.isdisjoint(place):
            used.update(place)
            count += 1
    return count


def _hit_by(sets: list[frozenset[int]], elements: int) -> bool:
    """Whether the most frequent elements, chosen one after the other, hit every set."""
    for _ in range(elements):
        if not sets:
            return True
        often = Counter(element for s in sets for element in s).most_common(1)[0][0]
        sets = [s for s in sets if often not in s]
    return not sets


def _search(sets: list[frozenset[int]], wanted: int) -> bool:
    """Some best choice holds the first set or one that meets it: otherwise it could be added."""
    if wanted == 0:
        return True
    if len(sets) < wanted:
        return False
    first = sets[0]
    return any(
        _search([s for s in sets if s.isdisjoint(taken)], wanted - 1)
        for taken in sets
        if not taken.isdisjoint(first)
    )
