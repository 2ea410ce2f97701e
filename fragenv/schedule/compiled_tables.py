"""A problem as flat tables of integers, which the compiled transition reads.

``Tables`` holds what a problem offers and never changes. A ``PlanBook`` holds the plans that were
needed so far, each with the range of free bytes for which ``Problem.plan`` gives it: plans are
made when a schedule first asks for them, as in the plain transition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from fragenv.schedule.choices import Choice
from fragenv.schedule.placement import COLUMNS, UNIT
from fragenv.schedule.state import DRAM, SRAM

if TYPE_CHECKING:
    from fragenv.schedule.problem import Plan, Problem

Ints = npt.NDArray[np.int64]

#: columns of ``Tables.choices``; a range of ``lists`` takes two, its first index and its end
(
    FRAGMENT,
    LOCATION,
    KEPT_BYTES,
    PLANS,
    NEEDS,
    OPERATORS,
    OPERATORS_END,
    SOURCES,
    SOURCES_END,
    OUTPUTS,
    OUTPUTS_END,
    CHOICE_COLUMNS,
) = range(12)
#: columns of ``Tables.nodes``
FIRST_CHOICE, NUM_CHOICES, FIRST_NEED, NEEDS_END, READS, READS_END, NODE_COLUMNS = range(7)
#: columns of ``Tables.needs``: tensors that must be there, operators that must not have run
THERE, THERE_END, NOT_RUN, NOT_RUN_END, NEED_COLUMNS = range(5)
#: columns of ``Tables.tensors``
BYTES, SPILL_CYCLES, READERS, TENSOR_COLUMNS = range(4)
#: resources of an area
RESOURCES = 3
#: columns of ``Tables.fragments`` and of ``Tables.parts`` after those of the area
PARTS, FRAGMENT_CONFIG_BYTES, FRAGMENT_COLUMNS = range(RESOURCES, RESOURCES + 3)
BIND_CYCLES, PART_COLUMNS = range(RESOURCES, RESOURCES + 2)
#: fields of ``Tables.limits`` after those of the region's area
CAPACITY, NUM_INPUTS, STRIDE, LIMITS = range(RESOURCES, RESOURCES + 4)
#: columns of ``Book.intervals``: for these sources on the chip and this many free bytes (LOW to
#: below HIGH) the plan, -1 for none; the next interval of the same choices, -1 for none
ON_CHIP, LOW, HIGH, PLAN, NEXT, INTERVAL_COLUMNS = range(6)
#: columns of ``Book.plans``
(
    STEPS,
    STEPS_END,
    HOLDS,
    RUN_CYCLES_SUM,
    SRAM_BYTES,
    READ_BYTES,
    WEIGHT_BYTES,
    WRITE_BYTES,
    MORE_INTERVALS,
    DEEPER,
    PLAN_COLUMNS,
) = range(11)


class Tables(NamedTuple):
    """What a problem offers. Rows of ``choices`` are those of all nodes, one after the other."""

    choices: Ints
    nodes: Ints
    needs: Ints
    lists: Ints
    tensors: Ints
    fragments: Ints
    #: (fragments, circuits, columns)
    parts: Ints
    #: (fragment that is wanted, fragment that is bound): whether that one will do
    able: Ints
    limits: Ints


class Book(NamedTuple):
    """Plans; rows behind those in use hold nothing."""

    #: per kind of choice (``PLANS``): its first interval, -1 for none
    first: Ints
    intervals: Ints
    plans: Ints
    #: rows of all plans' ``table``; their unit is the fragment's circuit
    steps: Ints
    run_waits: Ints
    input_waits: Ints


class _Lists:
    """Lists of integers, one behind the other."""

    def __init__(self) -> None:
        self.items: list[int] = []

    def add(self, items: Iterable[int]) -> tuple[int, int]:
        """Append a list; where it begins and ends."""
        first = len(self.items)
        self.items += items
        return first, len(self.items)


def make_tables(problem: Problem) -> Tables:
    """The tables of a problem."""
    lists = _Lists()
    kinds = plan_kinds(problem)
    choices: list[tuple[int, ...]] = []
    nodes: list[tuple[int, ...]] = []
    needs: list[tuple[int, ...]] = []
    for node, options in enumerate(problem.choices):
        numbers = _needs_of(problem, node)
        nodes.append(
            (
                len(choices),
                len(options),
                len(needs),
                len(needs) + len(problem.actions_by_needs[node]),
                *lists.add(problem.reads[node]),
            )
        )
        choices += (
            (
                choice.fragment,
                SRAM if choice.keep else DRAM,
                sum(problem.tensor_bytes[t] for t in choice.outputs) if choice.keep else 0,
                kinds[kind_of(choice)],
                len(needs) + numbers[index],
                *lists.add(choice.operators),
                *lists.add(choice.sources),
                *lists.add(choice.outputs),
            )
            for index, choice in enumerate(options)
        )
        needs += (
            (*lists.add(sources), *lists.add(others))
            for sources, others, _ in problem.actions_by_needs[node]
        )
    return Tables(
        _rows(choices, CHOICE_COLUMNS),
        _rows(nodes, NODE_COLUMNS),
        _rows(needs, NEED_COLUMNS),
        np.array(lists.items, dtype=np.int64),
        _rows(
            (
                (size, problem.port.cycles(size), readers)
                for size, readers in zip(problem.tensor_bytes, problem.readers, strict=True)
            ),
            TENSOR_COLUMNS,
        ),
        _rows(
            (
                (*astuple(area), len(parts), config)
                for area, parts, config in zip(
                    problem.areas, problem.part_areas, problem.config_bytes, strict=True
                )
            ),
            FRAGMENT_COLUMNS,
        ),
        _parts(problem),
        _able(problem),
        np.array(
            (
                *astuple(problem.region),
                problem.chip.buffer_bytes,
                problem.num_inputs,
                problem.num_choices + 1,
            ),
            dtype=np.int64,
        ),
    )


def kind_of(choice: Choice) -> tuple[int, int, bool]:
    """Equal for choices that ``Problem.plan`` does not tell apart."""
    return choice.shape_index, choice.fragment, choice.keep


def plan_kinds(problem: Problem) -> dict[tuple[int, int, bool], int]:
    """Numbers of the kinds of choices."""
    kinds: dict[tuple[int, int, bool], int] = {}
    for options in problem.choices:
        for choice in options:
            kinds.setdefault(kind_of(choice), len(kinds))
    return kinds


def _needs_of(problem: Problem, node: int) -> dict[int, int]:
    """Per choice of a node: the number of its entry in ``actions_by_needs``."""
    actions = (actions for *_, actions in problem.actions_by_needs[node])
    numbers = {action: number for number, group in enumerate(actions) for action in group}
    return dict(enumerate(numbers[action] for action in sorted(numbers)))


def _rows(rows: Iterable[tuple[int, ...]], columns: int) -> Ints:
    found: Ints = np.array(list(rows), dtype=np.int64).reshape(-1, columns)
    return found


def _parts(problem: Problem) -> Ints:
    most = max(map(len, problem.part_areas))
    table = np.zeros((len(problem.library), most, PART_COLUMNS), dtype=np.int64)
    pairs = zip(problem.part_areas, problem.part_bind_cycles, strict=True)
    for fragment, (areas, cycles) in enumerate(pairs):
        for part, (area, bind) in enumerate(zip(areas, cycles, strict=True)):
            table[fragment, part] = (*astuple(area), bind)
    return table


def _able(problem: Problem) -> Ints:
    table = np.zeros((len(problem.library),) * 2, dtype=np.int64)
    for wanted, able in enumerate(problem.substitutes):
        table[wanted, list(able)] = 1
    return table


class _Rows:
    """A table that grows; -1 fills what a row leaves out."""

    def __init__(self, columns: int) -> None:
        self.data: Ints = np.empty((64, columns), dtype=np.int64)
        self.count = 0

    def append(self, rows: Ints) -> int:
        """Append rows; the index of the first."""
        columns, end = max(rows.shape[1], self.data.shape[1]), self.count + len(rows)
        if end > len(self.data) or columns > self.data.shape[1]:
            larger = np.full((max(end, 2 * len(self.data)), columns), -1, dtype=np.int64)
            larger[: self.count, : self.data.shape[1]] = self.data[: self.count]
            self.data = larger
        self.data[self.count : end] = -1
        self.data[self.count : end, : rows.shape[1]] = rows
        first, self.count = self.count, end
        return first


class PlanBook:
    """The plans of a problem that were asked for."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.kinds = plan_kinds(problem)
        self.first: Ints = np.full(len(self.kinds), -1, dtype=np.int64)
        self.intervals, self.plans = _Rows(INTERVAL_COLUMNS), _Rows(PLAN_COLUMNS)
        self.steps, self.run_waits, self.input_waits = _Rows(COLUMNS), _Rows(0), _Rows(0)
        self.most_steps = 0
        #: plans that are in, with their circuits, and their rows; the plans live as long as this
        self._known: dict[tuple[int, tuple[int, ...]], tuple[Plan, int]] = {}

    @property
    def book(self) -> Book:
        """The tables as they are now."""
        return Book(
            self.first,
            self.intervals.data,
            self.plans.data,
            self.steps.data,
            self.run_waits.data,
            self.input_waits.data,
        )

    def add(self, choice: Choice, on_chip: int, room: int) -> None:
        """Add what ``Problem.plan`` gives for ``room`` free bytes, with the range of free bytes
        for which it gives the same."""
        low, high = self._range(choice, on_chip, room)
        plan = self.problem.plan(choice, on_chip, room)
        kind = self.kinds[kind_of(choice)]
        row = -1 if plan is None else self._row(choice, plan)
        entry = np.array([(on_chip, low, high, row, self.first[kind])], dtype=np.int64)
        self.first[kind] = self.intervals.append(entry)

    def _range(self, choice: Choice, on_chip: int, room: int) -> tuple[int, int]:
        """The range of free bytes in which ``room`` lies: it ends where another tiling fits."""
        capacity = self.problem.chip.buffer_bytes
        sizes = [sram for sram, *_ in self.problem.tiling_costs(choice, on_chip, capacity)]
        if sizes and room < sizes[0]:
            # the tilings of few rows count where none of the others fits
            smaller = self.problem.tiling_costs(choice, on_chip, sizes[0] - 1)
            sizes = [sram for sram, *_ in smaller] + sizes[:1]
        low = max((size for size in sizes if size <= room), default=0)
        return low, min((size for size in sizes if size > room), default=capacity + 1)

    def _row(self, choice: Choice, plan: Plan) -> int:
        key = (id(plan), choice.circuits)
        if key not in self._known:
            deeper = plan.deeper_plans(self.problem.chip.buffer_bytes)
            behind = self._row(choice, deeper[0]) if deeper else -1
            table = plan.table.copy()
            table[:, UNIT] = np.array(choice.circuits)[table[:, UNIT]]
            first = self.steps.append(table)
            self.run_waits.append(plan.run_waits)
            self.input_waits.append(plan.input_waits)
            more = max(plan.transfers, len(table))
            if behind >= 0:
                more = max(more, int(self.plans.data[behind, MORE_INTERVALS]))
            entry = (
                first,
                first + len(table),
                int(plan.holds),
                plan.run_cycles,
                plan.tiling.sram_bytes,
                plan.dram_read_bytes,
                plan.weight_read_bytes,
                plan.dram_write_bytes,
                more,
                behind,
            )
            self._known[key] = plan, self.plans.append(np.array([entry], dtype=np.int64))
            self.most_steps = max(self.most_steps, len(table))
        return self._known[key][1]
