"""The fewest DRAM bytes that any schedule of a problem moves, by all of its tasks at once.

``StateBounds`` adds up what every operator moves at least. Here the tasks fit together: every
operator is in one task, and a tensor is read on the chip only where the task that makes it keeps it
there. The relaxation of that integer program (set partitioning with parts of tasks) is a bound.
Left out, so that it stays one: that kept tensors need room at the same time, and swaps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import linprog

from fragenv.errors import FragenvError
from fragenv.patterns.sparse_rows import matrix_of
from fragenv.schedule.bounds_task import closed_form

if TYPE_CHECKING:
    from fragenv.schedule.choices import Choice
    from fragenv.schedule.problem import Problem

#: sources of a task up to which each set of those on the chip is a task of its own; with more, the
#: sources that may be on the chip cost nothing
MAX_FREE = 3
#: by how much the solver's optimum may be too high, relative
TOLERANCE = 1e-7


class _Task(NamedTuple):
    """What tells tasks apart here; the bytes are the least of all that are alike."""

    operators: tuple[int, ...]
    kept: tuple[int, ...]
    held: tuple[int, ...]
    loaded: tuple[int, ...]


def least_bytes(problem: Problem) -> int:
    """Bytes that pass the DRAM port in every schedule of ``problem``, without configurations.

    Raises:
        FragenvError: the solver of the linear program failed.
    """
    keepable = {t for options in problem.choices for c in options if c.keep for t in c.outputs}
    moved: dict[_Task, int] = {}
    for options in problem.choices:
        for choice in options:
            for task, size in _tasks(problem, choice, keepable):
                moved[task] = min(size, moved.get(task, size))
    return _Relaxation(problem, moved, sorted(keepable)).optimum()


def _tasks(problem: Problem, choice: Choice, keepable: set[int]) -> Iterator[tuple[_Task, int]]:
    """A choice for each set of its sources that may be on the chip, with the bytes that it moves
    at least by the tilings that some plan may have."""
    kept = choice.outputs if choice.keep else ()
    free = [i for i, tensor in enumerate(choice.sources) if tensor in keepable]
    if len(free) > MAX_FREE:
        layers = closed_form(problem, choice, frozenset(free)).layers
        yield _Task(choice.operators, kept, (), ()), sum(work.moved_bytes for work in layers)
        return
    for count in range(len(free) + 1):
        for chosen in combinations(free, count):
            held = tuple(sorted(choice.sources[i] for i in chosen))
            room = problem.chip.buffer_bytes
            room -= sum(problem.tensor_bytes[t] for t in {*kept, *held})
            bits = sum(1 << i for i in chosen)
            sizes = [t.dram_bytes for t in problem.tilings(choice, bits, 1, room)]
            if sizes:
                loaded = tuple(sorted(set(choice.sources) - set(held)))
                yield _Task(choice.operators, kept, held, loaded), min(sizes)


class _Relaxation:
    """The linear program: a variable per task and one per tensor that is kept and spilled later."""

    def __init__(self, problem: Problem, moved: dict[_Task, int], keepable: list[int]) -> None:
        self.tasks = list(moved)
        #: in units of the compulsory bytes, so that the figures are about 1
        self.unit = problem.bound.traffic_bytes
        self.costs = [size / self.unit for size in moved.values()]
        self.costs += [problem.tensor_bytes[t] / self.unit for t in keepable]
        self.rows: list[dict[int, float]] = []
        self.limits: list[float] = []
        #: per operator: the tasks that run it
        self.running: list[dict[int, float]] = [{} for _ in problem.operators]
        for number, task in enumerate(self.tasks):
            for node in task.operators:
                self.running[node][number] = 1.0
        makers: dict[int, list[int]] = defaultdict(list)
        for number, task in enumerate(self.tasks):
            for tensor in task.kept:
                makers[tensor].append(number)
        for place, tensor in enumerate(keepable):
            for node, read in enumerate(problem.reads):
                if tensor in read:
                    self._reads(tensor, makers[tensor], node, len(self.tasks) + place)

    def _reads(self, tensor: int, makers: list[int], node: int, spilled: int) -> None:
        """On the chip only what its maker keeps; from DRAM only what it does not keep, or what is
        spilled."""
        kept: dict[int, float] = dict.fromkeys(makers, -1.0)
        loaded: dict[int, float] = {spilled: -1.0, **dict.fromkeys(makers, 1.0)}
        for number in self.running[node]:
            if tensor in self.tasks[number].held:
                kept[number] = kept.get(number, 0.0) + 1.0
            if tensor in self.tasks[number].loaded:
                loaded[number] = loaded.get(number, 0.0) + 1.0
        self.rows += [kept, loaded]
        self.limits += [0.0, 1.0]

    def optimum(self) -> int:
        """The least bytes, rounded up."""
        count = len(self.costs)
        found = linprog(
            self.costs,
            A_ub=matrix_of(self.rows, count) if self.rows else None,
            b_ub=self.limits if self.rows else None,
            A_eq=matrix_of(self.running, count),
            b_eq=np.ones(len(self.running)),
            bounds=(0.0, 1.0),
            method="highs",
        )
        if found.x is None:
            raise FragenvError(f"no bound on DRAM bytes: {found.message}")
        return ceil(float(found.fun) * (1 - TOLERANCE) * self.unit)
