"""A compiled evaluator for populations: many sequences of decisions, without a state for each step.

``Problem.apply`` is the definition; what comes out here is equal to it, integer by integer. The
first call of a machine compiles for about a minute; what was compiled is kept beside the
source. The objective is the latency of one job: throughput needs what lies between the commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fragenv.errors import FragenvError
from fragenv.schedule.compiled_memory import (
    ASKED_CHOICE,
    ASKED_ON_CHIP,
    ASKED_ROOM,
    CONFIG,
    DECISIONS,
    FINISHED,
    LATENCY,
    READ,
    RESULTS,
    STARTUP,
    WEIGHTS,
    WRITTEN,
    make_memory,
    with_intervals,
    with_steps,
)
from fragenv.schedule.compiled_step import (
    DONE,
    ILLEGAL,
    NO_MEMORY,
    is_available,
    reset,
    step,
)
from fragenv.schedule.compiled_tables import (
    FIRST_CHOICE,
    FIRST_NEED,
    NEEDS,
    NEEDS_END,
    NUM_CHOICES,
    STRIDE,
    PlanBook,
    make_tables,
)
from fragenv.schedule.objective import Objective
from fragenv.schedule.problem import MAX_SLOTS

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: how far a population is: the sequence, its decisions so far, and those of all sequences
PERSON, AT, CALLS, PROGRESS = range(4)
#: beside those of ``compiled_step``: no more decisions are allowed
SPENT = ILLEGAL + 1


class Outcome(NamedTuple):
    """What a sequence of decisions leads to, see ``State``."""

    latency_cycles: int
    dram_read_bytes: int
    dram_write_bytes: int
    weight_read_bytes: int
    config_bytes: int
    startup_config_bytes: int
    decisions: int
    finished: bool
    #: of every tensor
    location: tuple[int, ...]

    @property
    def traffic_bytes(self) -> int:
        """See ``State.traffic_bytes``."""
        return self.dram_read_bytes + self.dram_write_bytes + self.config_bytes


class Decoded(NamedTuple):
    """Random keys that became schedules, as far as the calls lasted."""

    outcomes: list[Outcome]
    #: of each schedule
    actions: list[list[int]]
    #: decisions made, those of a schedule that was not finished among them
    calls: int


class _Population(NamedTuple):
    """Sequences under way; see ``_go_on``."""

    actions: Ints
    lengths: Ints
    orders: Ints
    wanted: Ints
    progress: Ints
    results: Ints
    locations: Ints


class Evaluator:
    """Evaluates sequences of decisions of one problem; not for several threads at once.

    Raises:
        FragenvError: the problem's objective is throughput.
    """

    def __init__(self, problem: Problem) -> None:
        if problem.objective is not Objective.LATENCY:
            raise FragenvError(
                f"the compiled evaluator knows the objective 'latency' alone, not "
                f"'{problem.objective}'; use Problem.apply"
            )
        self.problem = problem
        self._tables = make_tables(problem)
        self._book = PlanBook(problem)
        self._memory = make_memory(self._tables, problem.batch)
        self._choices = [choice for options in problem.choices for choice in options]

    def cost(self, outcome: Outcome) -> float:
        """``Problem.cost`` of the state that an outcome describes."""
        return self.problem.cost_of(outcome.latency_cycles, outcome.traffic_bytes)

    def outcomes(self, sequences: Sequence[Sequence[int]]) -> list[Outcome]:
        """What each sequence of actions, complete or not, leads to from the initial state.

        Raises:
            ValueError: an action is illegal where its turn comes.
        """
        lengths = np.array([len(actions) for actions in sequences], dtype=np.int64)
        actions = np.full((len(sequences), max(lengths, default=0)), -1, dtype=np.int64)
        for row, sequence in zip(actions, sequences, strict=True):
            row[: len(sequence)] = sequence
        nothing = np.empty((0, 0), dtype=np.int64)
        people = self._population(actions, lengths, nothing, nothing)
        self._evaluate(people, int(lengths.sum()))
        return _outcomes(people)

    def decoded(self, keys: Floats, calls: int) -> Decoded:
        """The schedules of RUNs that random keys stand for, with at most ``calls`` decisions in
        all: what comes after these is left out.

        Args:
            keys: (schedules, 2 x operators), each of at least 0 and below 1: of every operator a
                priority, the lowest of those that are ready runs first, and a choice among its
                choices in their order, of which the nearest that is legal is taken.
        """
        count = len(self.problem.operators)
        orders = np.argsort(keys[:, :count], axis=1, kind="stable").astype(np.int64)
        offered = np.array([len(options) for options in self.problem.choices])
        wanted = (keys[:, count:] * offered).astype(np.int64)
        actions = np.full((len(keys), count), -1, dtype=np.int64)
        people = self._population(actions, np.empty(0, dtype=np.int64), orders, wanted)
        self._evaluate(people, calls)
        outcomes = _outcomes(people)
        taken = [
            row[: outcome.decisions]
            for row, outcome in zip(people.actions.tolist(), outcomes, strict=False)
        ]
        return Decoded(outcomes, taken, int(people.progress[CALLS]))

    def _population(self, actions: Ints, lengths: Ints, orders: Ints, wanted: Ints) -> _Population:
        count = len(actions)
        return _Population(
            actions,
            lengths,
            orders,
            wanted,
            progress=np.zeros(PROGRESS, dtype=np.int64),
            results=np.zeros((count, RESULTS), dtype=np.int64),
            locations=np.zeros((count, len(self.problem.tensors)), dtype=np.int64),
        )

    def _evaluate(self, people: _Population, calls: int) -> None:
        """Evaluate a population; what a step stops at is put right, and the same step goes on."""
        while True:
            code = _go_on(self._tables, self._book.book, self._memory, people, calls)
            if code in (DONE, SPENT):
                return
            if code == ILLEGAL:
                person, at = int(people.progress[PERSON]), int(people.progress[AT])
                raise ValueError(
                    f"action {people.actions[person, at]}, number {at} of sequence {person}, is "
                    "illegal in its state"
                )
            if code == NO_MEMORY:
                self._memory = with_intervals(self._memory)
                continue
            now = self._memory.now
            choice = self._choices[int(now[ASKED_CHOICE])]
            self._book.add(choice, int(now[ASKED_ON_CHIP]), int(now[ASKED_ROOM]))
            self._memory = with_steps(self._memory, self._book.most_steps)


def _outcomes(people: _Population) -> list[Outcome]:
    """Those of the sequences that were evaluated to the end."""
    done = int(people.progress[PERSON])
    return [
        Outcome(
            latency_cycles=result[LATENCY],
            dram_read_bytes=result[READ],
            dram_write_bytes=result[WRITTEN],
            weight_read_bytes=result[WEIGHTS],
            config_bytes=result[CONFIG],
            startup_config_bytes=result[STARTUP],
            decisions=result[DECISIONS],
            finished=bool(result[FINISHED]),
            location=tuple(location),
        )
        for result, location in zip(
            people.results[:done].tolist(), people.locations[:done].tolist(), strict=True
        )
    ]


@njit(cache=True)
def _go_on(tables, book, memory, people, calls):  # type: ignore[no-untyped-def]
    """Evaluate sequences from where they are; how it ended. Where there are ``orders``, the actions
    are decoded and written; otherwise they are given."""
    progress, actions, decodes = people.progress, people.actions, people.orders.shape[0] > 0
    while progress[PERSON] < actions.shape[0]:
        person = progress[PERSON]
        if progress[AT] == 0:
            reset(tables, memory)
        while True:
            at = progress[AT]
            if decodes:
                if memory.now[FINISHED]:
                    break
            elif at == people.lengths[person]:
                break
            if progress[CALLS] == calls:
                return SPENT
            if decodes:
                actions[person, at] = _next_action(
                    tables, memory, people.orders[person], people.wanted[person]
                )
            code = step(tables, book, memory, actions[person, at])
            if code != DONE:
                return code
            progress[AT] += 1
            progress[CALLS] += 1
        people.results[person] = memory.now[:RESULTS]
        people.locations[person] = memory.location
        progress[PERSON] += 1
        progress[AT] = 0
    return DONE


@njit(inline="always")
def _next_action(tables, memory, order, wanted):  # type: ignore[no-untyped-def]
    """The RUN of the first operator of ``order`` that has a legal choice; of its legal choices the
    nearest to the one that is wanted, the first of two; -1 where nothing is ready."""
    action = -1
    for node in order:
        if memory.done[node]:
            continue
        row = tables.nodes[node]
        ready = False
        for need in range(row[FIRST_NEED], row[NEEDS_END]):
            ready = ready or is_available(tables, memory, need)
        if ready:
            nearest = -1
            for index in range(row[NUM_CHOICES]):
                closer = nearest < 0 or abs(index - wanted[node]) < abs(nearest - wanted[node])
                need = tables.choices[row[FIRST_CHOICE] + index, NEEDS]
                if closer and is_available(tables, memory, need):
                    nearest = index
            action = MAX_SLOTS + node * tables.limits[STRIDE] + nearest
            break
    return action
