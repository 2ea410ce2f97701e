"""A run's folder: schedulers compared, the best schedule with its pictures and its Verilog."""

from __future__ import annotations

import io
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import Any

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.comparison import Entry, best_of, figures, write_comparison
from agents.scheduler import SCHEDULERS, Budget, Result, Scheduler
from fragenv.errors import FragenvError
from fragenv.report.graph_picture import graph_figure
from fragenv.report.timeline import timeline_figure
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.schedule import Schedule, save_schedule
from fragenv.serialize import FileError, write_bytes, write_json

SUMMARY_FORMAT, SUMMARY_VERSION = "fragenv-summary", 1
PACKAGES = ("fragenv", "gymnasium", "stable-baselines3", "sb3-contrib", "torch", "torch-geometric")


def new_folder(path: Path) -> Path:
    """Make a run's folder.

    Raises:
        FileError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise FileError(f"cannot write the folder '{path}': {error.strerror}") from None
    return path


def free_folder(path: Path) -> Path:
    """The path, or the first of ``path-2``, ``path-3``, ... where nothing is yet: no run is written
    over another one."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in count(2))
    return next(
        p
        for p in chain([path], numbered)
        if not p.exists() or (p.is_dir() and not any(p.iterdir()))
    )


def chosen_schedulers(names: Sequence[str] | None) -> dict[str, Scheduler]:
    """Registered schedulers by name; None for all.

    Raises:
        FragenvError: none is registered under a name.
    """
    return {name: SCHEDULERS.get(name) for name in names or SCHEDULERS}


def compare(
    problem: Problem,
    budget: Budget,
    seed: int,
    more: Mapping[str, Scheduler],
    progress: Callable[[str], None],
    names: Sequence[str] | None = None,
) -> dict[str, Entry]:
    """Registered schedulers (see ``chosen_schedulers``) and ``more``, each with the same budget.

    Raises:
        FragenvError: no scheduler is registered under one of ``names``.
    """
    entries = {}
    for name, scheduler in {**chosen_schedulers(names), **more}.items():
        progress(name)
        entries[name] = Entry(scheduler.solve(problem, budget, seed))
    return entries


def write_run(
    folder: Path,
    problem: Problem,
    entries: Mapping[str, Entry],
    env: str,
    model: str,
    seed: int,
    command: str,
) -> None:
    """summary.json, comparison.csv and .md, schedule.json, timeline.png, graph.png."""
    best = best_of(entries)
    result = entries[best].result
    write_json(
        folder / "summary.json",
        SUMMARY_FORMAT,
        SUMMARY_VERSION,
        {
            "env": env,
            "model": model,
            "chip": problem.chip.name,
            "batch": problem.batch,
            "max_depth": problem.max_depth,
            "objective": problem.objective.value,
            "seed": seed,
            "command": command,
            "best": best,
            "lower_bound": {
                "latency_cycles": problem.bound.latency_cycles,
                "period_cycles": problem.bound.period_cycles,
                "traffic_bytes": problem.bound.traffic_bytes,
            },
            "schedulers": {name: figures(problem, entry) for name, entry in entries.items()},
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in PACKAGES},
            },
        },
    )
    write_comparison(folder, problem, entries, command)
    schedule = Schedule.of(problem, result.state, result.actions, model, best, seed)
    save_schedule(schedule, problem, result.state, folder / "schedule.json")
    write_figure(timeline_figure(problem, result.state), folder / "timeline.png")
    write_figure(graph_figure(problem, result.state), folder / "graph.png")


def write_figure(figure: Any, path: Path) -> None:
    """A matplotlib figure as a PNG file, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_bytes(path, buffer.getvalue())


def emit_verilog(problem: Problem, result: Result, folder: Path, weights: Path | None) -> str:
    """Emit the schedule's Verilog to ``folder``/rtl; returns what there is to say about it."""
    from fragenv.rtl.emit import emit_folder

    try:
        emission = emit_folder(problem, lower(problem, result.state), weights, folder / "rtl")
    except FragenvError as error:
        return f"no Verilog: {error}"
    return f"{folder / 'rtl'}: {emission.manifest['predicted_cycles']:,} cycles predicted"
