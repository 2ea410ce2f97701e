"""Who takes part: registered schedulers, and trained agents as schedulers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.benchmark.row_store import NO_MATTER, source_digest
from agents.scheduler import SCHEDULERS, Scheduler, is_deterministic
from fragenv.errors import FragenvError

#: packages that decide about no schedule
NO_SCHEDULE = NO_MATTER | {"rtl", "verify", "generate", "splits.toml"}
#: packages that decide about the schedules of agents
OF_AGENTS = {"env", "ppo"}


@dataclass(frozen=True, slots=True)
class Contestant:
    """A scheduler with what its rows depend on beside the instance."""

    name: str
    scheduler: Scheduler
    #: of an agent's files and of the code that runs it; "" for registered schedulers
    digest: str = ""
    #: where an agent was trained
    trained_on: str = ""

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.name}@{self.digest}" if self.digest else self.name

    @property
    def deterministic(self) -> bool:
        return is_deterministic(self.scheduler)


@dataclass(frozen=True, slots=True)
class Field:
    """All contestants by their names and folders, so that another process can load them."""

    schedulers: tuple[str, ...]
    agents: tuple[Path, ...] = ()

    def contestants(self) -> list[Contestant]:
        """The contestants; those of several agents carry the agents' names.

        Raises:
            FragenvError: an unknown scheduler, an agent that cannot be loaded, or two of one name.
        """
        found = [Contestant(name, SCHEDULERS.get(name)) for name in self.schedulers]
        for folder in self.agents:
            found += _of_agent(folder, with_name=len(self.agents) > 1)
        names = [contestant.name for contestant in found]
        for name in names:
            if names.count(name) > 1:
                raise FragenvError(f"two contestants are called '{name}'; rename a folder")
        return found


def _of_agent(folder: Path, with_name: bool) -> list[Contestant]:
    from agents.ppo.checkpoint import CONFIG, WEIGHTS, load_agent
    from agents.ppo.scheduler import schedulers_of

    network, config = load_agent(folder)
    digest = hashlib.sha256(source_digest(NO_SCHEDULE - OF_AGENTS).encode())
    for name in (CONFIG, WEIGHTS):
        digest.update((folder / name).read_bytes())
    suffix = f" ({_folder_name(folder)})" if with_name else ""
    return [
        Contestant(name + suffix, scheduler, digest.hexdigest()[:8], config.trained_on)
        for name, scheduler in schedulers_of(network).items()
    ]


def _folder_name(folder: Path) -> str:
    """The name of an agent's folder, or of the run's whose agent it is."""
    path = folder.resolve()
    return path.parent.name if path.name == "agent" else path.name


def every_scheduler(names: Sequence[str] | None) -> tuple[str, ...]:
    """The names, each once; None for all that are registered."""
    return tuple(dict.fromkeys(names)) if names else tuple(SCHEDULERS)
