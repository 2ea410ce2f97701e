"""Print how fast the compiled evaluator is, beside the plain transition, on equal sequences."""

from __future__ import annotations

import statistics
import sys
import time
from typing import Annotated

import gymnasium
import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

import fragenv  # noqa: F401  registers the environments
from agents.heuristics.genetic import GeneticScheduler
from agents.scheduler import Budget
from fragenv.env.problems import shared_problem
from fragenv.errors import FragenvError
from fragenv.schedule.compiled import Evaluator
from fragenv.schedule.problem import Problem

ENVIRONMENTS = ("AlexNetChip-v0", "ResNet50Chip-v0", "MobileNetV2Chip-v0")
REQUIRED_RATIO = 20


def random_sequences(problem: Problem, episodes: int, seed: int) -> list[list[int]]:
    """Random legal decisions, EVICT and SPILL among them, until the end."""
    rng = np.random.default_rng(seed)
    sequences = []
    for _ in range(episodes):
        state, taken = problem.initial(), []
        while not state.finished:
            taken.append(int(rng.choice(problem.legal_actions(state))))
            state = problem.apply(state, taken[-1])
        sequences.append(taken)
    return sequences


def plain_seconds(problem: Problem, sequences: list[list[int]]) -> tuple[float, list[int]]:
    """CPU seconds of ``apply``, and the latency of each sequence."""
    start, latencies = time.process_time(), []
    for actions in sequences:
        state = problem.initial()
        for action in actions:
            state = problem.apply(state, action)
        latencies.append(state.latency_cycles)
    return time.process_time() - start, latencies


def compiled_seconds(evaluator: Evaluator, sequences: list[list[int]]) -> tuple[float, list[int]]:
    """The same of the compiled evaluator."""
    start = time.process_time()
    latencies = [outcome.latency_cycles for outcome in evaluator.outcomes(sequences)]
    return time.process_time() - start, latencies


def measured(name: str, episodes: int, runs: int, seed: int) -> tuple[str, ...]:
    """The row of an environment.

    Raises:
        FragenvError: the two do not agree.
    """
    kwargs = gymnasium.spec(name).kwargs
    problem = shared_problem(kwargs["model"], kwargs["chip"], kwargs["batch"], 1)
    sequences = random_sequences(problem, episodes, seed)
    evaluator = Evaluator(problem)
    first, _ = compiled_seconds(evaluator, sequences)  # compiles, and takes over the plans
    plain, quick = [], []
    for _ in range(runs):
        seconds, wanted = plain_seconds(problem, sequences)
        plain.append(seconds)
        seconds, found = compiled_seconds(evaluator, sequences)
        quick.append(seconds)
        if found != wanted:
            raise FragenvError(f"{name}: the compiled evaluator differs from Problem.apply")
    calls = sum(map(len, sequences))
    ratio = statistics.median(plain) / statistics.median(quick)
    return (
        name,
        f"{calls:,}",
        f"{first:.2f}",
        f"{statistics.median(plain) / calls * 1e6:.1f}",
        f"{statistics.median(quick) / calls * 1e6:.2f}",
        f"{ratio:.1f}",
    )


def solver_row(name: str, calls: int, seed: int) -> tuple[str, ...]:
    """CPU seconds of the genetic scheduler without and with the compiled evaluator.

    Raises:
        FragenvError: the answers differ.
    """
    kwargs = gymnasium.spec(name).kwargs
    problem = shared_problem(kwargs["model"], kwargs["chip"], kwargs["batch"], 1)
    seconds, answers = [], []
    # once before the clock runs: plans of tasks are made when they are used first
    for compiled_from in (0, sys.maxsize, 0):
        start = time.process_time()
        result = GeneticScheduler(compiled_from=compiled_from).solve(problem, Budget(calls), seed)
        seconds.append(time.process_time() - start)
        answers.append((result.actions, result.apply_calls))
    if len(set(answers)) > 1:
        raise FragenvError(f"{name}: the genetic scheduler answers otherwise when compiled")
    _, plain, quick = seconds
    return name, f"{calls:,}", f"{plain:.2f}", f"{quick:.2f}", f"{plain / quick:.1f}"


def main(
    names: Annotated[
        list[str] | None, typer.Option("--env", help="An environment; may be repeated.")
    ] = None,
    episodes: Annotated[int, typer.Option(help="Random sequences per environment.", min=1)] = 20,
    runs: Annotated[int, typer.Option(help="Runs of each; the median counts.", min=1)] = 9,
    calls: Annotated[
        int, typer.Option(help="apply calls of the genetic scheduler; 0: it is not run.", min=0)
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the random decisions.")] = 0,
) -> None:
    """Measure the compiled evaluator and the plain transition on one core, in CPU seconds.

    Example: python scripts/bench_population.py --calls 20000
    """
    torch.set_num_threads(1)
    chosen = names or list(ENVIRONMENTS)
    table = Table(title=f"Random sequences, median of {runs} runs, single thread, CPU time")
    for column in ("environment", "decisions", "first, s", "apply, us", "numba, us", "ratio"):
        table.add_column(column, justify="left" if column == "environment" else "right")
    for name in track(chosen, "sequences", transient=True):
        table.add_row(*measured(name, episodes, runs, seed))
    console = Console()
    console.print(table)
    console.print("first: the first call, which compiles once per machine and takes over the plans")
    console.print(f"ratio: {REQUIRED_RATIO} or more is wanted")
    if calls:
        table = Table(title="The genetic scheduler, same answer, CPU time")
        for column in ("environment", "calls", "plain, s", "numba, s", "ratio"):
            table.add_column(column, justify="left" if column == "environment" else "right")
        for name in track(chosen, "genetic", transient=True):
            table.add_row(*solver_row(name, calls, seed))
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
