"""Schedules that are proved to be the best, or how far from it they may be."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer
from options import MaxDepth
from rich.progress import Progress

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.exact.objective import Latency, Objective, ProblemCost
from agents.exact.scheduler import certify
from agents.scheduler import Budget, Meter
from fragenv.errors import FragenvError
from fragenv.models import zoo
from fragenv.schedule.bounds_state import StateBounds
from fragenv.schedule.problem import Problem

COLUMNS = (
    "model",
    "chip",
    "batch",
    "max_depth",
    "fragments",
    "objective",
    "cost",
    "lower_bound",
    "gap_percent",
    "optimal",
    "latency_cycles",
    "latency_at_least",
    "traffic_bytes",
    "traffic_at_least",
    "opened",
    "apply_calls",
    "seconds",
)


def chosen(problem: Problem, fragments: str) -> Problem:
    """The problem with those fragments of its library alone.

    Raises:
        FragenvError: the library has no such fragment.
    """
    if fragments == "all":
        return problem
    known = len(problem.library)
    numbers = [int(n) if n.isdigit() else known for n in fragments.split(",")]
    if any(n >= known for n in numbers):
        raise FragenvError(f"--fragments {fragments}: numbers 0 to {known - 1}, or 'all'")
    library = tuple(problem.library[n] for n in dict.fromkeys(numbers))
    graph, chip = problem.graph, problem.chip
    return Problem(graph, chip, problem.batch, problem.max_depth, library=library)


def row(problem: Problem, budget: Budget, latency_only: bool, settings: int) -> dict[str, object]:
    """What one search proves."""
    objective: Objective = Latency() if latency_only else ProblemCost(problem)
    meter = Meter(problem, budget)
    found = certify(meter, 0, objective, settings)
    least = StateBounds(problem, settings).least(problem.initial())
    assert found.path is not None
    state = found.path.state
    return {
        "model": problem.graph.name,
        "chip": problem.chip.name,
        "batch": problem.batch,
        "max_depth": problem.max_depth,
        "fragments": " | ".join(f.key for f in problem.library),
        "objective": "latency" if latency_only else "cost",
        "cost": round(found.cost, 6),
        "lower_bound": round(found.lower_bound, 6),
        "gap_percent": round(100 * found.gap, 3),
        "optimal": found.optimal,
        "latency_cycles": state.latency_cycles,
        "latency_at_least": min(f.latency_cycles for f in least),
        "traffic_bytes": state.traffic_bytes,
        "traffic_at_least": min(f.traffic_bytes for f in least),
        "opened": found.opened,
        "apply_calls": meter.calls,
        "seconds": round(meter.wall_s, 1),
    }


def add_row(path: Path, found: dict[str, object]) -> None:
    """Append a row; one of the same instance and objective is replaced."""
    rows: list[dict[str, object]] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [dict(r) for r in csv.DictReader(file)]
    same = COLUMNS[:6]
    rows = [r for r in rows if any(str(r[c]) != str(found[c]) for c in same)]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows([*rows, found])
    partial.replace(path)


def main(
    model: Annotated[list[str], typer.Option(help="Networks of the zoo.")],
    chip: Annotated[list[str], typer.Option(help="Chip presets or TOML files.")],
    batch: Annotated[int, typer.Option(help="Frames of a job.")] = 1,
    max_depth: MaxDepth = 1,
    fragments: Annotated[
        str, typer.Option(help="Fragments to offer: numbers in the library, such as 0,3, or all.")
    ] = "all",
    latency: Annotated[bool, typer.Option(help="Minimise cycles alone.")] = False,
    budget: Annotated[int, typer.Option(help="apply calls, the heuristics' among them.")] = 50_000,
    seconds: Annotated[float, typer.Option(help="Seconds of the search, tables included.")] = 600,
    settings: Annotated[
        int, typer.Option(help="Settings up to which every plan is looked at (slow, tight).")
    ] = 500,
    output: Annotated[Path, typer.Option(help="Where rows are kept.")] = Path(
        "results/exact/exact.csv"
    ),
) -> None:
    """Search by branch and bound and say what is proved: the optimum, or a gap.

    Example: python scripts/certify.py --model alexnet --chip xc7z020
    """
    with Progress(transient=True) as progress:
        bar = progress.add_task("instances", total=len(model) * len(chip))
        for name in model:
            for one in chip:
                progress.update(bar, description=f"{name} {one}")
                try:
                    problem = chosen(Problem(zoo.graph(name), one, batch, max_depth), fragments)
                except FragenvError as error:
                    typer.echo(f"{name} on {one}: {error}", err=True)
                    raise typer.Exit(1) from None
                found = row(problem, Budget(budget, seconds), latency, settings)
                add_row(output, found)
                progress.console.print(
                    f"{name} on {one}: {found['cost']}, at least {found['lower_bound']} "
                    f"(gap {found['gap_percent']}%), {found['seconds']} s"
                )
                progress.advance(bar)


if __name__ == "__main__":
    typer.run(main)
