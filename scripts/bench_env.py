"""Print how fast the environment is, beside the figures that are required of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated

import gymnasium
import numpy as np
import torch
import typer
from options import MaxDepth
from rich.console import Console
from rich.table import Table

import fragenv  # noqa: F401  registers the environments
from fragenv.env import env as _imports_before_timing  # noqa: F401
from fragenv.env.problems import shared_problem
from fragenv.models import zoo as _zoo_before_timing  # noqa: F401
from fragenv.schedule.problem import Problem

REQUIRED_APPLIES, REQUIRED_STEPS = 20_000, 5_000
#: with fused tasks, which have more choices and more commands
REQUIRED_FUSED_STEPS = 3_000
REQUIRED_SECONDS = {"AlexNetChip-v0": 2.0, "GoogLeNetChip-v0": 5.0}


def applies_per_second(problem: Problem, episodes: int, seed: int) -> float:
    """``apply`` calls per second on random legal episodes. The decisions are drawn before, and the
    clock runs only while they are applied."""
    rng = np.random.default_rng(seed)
    decisions: list[list[int]] = []
    for _ in range(episodes):
        state, taken = problem.initial(), []
        while not state.finished:
            taken.append(int(rng.choice(problem.legal_actions(state))))
            state = problem.apply(state, taken[-1])
        decisions.append(taken)
    start = time.perf_counter()
    for taken in decisions:
        state = problem.initial()
        for action in taken:
            state = problem.apply(state, action)
    return sum(map(len, decisions)) / (time.perf_counter() - start)


def steps_per_second(name: str, depth: int, episodes: int, seed: int) -> float:
    """Environment steps per second on random masked episodes: masks, choice of the action,
    observations and resets included."""
    env = gymnasium.make(name, max_depth=depth, disable_env_checker=True)
    masks = env.get_wrapper_attr("action_masks")
    rng = np.random.default_rng(seed)
    steps = 0
    start = time.perf_counter()
    for _ in range(episodes):
        env.reset(seed=seed)
        finished = False
        while not finished:
            legal = masks().nonzero()[0]
            *_, finished, _, _ = env.step(legal[int(rng.random() * len(legal))])
            steps += 1
    return steps / (time.perf_counter() - start)


def make_seconds(name: str) -> float:
    """Seconds that ``gymnasium.make`` takes, imports done, nothing cached by an earlier call for
    the same network."""
    start = time.perf_counter()
    gymnasium.make(name)
    return time.perf_counter() - start


def main(
    name: Annotated[str, typer.Option("--env", help="The environment to step.")] = "AlexNetChip-v0",
    episodes: Annotated[int, typer.Option(help="Episodes per run.", min=1)] = 300,
    runs: Annotated[int, typer.Option(help="Runs; the median counts.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Of the random decisions.")] = 0,
    max_depth: MaxDepth = 1,
) -> None:
    """Measure ``apply``, ``step`` and ``gymnasium.make`` on one core."""
    torch.set_num_threads(1)
    seconds = {made: make_seconds(made) for made in REQUIRED_SECONDS}
    kwargs = gymnasium.spec(name).kwargs
    problem = shared_problem(kwargs["model"], kwargs["chip"], kwargs["batch"], max_depth)

    def median(measure: Callable[[int], float]) -> float:
        measure(seed)  # plans of tasks are made when they are used first
        return statistics.median(measure(seed) for _ in range(runs))

    applies = median(lambda s: applies_per_second(problem, episodes, s))
    steps = median(lambda s: steps_per_second(name, max_depth, episodes, s))
    table = Table(
        title=f"{name}, depth {max_depth}, random masked episodes, median of {runs} warm runs"
    )
    for column in ("figure", "measured", "required", "ratio"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    single = max_depth == 1
    for figure, value, required in (
        ("apply calls/s, no observations", applies, REQUIRED_APPLIES if single else None),
        (
            *("environment steps/s, with observations", steps),
            REQUIRED_STEPS if single else REQUIRED_FUSED_STEPS,
        ),
    ):
        limit = (f">= {required:,}", f"{value / required:.2f}") if required else ("", "")
        table.add_row(figure, f"{value:,.0f}", *limit)
    for made, limit in REQUIRED_SECONDS.items():
        taken = seconds[made]
        row = f"{taken:.2f}", f"<= {limit:g}", f"{limit / taken:.2f}"
        table.add_row(f"seconds of gymnasium.make({made!r})", *row)
    Console().print(table)
    Console().print("ratio: 1 or more is as required")


if __name__ == "__main__":
    typer.run(main)
