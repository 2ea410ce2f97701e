"""Sharing: one circuit for several patterns, wherever that is exactly legal.

Without sharing every pattern has a fragment of its own: the stages that it needs and the smallest
lanes that run its tasks almost as fast as any that fit. A shared fragment has the stages of all its
patterns, of which each bypasses those it does not use (``Fragment.implements``), and run-time loop
bounds; its lanes must run every pattern as fast as the pattern's own fragment does, but for
``slowdown``. So legality never depends on how alike patterns are: likeness only says which pairs to
try.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fragenv.errors import FragenvError
from fragenv.hardware.chip import Area, Chip
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.hardware.library import LANES

if TYPE_CHECKING:
    from fragenv.schedule.shape import TaskShape

#: a pattern's own fragment may be this much slower than the fastest that fits, to be smaller
OWN_SLACK = 0.05
#: part of the chip that one fragment may take: another one fits beside it
ROOM = 0.5

_Cycles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shared:
    """Patterns (by number) and the fragment that runs them."""

    patterns: tuple[int, ...]
    fragment: Fragment


@dataclass(frozen=True, slots=True)
class Sharing:
    """Which patterns share, and how many merges were tried to find out."""

    groups: tuple[Shared, ...]
    evaluations: int
    #: sum over fragments of the part of the chip that each takes
    area: float

    def fragment_of(self, pattern: int) -> Fragment:
        return next(g.fragment for g in self.groups if pattern in g.patterns)


class Sharer:
    """Tries merges of patterns on a chip.

    Args:
        tasks: for each pattern the shapes of its tasks, at least one.
        chip: where the fragments shall fit.
        slowdown: by how much any pattern's tasks may become slower together, at least 0.

    Raises:
        FragenvError: a pattern without tasks, a negative slowdown, or a pattern that no fragment
            in the room runs.
    """

    def __init__(
        self, tasks: Sequence[Sequence[TaskShape]], chip: Chip, slowdown: float = 0.05
    ) -> None:
        if slowdown < 0:
            raise FragenvError(f"slowdown must not be negative, got {slowdown}")
        self.chip = chip
        total = chip.area
        resources = (total.multipliers, total.lut, total.local_bytes)
        self.room = Area(*(int(resource * ROOM) for resource in resources))
        #: what fragments take of the chip while they are bound
        self._areas: dict[Fragment, Area] = {}
        self.lanes = [(i, o) for i in LANES for o in LANES if i * o <= self.room.multipliers]
        self.stages = [frozenset[Stage]().union(*(s.stages for s in shapes)) for shapes in tasks]
        self._seen: dict[TaskShape, _Cycles] = {}
        #: (patterns, lanes) cycles of all tasks of a pattern
        self.cycles = np.array([self._cycles(shapes, n) for n, shapes in enumerate(tasks)])
        self.own = tuple(self._own(number) for number in range(len(tasks)))
        own_cycles = [
            self.cycles[number, self.lanes.index((f.lanes_in, f.lanes_out))]
            for number, f in enumerate(self.own)
        ]
        self.allowed = (1 + slowdown) * np.array(own_cycles)

    def area(self, fragment: Fragment) -> float:
        """The largest part of any of the chip's resources that a fragment takes."""
        return self.chip.config_bytes_of(self._bound_area(fragment)) / self.chip.config_bytes

    def fits(self, fragment: Fragment) -> bool:
        """Whether another one of the same size fits beside it."""
        return self._bound_area(fragment).fits(self.room)

    def merged(self, patterns: Iterable[int]) -> Fragment | None:
        """The smallest fragment that may run all of ``patterns``; None if there is none."""
        numbers = sorted(patterns)
        fast = np.all(self.cycles[numbers] <= self.allowed[numbers, None], axis=0)
        stages = frozenset[Stage]().union(*(self.stages[n] for n in numbers))
        return self._smallest(stages, fast)

    def unshared(self) -> Sharing:
        """Every pattern on its own fragment."""
        return self._sharing({(n,): fragment for n, fragment in enumerate(self.own)}, 0)

    def share(self, proposals: Iterable[tuple[int, int]], evaluations: int) -> Sharing:
        """Merge the groups of proposed pairs, in their order, wherever it is legal and saves area.

        A pair that shares already costs nothing; any other is one evaluation, whether it is merged
        or not. Stops when ``evaluations`` are spent or no proposal is left.
        """
        groups: dict[tuple[int, ...], Fragment] = {(n,): f for n, f in enumerate(self.own)}
        home: dict[int, tuple[int, ...]] = {n: (n,) for n in range(len(self.own))}
        refused: set[frozenset[tuple[int, ...]]] = set()
        spent = 0
        for first, second in proposals:
            a, b = home[first], home[second]
            if a == b or frozenset((a, b)) in refused:
                continue
            if spent == evaluations:
                break
            spent += 1
            fragment = self.merged(a + b)
            if fragment is None or self._saving(groups, (a, b), fragment) <= 0:
                refused.add(frozenset((a, b)))
                continue
            both = tuple(sorted(a + b))
            del groups[a], groups[b]
            groups[both] = fragment
            home.update((number, both) for number in both)
        return self._sharing(groups, spent)

    def share_all(self, progress: Callable[[], None] = lambda: None) -> Sharing:
        """Try all pairs of groups and merge the one that saves most, until none saves anything."""
        groups: dict[tuple[int, ...], Fragment] = {(n,): f for n, f in enumerate(self.own)}
        tried: dict[tuple[tuple[int, ...], tuple[int, ...]], Fragment | None] = {}
        while True:
            progress()
            best, chosen = 0.0, None
            for pair in combinations(sorted(groups), 2):
                if pair not in tried:
                    tried[pair] = self.merged(pair[0] + pair[1])
                fragment = tried[pair]
                saved = self._saving(groups, pair, fragment) if fragment else 0.0
                if fragment and saved > best:
                    best, chosen = saved, (pair, fragment)
            if chosen is None:
                return self._sharing(groups, len(tried))
            (a, b), fragment = chosen
            del groups[a], groups[b]
            groups[tuple(sorted(a + b))] = fragment

    def _saving(
        self,
        groups: dict[tuple[int, ...], Fragment],
        pair: tuple[tuple[int, ...], tuple[int, ...]],
        fragment: Fragment,
    ) -> float:
        """Area of the fragments of two groups, less that of the one that replaces them."""
        return self.area(groups[pair[0]]) + self.area(groups[pair[1]]) - self.area(fragment)

    def _sharing(self, groups: dict[tuple[int, ...], Fragment], evaluations: int) -> Sharing:
        found = tuple(Shared(patterns, f) for patterns, f in sorted(groups.items()))
        return Sharing(found, evaluations, sum(self.area(g.fragment) for g in found))

    def _bound_area(self, fragment: Fragment) -> Area:
        if fragment not in self._areas:
            self._areas[fragment] = fragment.bound_area(self.chip)
        return self._areas[fragment]

    def _own(self, number: int) -> Fragment:
        stages = self.stages[number]
        cycles = np.where(self._fits(stages), self.cycles[number], np.inf)
        found = self._smallest(stages, cycles <= (1 + OWN_SLACK) * cycles.min())
        if found is None:
            raise FragenvError(
                f"pattern {number} ({'+'.join(sorted(stages)) or 'vector'}) fits no fragment that "
                f"takes at most {ROOM:.0%} of chip '{self.chip.name}'; choose a larger chip"
            )
        return found

    def _fits(self, stages: frozenset[Stage]) -> npt.NDArray[np.bool_]:
        return np.array([self.fits(Fragment(i, o, tuple(stages))) for i, o in self.lanes])

    def _smallest(self, stages: frozenset[Stage], wanted: Iterable[bool]) -> Fragment | None:
        """Of the wanted lanes that fit, those of the least area; the fewest input lanes first."""
        fragments = (
            Fragment(i, o, tuple(stages)) for (i, o), w in zip(self.lanes, wanted, strict=True) if w
        )
        fitting = (f for f in fragments if self.fits(f))
        return min(fitting, key=lambda f: (self.area(f), f.lanes_in, f.lanes_out), default=None)

    def _cycles(self, shapes: Sequence[TaskShape], number: int) -> _Cycles:
        if not shapes:
            raise FragenvError(f"pattern {number} has no task: a pattern needs at least one")
        for shape in shapes:
            if shape not in self._seen:
                self._seen[shape] = np.array(
                    [_task_cycles(shape, Fragment(i, o, ())) for i, o in self.lanes], dtype=float
                )
        total: _Cycles = np.sum([self._seen[shape] for shape in shapes], axis=0)
        return total


def _task_cycles(shape: TaskShape, fragment: Fragment) -> int:
    """Cycles of a whole task as one RUN of one frame."""
    blocks = shape.output_groups(fragment) * shape.blocks_per_group(fragment)
    return shape.run_cycles(fragment, (0, blocks), shape.window.rows_out, shape.out_rows, shape.k)
