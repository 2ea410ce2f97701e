"""Covers: which tasks run a network, chosen all at once by what they take in closed form.

Every operator is in exactly one task. The cover minimises the default cost as if tasks ran one
after the other: an integer program (set partitioning) over the cycles, the DRAM bytes and the
working set of every task, by the tilings that ``Problem.plan`` chooses from. HiGHS mostly solves it
in about a second, so that ``apply`` calls are left for what closed forms do not know: how tasks
overlap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from agents.scheduler import BudgetSpentError, Meter, Partial
from fragenv.patterns.sparse_rows import matrix_of
from fragenv.schedule.choices import Choice, busiest_cycles
from fragenv.schedule.problem import MAX_SLOTS, Problem

#: relative gap at which the search for a cover stops, its nodes at most, and its seconds: nearly
#: all take one or two, some of GoogLeNet's with fused layers minutes
GAP, NODES, SECONDS = 0.002, 200, 10.0
#: with more columns than that, tasks count as equally good that differ by some times as much
MANY, COARSER = 12_000, 4


class Column(NamedTuple):
    """A task that may be chosen: choice ``number`` at ``node`` with the sources ``on_chip`` kept,
    its share of the default cost, and its working set in bytes."""

    node: int
    number: int
    choice: Choice
    on_chip: int
    cost: float
    sram: int


@dataclass(frozen=True, slots=True)
class Cover:
    """Disjoint tasks that run everything: the number of the choice at the first operator of each,
    and their cost one after the other."""

    tasks: tuple[tuple[int, int], ...]
    cost: float


class Covers:
    """Covers of one problem; what tasks take is kept between calls."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._choices: list[list[tuple[int, int, Choice]]] = [[] for _ in problem.library]
        for node, options in enumerate(problem.choices):
            for index, choice in enumerate(options):
                self._choices[choice.fragment].append((node, index, choice))
        #: tensors that some choice keeps
        self._keepable = {
            t for options in problem.choices for c in options if c.keep for t in c.outputs
        }
        self._known: dict[tuple[int, bool], list[Column]] = {}

    def estimate(self, fragments: Iterable[int]) -> float:
        """A quick lower estimate of the cost within a set of fragments: nothing is kept, every
        tensor passes DRAM once, parts of tasks count. Infinite where an operator has none."""
        columns = [c for f in sorted(fragments) for c in self._columns(f, quick=True)]
        found = _Program(self.problem, _undercut(columns)).solution(exact=False)
        return found[0] if found is not None else inf

    def best(
        self, fragments: Iterable[int], swaps: bool = False, fused: bool = True
    ) -> Cover | None:
        """The cheapest cover within a set of fragments; None where there is none.

        ``swaps``: each task comes after a swap; ``fused``: tasks of several layers count.
        """
        columns = [c for f in sorted(fragments) for c in self._columns(f, quick=False)]
        if not fused:
            columns = [c for c in columns if not c.choice.layers]
        if swaps:
            latency = self.problem.bound.latency_cycles
            bind = [cycles / latency for cycles in self.problem.bind_cycles]
            columns = [c._replace(cost=c.cost + bind[c.choice.fragment]) for c in columns]
        program = _Program(self.problem, _undercut(columns))
        program.keep()
        found = program.solution(exact=True)
        if found is None:
            return None
        tasks = sorted((c.node, c.number) for c in found[1])
        return Cover(tuple(tasks), found[0])

    def _columns(self, fragment: int, quick: bool) -> list[Column]:
        """The tasks of a fragment; ``quick``: without tilings, nothing kept."""
        if (fragment, quick) not in self._known:
            make = self._quick if quick else self._exact
            columns = [c for one in self._choices[fragment] for c in make(*one)]
            self._known[fragment, quick] = columns
        return self._known[fragment, quick]

    def _quick(self, node: int, index: int, choice: Choice) -> list[Column]:
        if choice.keep:
            return []
        problem = self.problem
        cycles = problem.batch * busiest_cycles(choice, problem.library[choice.fragment])
        moved = sum(problem.tensor_bytes[t] for t in (*choice.sources, *choice.outputs))
        moved += sum(chain.shape.weight_bytes for chain in choice.chains)
        return [Column(node, index, choice, 0, self._cost(cycles, moved), 0)]

    def _exact(self, node: int, index: int, choice: Choice) -> list[Column]:
        """A column for each tiling that fits beside what is kept, with no input on the chip, each
        alone, and all."""
        problem, sizes = self.problem, self.problem.tensor_bytes
        able = [1 << i for i, t in enumerate(choice.sources) if t in self._keepable]
        kept = sum(sizes[t] for t in choice.outputs) if choice.keep else 0
        found = []
        for on_chip in sorted({0, *able, sum(able)}):
            there = sum(sizes[t] for i, t in enumerate(choice.sources) if on_chip >> i & 1)
            room = problem.chip.buffer_bytes - kept - there
            for sram, cycles, moved in problem.tiling_costs(choice, on_chip, room):
                cost = self._cost(cycles, moved)
                found.append(Column(node, index, choice, on_chip, cost, sram))
        return found

    def _cost(self, cycles: int, moved: int) -> float:
        bound = self.problem.bound
        return cycles / bound.latency_cycles + moved / bound.traffic_bytes


