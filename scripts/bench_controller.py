"""The NASNet controller with MnasNet's reward against random search on NAS-Bench-201."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import Progress

from agents.benchmark.row_store import RowStore
from fragenv.errors import FragenvError
from fragenv.generate.controller_search import (
    Field,
    controller_search,
    make_field,
    random_search,
)
from fragenv.generate.table import cell_scores
from fragenv.serialize import write_bytes

#: training-free scores whose mean rank is the score
SCORES = ("naswot", "log_synflow")
WEIGHTS = (0.0, -0.07, -0.2)
_KIND, _VERSION = "fragenv-controller", 1


@cache
def field_of(cost: str, weight: float) -> Field:
    """The cells with their rewards; made once in every process."""
    return make_field(cell_scores(), SCORES, cost, weight)


def measure(cost: str, weight: float, budget: int, seed: int) -> dict[str, Any]:
    """One search by each, as a row."""
    torch.set_num_threads(1)
    field, start = field_of(cost, weight), time.process_time()
    learnt, drawn = controller_search(field, budget, seed), random_search(field, budget, seed)
    return {
        "key": _key(weight, seed),
        "weight": weight,
        "best": learnt.found.best,
        "evaluations": learnt.found.evaluations,
        "distinct": learnt.found.distinct,
        "mean_cost": learnt.mean_cost,
        "random_best": drawn.best,
        "random_evaluations": drawn.evaluations,
        "seconds": time.process_time() - start,
    }


def _key(weight: float, seed: int) -> str:
    return f"w {weight:g} seed {seed}"


def _reached(rows: Sequence[dict[str, Any]], name: str) -> str:
    """How many reached the 99.9th percentile, and after how many evaluations (median)."""
    found = [row[name] for row in rows if row[name] is not None]
    after = f", after {np.median(found):.0f}" if found else ""
    return f"{len(found)} of {len(rows)}{after}"


def report(
    fields: dict[float, Field], rows: Sequence[dict[str, Any]], cost: str, budget: int, command: str
) -> str:
    """The table as Markdown."""
    lines = [
        "# The controller on NAS-Bench-201",
        "",
        f"Made by `{command}`. Reward: mean rank by {' and '.join(SCORES)}, times ({cost} over its "
        f"median) to the power w. {budget} cells a search; the controller's count again when it "
        "makes them again, random search draws none twice. Best: percentile of the best cell among "
        "all 15,284, median of the seeds and worst seed. Reached: seeds that came to the 99.9th "
        f"percentile, and the evaluations (median) that it took. Mean {cost}: of 500 cells "
        "drawn from each trained controller, mean of the seeds; optimum: of the best of all cells.",
        "",
        f"| w | best | reached | random: best | random: reached | mean {cost} | optimum | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for weight, field in fields.items():
        own = [row for row in rows if row["weight"] == weight]
        best, drawn = ([row[name] for row in own] for name in ("best", "random_best"))
        lines.append(
            f"| {weight:g} | {np.median(best):.3f}, {min(best):.3f} | "
            f"{_reached(own, 'evaluations')} | {np.median(drawn):.3f}, {min(drawn):.3f} | "
            f"{_reached(own, 'random_evaluations')} | "
            f"{np.mean([row['mean_cost'] for row in own]):,.0f} | {field.optimum_cost:,.0f} | "
            f"{np.mean([row['seconds'] for row in own]):.1f} |"
        )
    costs = [np.mean([r["mean_cost"] for r in rows if r["weight"] == w]) for w in fields]
    falls = all(later < earlier for earlier, later in pairwise(costs))
    lines += ["", f"Mean {cost} {'falls' if falls else 'does not fall'} with w throughout."]
    return "\n".join(lines) + "\n"


def main(
    cost: Annotated[
        str, typer.Option(help="Column of the table that the reward lowers, or macs.")
    ] = "latency_cycles_cgra512",
    seeds: Annotated[int, typer.Option(help="Searches for each w.", min=1)] = 10,
    budget: Annotated[int, typer.Option(help="Evaluations of a search.", min=1)] = 1000,
    jobs: Annotated[int, typer.Option(help="Searches at the same time.", min=1)] = 1,
    output: Annotated[Path, typer.Option(help="Folder for the table and its rows.")] = Path(
        "results/reference/generate"
    ),
) -> None:
    """Search NAS-Bench-201 with MnasNet's reward for several weights of the cost and write a table.

    Takes some two minutes of one core. Interrupted and called again, it goes on where it was.

    Example: scripts/bench_controller.py --cost latency_cycles_cgra512
    """
    torch.set_num_threads(1)
    command = shlex.join(["python", "scripts/bench_controller.py", *sys.argv[1:]])
    try:
        output.mkdir(parents=True, exist_ok=True)
        if cost != "macs" and cost not in next(iter(cell_scores().values())):
            known = ", ".join(next(iter(cell_scores().values())))
            raise FragenvError(f"the table has no column '{cost}'; it has {known}; or take macs")
        store = RowStore(output / "controller.json", _KIND, _VERSION, f"{cost} {budget}")
        tasks = [(weight, seed) for seed in range(seeds) for weight in WEIGHTS]
        left = [task for task in tasks if _key(*task) not in store.rows]
        with Progress() as progress, ProcessPoolExecutor(jobs) as pool:
            bar = progress.add_task("searching", total=len(tasks), completed=len(tasks) - len(left))
            found = [pool.submit(measure, cost, w, budget, seed) for w, seed in left]
            for future in as_completed(found):
                store.add(future.result(), command)
                progress.advance(bar)
        fields = {weight: field_of(cost, weight) for weight in WEIGHTS}
        rows = [store.rows[_key(*task)] for task in tasks]
        text = report(fields, rows, cost, budget, command)
        write_bytes(output / "controller.md", text.encode())
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
