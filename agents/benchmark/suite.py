"""What a benchmark consists of: instances, contestants, limits and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fragenv.errors import FragenvError
from fragenv.hardware.chip import preset_names
from fragenv.models import zoo
from fragenv.schedule.objective import Objective, objective_of
from fragenv.schedule.problem import MAX_DEPTH, Problem

ALL_OBJECTIVES = tuple(objective.value for objective in Objective)
#: frames of a job, at most: more say nothing new and take long to check
MAX_BATCH = 256


@dataclass(frozen=True, slots=True)
class Instance:
    """A network of the zoo on a preset chip, and what its schedules are judged by."""

    model: str
    chip: str
    batch: int
    max_depth: int
    objective: str

    @property
    def key(self) -> str:
        """What tells instances apart."""
        return f"{self.model} {self.chip} b{self.batch} d{self.max_depth} {self.objective}"

    @property
    def stem(self) -> str:
        """A file's name without its ending."""
        return self.key.replace(" ", "_")

    def check(self) -> None:
        """Refuse what not everybody has, and numbers out of range.

        Raises:
            FragenvError: an unknown network, chip or objective, a batch or depth out of range.
        """
        zoo.entry(self.model)
        if self.chip not in preset_names():
            known = ", ".join(preset_names())
            raise FragenvError(f"unknown chip '{self.chip}'; the benchmark's chips are {known}")
        if not 1 <= self.batch <= MAX_BATCH or not 1 <= self.max_depth <= MAX_DEPTH:
            raise FragenvError(
                f"batch {self.batch} at depth {self.max_depth}: the benchmark goes from batch 1 to "
                f"{MAX_BATCH}, from depth 1 to {MAX_DEPTH}"
            )
        objective_of(self.objective)

    def problem(self) -> Problem:
        """The decision problem.

        Raises:
            InfeasibleError: the chip cannot run the network.
            FragenvError: see ``check``.
        """
        self.check()
        graph = zoo.graph(self.model)
        return Problem(graph, self.chip, self.batch, self.max_depth, objective=self.objective)


@dataclass(frozen=True, slots=True)
class Limit:
    """What ends a search: calls of ``Problem.apply``, or seconds."""

    calls: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.calls:,} calls" if self.calls is not None else f"{self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Case:
    """One search: a row of the benchmark. ``label`` is the contestant's."""

    instance: Instance
    label: str
    limit: Limit
    seed: int

    @property
    def key(self) -> str:
        """What tells rows apart."""
        return f"{self.instance.key} | {self.label} | {self.limit} | {self.seed}"


@dataclass(frozen=True, slots=True)
class Suite:
    """All instances of some networks, chips, objectives, batches and depths, with the limits and
    the seeds of every search."""

    models: Sequence[str]
    chips: Sequence[str]
    objectives: Sequence[str]
    batches: Sequence[int]
    depths: Sequence[int]
    limits: Sequence[Limit]
    seeds: int

    def instances(self) -> list[Instance]:
        """Every instance once, network by network.

        Raises:
            FragenvError: see ``Instance.check``.
        """
        found = [
            Instance(model, chip, batch, depth, objective)
            for model in dict.fromkeys(self.models)
            for chip in dict.fromkeys(self.chips)
            for batch in dict.fromkeys(self.batches)
            for depth in dict.fromkeys(self.depths)
            for objective in dict.fromkeys(self.objectives)
        ]
        for instance in found:
            instance.check()
        return found

    def cases(self, instance: Instance, contestants: Sequence[tuple[str, bool]]) -> Iterator[Case]:
        """The searches on an instance, by contestants: label, and whether the seed is not used, so
        that one search is enough."""
        for limit in self.limits:
            for label, deterministic in contestants:
                for seed in range(1 if deterministic else self.seeds):
                    yield Case(instance, label, limit, seed)
