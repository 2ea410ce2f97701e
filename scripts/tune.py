"""Constants of the heuristics, tuned on the training models alone (``agents/splits.toml``)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Annotated

import typer
from rich.progress import Progress

from agents.heuristics.genetic import GeneticScheduler, GeneticSettings
from agents.heuristics.neighbourhood import NeighbourhoodScheduler, NeighbourhoodSettings
from agents.heuristics.restarts import RestartScheduler
from agents.scheduler import Budget, Scheduler
from agents.splits import models_of
from fragenv.models import zoo
from fragenv.schedule.problem import Problem

#: (chip, frames, depth) on which every training model is scheduled
PLATFORMS = (("cgra512", 1, 1), ("cgra512", 8, 1), ("xc7z020", 1, 1))


def _genetic() -> Iterator[tuple[str, Scheduler]]:
    for size, bias, mutation in itertools.product((12, 24, 48), (0.7, 0.85), (0.02, 0.08)):
        found = GeneticSettings(population=size, bias=bias, gene_mutation=mutation)
        yield f"population {size}, bias {bias}, mutation {mutation}", GeneticScheduler(found)


def _neighbourhood() -> Iterator[tuple[str, Scheduler]]:
    for window, width, share in itertools.product((2, 4, 6), (1, 2, 4), (0.15, 0.3)):
        found = NeighbourhoodSettings(window, width, share)
        yield f"window {window}, width {width}, start {share}", NeighbourhoodScheduler(found)


def _restarts() -> Iterator[tuple[str, Scheduler]]:
    for count in (1, 2, 3, 6, 12):
        yield f"{count} restarts", RestartScheduler(count)


CANDIDATES: dict[str, Callable[[], Iterator[tuple[str, Scheduler]]]] = {
    "genetic": _genetic,
    "neighbourhood": _neighbourhood,
    "restarts": _restarts,
}


def main(
    scheduler: Annotated[str, typer.Argument(help="One of " + ", ".join(CANDIDATES) + ".")],
    budget: Annotated[int, typer.Option(help="apply calls of each run.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Runs of each instance.")] = 2,
) -> None:
    """Run every candidate on the training models and rank them by their mean excess over the best
    cost that any of them found for an instance.

    Example: python scripts/tune.py genetic
    """
    if scheduler not in CANDIDATES:
        raise typer.BadParameter(f"'{scheduler}'; choose one of {', '.join(CANDIDATES)}")
    models = models_of("train")
    problems = [Problem(zoo.graph(m), c, b, d) for m in models for c, b, d in PLATFORMS]
    candidates = list(CANDIDATES[scheduler]())
    costs: dict[str, list[float]] = {name: [] for name, _ in candidates}
    runs = [(p, s) for p in problems for s in range(seeds)]
    with Progress(transient=True) as progress:
        bar = progress.add_task(scheduler, total=len(runs) * len(candidates))
        for problem, seed in runs:
            for name, candidate in candidates:
                costs[name].append(candidate.solve(problem, Budget(budget), seed).cost)
                progress.advance(bar)
    best = [min(column) for column in zip(*costs.values(), strict=True)]
    excess = {
        name: [c / b - 1 for c, b in zip(found, best, strict=True)] for name, found in costs.items()
    }
    for name in sorted(excess, key=lambda n: sum(excess[n])):
        mean = sum(excess[name]) / len(best)
        typer.echo(f"{name}: mean excess {mean:.3%}, worst {max(excess[name]):.2%}")


if __name__ == "__main__":
    typer.run(main)
