"""A compiled evaluator for populations: many sequences of decisions, without a state for each step.

``Problem.apply`` is the definition; what comes out here is equal to it, integer by integer. The
first call of a machine compiles for about half a minute; what was compiled is kept beside the
source. The objective is the latency of one job: throughput needs what lies between the commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
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
    NO_PLAN,
    is_available,
    reset,
    step,
)
from fragenv.schedule.compiled_tables import (
    FIRST_CHOICE,
    FIRST_NEED,
    FRAGMENT,
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

#: how far a population is: the sequence, its decisions so far, calls that count, and whether it
#: has left its trail
PERSON, AT, CALLS, APART, PROGRESS = range(5)
#: beside those of ``compiled_step``: the calls are spent
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

    def outcomes(self, sequences: Sequence[Sequence[int]]) -> list[Outcome]:
        """What each sequence of actions, complete or not, leads to from the initial state.

        Raises:
            ValueError: an action is illegal where its turn comes.
        """
        actions = np.array([a for actions in sequences for a in actions], dtype=np.int64)
        offsets = np.array([0, *accumulate(map(len, sequences))], dtype=np.int64)
        progress = np.zeros(PROGRESS, dtype=np.int64)
        results = np.zeros((len(sequences), RESULTS), dtype=np.int64)
        locations = np.zeros((len(sequences), len(self.problem.tensors)), dtype=np.int64)
        while True:
            code = _apply_all(
                self._tables,
                self._book.book,
                self._memory,
                actions,
                offsets,
                progress,
                results,
                locations,
            )
            if code == DONE:
                pairs = zip(results.tolist(), locations.tolist(), strict=True)
                return [_outcome(result, location) for result, location in pairs]
            if code == ILLEGAL:
                number = int(progress[PERSON])
                at = int(progress[AT])
                raise ValueError(
                    f"action {sequences[number][at]}, number {at} of sequence {number}, is "
                    "illegal where its turn comes"
                )
            self._make_way(code)

    def _make_way(self, code: int) -> None:
        """Put right what a step stopped at."""
        if code == NO_MEMORY:
            self._memory = with_intervals(self._memory)
            return
        now = self._memory.now
        choice = self._choices[int(now[ASKED_CHOICE])]
        self._book.add(choice, int(now[ASKED_ON_CHIP]), int(now[ASKED_ROOM]))
        self._memory = with_steps(self._memory, self._book.most_steps)


def _outcome(result: list[int], location: list[int]) -> Outcome:
    return Outcome(
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


@njit(cache=True)
def _apply_all(  # type: ignore[no-untyped-def]
    tables, book, memory, actions, offsets, progress, results, locations
):
    """Apply sequences of actions, from where ``progress`` says; how it ended."""
    while progress[PERSON] < results.shape[0]:
        person = progress[PERSON]
        first, end = offsets[person], offsets[person + 1]
        if progress[AT] == 0:
            reset(tables, memory)
        for at in range(first + progress[AT], end):
            code = step(tables, book, memory, actions[at])
            if code != DONE:
                progress[AT] = at - first
                return code
        results[person] = memory.now[:RESULTS]
        locations[person] = memory.location
        progress[PERSON] += 1
        progress[AT] = 0
    return DONE