def fuses(problem: Problem) -> bool:
    """Whether any task has several layers."""
    return any(choice.layers for options in problem.choices for choice in options)


def run_cover(meter: Meter, cover: Cover) -> Partial | None:
    """The schedule of a cover, its tasks in the order of their first operators as far as that can
    be; where none of them can run, some other one takes a part of it. None where the budget ends
    before."""
    problem = meter.problem
    stride = problem.num_choices + 1
    planned = [MAX_SLOTS + node * stride + index for node, index in cover.tasks]
    path = Partial(problem.initial())
    try:
        while not path.state.finished:
            legal = problem.legal_actions(path.state)
            runs = [a for a in legal if a >= MAX_SLOTS and (a - MAX_SLOTS) % stride != stride - 1]
            there = set(runs)
            action = next((a for a in planned if a in there), runs[0])
            path = path.then(action, meter.apply(path.state, action))
    except BudgetSpentError:
        return None
    return path


def _undercut(columns: Sequence[Column], gap: float = GAP) -> list[Column]:
    """The columns that no other one for the same operators undercuts in cost and working set;
    costs that differ by less than ``gap`` are equal, or by more where ``MANY`` are left."""
    alike: dict[tuple[object, ...], list[Column]] = defaultdict(list)
    for column in columns:
        choice = column.choice
        alike[choice.operators, choice.keep, column.on_chip].append(column)
    kept = []
    for group in alike.values():
        least = inf
        for column in sorted(group, key=lambda c: (c.sram, c.cost)):
            # smaller differences are within what closed forms know
            if column.cost < (1 - gap) * least:
                kept.append(column)
                least = column.cost
    if len(kept) > MANY and gap < 1 / COARSER:
        return _undercut(kept, gap * COARSER)
    return kept


class _Program:
    """An integer program with a variable per column: the rows, and what they may add up to."""

    def __init__(self, problem: Problem, columns: Sequence[Column]) -> None:
        self.problem, self.columns = problem, columns
        self.rows: list[dict[int, float]] = []
        self.low: list[float] = []
        self.high: list[float] = []
        #: per operator: columns that run it, one of which is chosen
        self.running: list[list[int]] = [[] for _ in problem.operators]
        for number, column in enumerate(columns):
            for node in column.choice.operators:
                self.running[node].append(number)
        for running in self.running:
            self._add(dict.fromkeys(running, 1.0), 1.0, 1.0)

    def _add(self, row: dict[int, float], low: float, high: float) -> None:
        self.rows.append(row)
        self.low.append(low)
        self.high.append(high)

    def keep(self) -> None:
        """A tensor is read on the chip where it is kept, from DRAM where it is not. What is kept
        stays from the first operator of its maker to the last one of its last reader, in the order
        of the operators, and leaves room for the working sets meanwhile."""
        problem, size = self.problem, self.problem.chip.buffer_bytes
        last_reader = {t: node for node, read in enumerate(problem.reads) for t in read}
        used: list[dict[int, float]] = [defaultdict(float) for _ in self.running]
        makers: dict[int, list[int]] = defaultdict(list)
        for number, column in enumerate(self.columns):
            choice = column.choice
            for node in choice.operators:
                used[node][number] += column.sram / size
            for tensor in choice.outputs if choice.keep else ():
                makers[tensor].append(number)
                for node in range(column.node, last_reader[tensor] + 1):
                    used[node][number] += problem.tensor_bytes[tensor] / size
            for i, tensor in enumerate(choice.sources):
                if column.on_chip >> i & 1:
                    for node in range(last_reader[tensor] + 1, choice.operators[-1] + 1):
                        used[node][number] += problem.tensor_bytes[tensor] / size
        for tensor, making in makers.items():
            for node, read in enumerate(problem.reads):
                if tensor in read:
                    self._reads(tensor, making, node)
        for row in used:
            self._add(row, 0.0, 1.0)

    def _reads(self, tensor: int, making: list[int], node: int) -> None:
        kept: dict[int, float] = {}
        loaded: dict[int, float] = {}
        for number in self.running[node]:
            column = self.columns[number]
            sources = column.choice.sources
            if tensor in sources:
                on_chip = column.on_chip >> sources.index(tensor) & 1
                (kept if on_chip else loaded)[number] = 1.0
        self._add(kept | dict.fromkeys(making, -1.0), -inf, 0.0)
        self._add(loaded | dict.fromkeys(making, 1.0), -inf, 1.0)

    def solution(self, exact: bool) -> tuple[float, list[Column]] | None:
        """The least cost, and the columns chosen; None where there is no solution. Not ``exact``:
        parts of columns count, those above a half are given."""
        if not all(self.running):
            return None
        matrix = matrix_of(self.rows, len(self.columns))
        found = milp(
            [column.cost for column in self.columns],
            integrality=np.full(len(self.columns), int(exact)),
            bounds=Bounds(0.0, 1.0),
            constraints=LinearConstraint(matrix, self.low, self.high),
            options={"mip_rel_gap": GAP, "node_limit": NODES, "time_limit": SECONDS},
        )
        if found.x is None:
            return None
        chosen = [c for c, value in zip(self.columns, found.x, strict=True) if value > 0.5]
        return float(found.fun), chosen
