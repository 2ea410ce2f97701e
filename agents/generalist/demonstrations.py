"""The best schedules known of training instances: what the agent imitates first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.generalist.instances import instance
from agents.scheduler import SCHEDULERS, Budget
from fragenv.errors import FragenvError, ProcessLostError
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import State
from fragenv.serialize import read_json, write_json

FORMAT, VERSION = "fragenv-demonstrations", 1
#: schedulers whose best answer is imitated
TEACHERS = ("annealing", "neighbourhood", "uniform")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A schedule of ``instance(seed, generated)``; ``cost`` is ``Problem.cost`` of its end,
    ``scheduler`` who found it."""

    seed: int
    actions: tuple[int, ...]
    cost: float
    scheduler: str
    generated: float = 0.0

    def problem(self) -> Problem:
        """The instance that it is a schedule of."""
        return instance(self.seed, self.generated)

    def states(self, problem: Problem) -> list[State]:
        """The states in which the actions are taken, and the end.

        Raises:
            FragenvError: an action is not legal, so the schedule is of another instance.
        """
        found = [problem.initial()]
        for action in self.actions:
            if action not in problem.legal_actions(found[-1]):
                raise FragenvError(
                    f"the demonstration of instance {self.seed} does not fit this version's "
                    "instances; make the demonstrations again"
                )
            found.append(problem.apply(found[-1], action))
        return found


def demonstrate(seed: int, calls: int, generated: float = 0.0) -> Demonstration:
    """The best schedule of ``instance(seed, generated)`` that any teacher finds with ``calls``
    calls."""
    problem = instance(seed, generated)
    results = [SCHEDULERS.get(name).solve(problem, Budget(calls), seed) for name in TEACHERS]
    best = min(results, key=lambda result: result.cost)
    return Demonstration(seed, best.actions, best.cost, best.scheduler, generated)


def demonstrate_all(
    seeds: Iterable[int], calls: int, path: Path, jobs: int = 1, generated: float = 0.0
) -> Iterator[tuple[Demonstration, ...]]:
    """All demonstrations so far, after each new one; ``path`` is written as often, and what it
    holds is not made again.

    Raises:
        FragenvError: the file is damaged, or of another share of generated networks.
        ProcessLostError: a process was killed.
    """
    found = {d.seed: d for d in read_demonstrations(path)} if path.exists() else {}
    if any(d.generated != generated for d in found.values()):
        raise FragenvError(
            f"'{path}' holds instances with another share of generated networks; give the same "
            "share, or another output folder"
        )
    left = [seed for seed in seeds if seed not in found]
    with ProcessPoolExecutor(jobs) as pool:
        try:
            for demonstration in pool.map(demonstrate, left, repeat(calls), repeat(generated)):
                found[demonstration.seed] = demonstration
                write_demonstrations(tuple(found.values()), path)
                yield tuple(found.values())
        except BrokenProcessPool:
            raise ProcessLostError from None


def write_demonstrations(demonstrations: Iterable[Demonstration], path: Path) -> None:
    """Write the file, whole or not at all."""
    rows = [asdict(demonstration) for demonstration in demonstrations]
    write_json(path, FORMAT, VERSION, {"demonstrations": rows})


def read_demonstrations(path: Path) -> tuple[Demonstration, ...]:
    """The demonstrations of a file.

    Raises:
        FragenvError: missing, damaged or of another version.
    """
    data = read_json(path, FORMAT, VERSION)
    try:
        return tuple(
            Demonstration(
                int(row["seed"]),
                tuple(int(action) for action in row["actions"]),
                float(row["cost"]),
                str(row["scheduler"]),
                float(row.get("generated", 0.0)),
            )
            for row in data["demonstrations"]
        )
    except (KeyError, TypeError, ValueError):
        raise FragenvError(f"'{path}' is damaged; make the demonstrations again") from None
