"""Latency of an architecture on a chip: a schedule of its network on fragments fixed per chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fragenv.generate import canonical
from fragenv.generate.architecture import Architecture
from fragenv.generate.fragments import Library, cell_library
from fragenv.generate.quick import quick_schedule
from fragenv.generate.skeleton import Skeleton, build_graph
from fragenv.hardware.chip import Chip, load_chip
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import State

__all__ = ["LatencyOracle", "quick_schedule"]


@dataclass(frozen=True)
class LatencyOracle:
    """Cycles of an architecture's network on a chip; equal architectures are scheduled once.

    All networks run on the same fragments (see ``fragments.cell_library``), so that latencies of
    architectures can be compared. A search over all fragments finds shorter schedules.

    Args:
        chip: a preset's name, the path of a TOML file, or a Chip.
        skeleton: the network around the cell.
        batch: frames of a job.
        schedule: gives a finished state of a problem.
    """

    chip: str | Path | Chip
    skeleton: Skeleton = field(default_factory=Skeleton)
    batch: int = 1
    schedule: Callable[[Problem], State] = quick_schedule
    _known: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, architecture: Architecture) -> int:
        key = canonical.key(architecture)
        if key not in self._known:
            self._known[key] = self.schedule(self.problem(architecture)).latency_cycles
        return self._known[key]

    @cached_property
    def library(self) -> Library:
        """The fragments of all problems."""
        return cell_library(load_chip(self.chip), self.skeleton, self.batch)

    def problem(self, architecture: Architecture) -> Problem:
        """The scheduling problem of an architecture's network on the oracle's fragments."""
        graph = build_graph(architecture, self.skeleton)
        return Problem(graph, self.chip, self.batch, library=self.library)
