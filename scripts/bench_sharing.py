"""Measure sharing: the area and latency that it saves, by who proposes what to merge."""

from __future__ import annotations

import random
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import Progress

from agents.heuristics.search import beam_search
from agents.scheduler import Budget, Meter
from fragenv.env.registry import ENVIRONMENTS
from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.hardware.chip import load_chip
from fragenv.hardware.fragment import Fragment
from fragenv.hardware.pattern_cost import log_costs
from fragenv.hardware.sharing import Sharer, Sharing
from fragenv.models import zoo
from fragenv.patterns.similarity import wl
from fragenv.patterns.similarity.edit_distance import distance_matrix
from fragenv.patterns.similarity.encoder import point_distances
from fragenv.patterns.similarity.propose import (
    Matrix,
    encoder_distances,
    propose_merges,
    wl_distances,
)
from fragenv.patterns.similarity.typed import TypedGraph
from fragenv.schedule.pattern_tasks import PatternTasks, pattern_tasks
from fragenv.schedule.problem import Problem
from fragenv.serialize import write_bytes, write_json

RANDOM_ORDERS = 20
BUDGETS = (5, 10, 20, 40)
SUITE_BUDGETS = (20, 50, 100, 200)
SUITE = "all networks"
#: merges that are tried before schedules are compared
LATENCY_BUDGET = 10
SMALL_CHIP = "xc7z020"
APPLY_CALLS = 20_000


def _exact(graphs: Sequence[TypedGraph]) -> Matrix:
    return distance_matrix(list(graphs))


def _costs(graphs: Sequence[TypedGraph]) -> Matrix:
    costs = log_costs(graphs)
    found: Matrix = point_distances(costs[:, None], costs[None]).double().numpy()
    return found


def _labels(graphs: Sequence[TypedGraph]) -> Matrix:
    histograms = [wl.histogram(graph, rounds=0) for graph in graphs]
    return np.array([[wl.kernel_distance(a, b) for b in histograms] for a in histograms])


#: who proposes; "WL, 0 rounds" is the form nearest to the exact distance
PROPOSERS: dict[str, Callable[[Sequence[TypedGraph]], Matrix]] = {
    "encoder": encoder_distances,
    "WL": wl_distances,
    "WL, 0 rounds": _labels,
    "exact distance": _exact,
    "area and time": _costs,
}


@dataclass(frozen=True, slots=True)
class Savings:
    """Area of all fragments together, in chips: without sharing, with all pairs tried, and by
    evaluations and proposer."""

    name: str
    chip: str
    patterns: int
    unshared: float
    all_pairs: float
    all_evaluations: int
    by_budget: dict[int, dict[str, float]]


def savings(
    name: str, chip: str, tasks: Sequence[PatternTasks], budgets: Sequence[int]
) -> tuple[Savings, Sharer]:
    """What each proposer saves with as many evaluations; random orders are averaged."""
    sharer = Sharer([t.shapes for t in tasks], load_chip(chip))
    graphs = [t.typed for t in tasks]
    pairs = list(combinations(range(len(graphs)), 2))
    orders = {who: [propose_merges(graphs, len(pairs), how)] for who, how in PROPOSERS.items()}
    chance = random.Random(0)
    orders["random"] = [chance.sample(pairs, len(pairs)) for _ in range(RANDOM_ORDERS)]
    best = sharer.share_all()
    by_budget = {
        budget: {
            who: float(np.mean([sharer.share(order, budget).area for order in found]))
            for who, found in orders.items()
        }
        for budget in budgets
    }
    areas = sharer.unshared().area, best.area
    return Savings(name, chip, len(graphs), *areas, best.evaluations, by_budget), sharer


def suite_tasks(found: dict[str, tuple[PatternTasks, ...]]) -> list[PatternTasks]:
    """The patterns of all networks, each once, with the tasks of all."""
    merged: dict[object, PatternTasks] = {}
    for tasks in found.values():
        for t in tasks:
            known = merged.get(t.pattern, PatternTasks(t.pattern, (), (), t.typed))
            merged[t.pattern] = PatternTasks(t.pattern, (), known.shapes + t.shapes, known.typed)
    return list(merged.values())


def latency(
    graph: DataflowGraph, chip: str, batch: int, tasks: Sequence[PatternTasks], sharing: Sharing
) -> int:
    """Cycles of the greedy schedule in which every task runs on its own pattern's fragment.

    Raises:
        FragenvError: no schedule within ``APPLY_CALLS`` decisions.
    """
    library = tuple(dict.fromkeys(group.fragment for group in sharing.groups))
    problem = Problem(graph, chip, batch, library=library)
    fragment_of: dict[tuple[int, ...], Fragment] = {}
    for number, pattern in enumerate(tasks):
        for operators in pattern.operators:
            nodes = tuple(problem.node_of[name] for name in operators)
            fragment_of[nodes] = sharing.fragment_of(number)
    best = beam_search(
        Meter(problem, Budget(APPLY_CALLS)),
        1,
        lambda choice: library[choice.fragment] == fragment_of[choice.operators],
    )
    if best is None:
        raise FragenvError(f"{graph.name} on {chip}: no schedule within {APPLY_CALLS} decisions")
    return best.state.latency_cycles


@dataclass(frozen=True, slots=True)
class Latencies:
    """Cycles by who proposed."""

    name: str
    chip: str
    batch: int
    cycles: dict[str, int]


def latencies(
    graph: DataflowGraph, chip: str, batch: int, tasks: Sequence[PatternTasks], sharer: Sharer
) -> Latencies:
    """Latency without sharing, with what encoder and WL propose, and with all pairs tried."""
    graphs = [t.typed for t in tasks]
    sharings = {"unshared": sharer.unshared()}
    for who in ("encoder", "WL"):
        order = propose_merges(graphs, len(graphs) ** 2, PROPOSERS[who])
        sharings[who] = sharer.share(order, LATENCY_BUDGET)
    sharings["all pairs"] = sharer.share_all()
    known: dict[tuple[Fragment, ...], int] = {}
    cycles = {}
    for who, sharing in sharings.items():
        key = tuple(sharing.fragment_of(n) for n in range(len(tasks)))
        if key not in known:
            known[key] = latency(graph, chip, batch, tasks, sharing)
        cycles[who] = known[key]
    return Latencies(graph.name, chip, batch, cycles)


def report(areas: list[Savings], times: list[Latencies], command: str) -> str:
    """The tables as Markdown."""
    names = [*PROPOSERS, "random"]
    lines = [
        "# Sharing",
        "",
        f"Made by `{command}`. Area of all",
        "fragments together, in chips (the largest part of any resource), after as many merges",
        "were tried as `tried` says, by who proposes the pairs; `all pairs` tries every pair of",
        "groups again and again and takes the best. Lower is better. Random orders: the mean of",
        f"{RANDOM_ORDERS}.",
        "",
        "| network | chip | patterns | unshared | tried | " + " | ".join(names) + " | all pairs |",
        "|" + "---|" * (6 + len(names)),
    ]
    for a in areas:
        for budget, found in a.by_budget.items():
            cells = " | ".join(f"{found[who]:.2f}" for who in names)
            lines.append(
                f"| {a.name} | {a.chip} | {a.patterns} | {a.unshared:.2f} | {budget} | {cells} | "
                f"{a.all_pairs:.2f} ({a.all_evaluations:,} tried) |"
            )
    lines += ["", *_means(areas, names), ""]
    lines += [
        f"Latency in thousands of cycles: greedy schedules, after {LATENCY_BUDGET} merges tried,",
        "every task on its own pattern's fragment. (Patterns whose fragments happen to be equal",
        "share them in every column.)",
        "",
        "| network | chip | batch | unshared | encoder | WL | all pairs |",
        "|---|---|---|---|---|---|---|",
    ]
    for t in times:
        cells = " | ".join(f"{t.cycles[who] / 1e3:,.0f}" for who in t.cycles)
        lines.append(f"| {t.name} | {t.chip} | {t.batch} | {cells} |")
    who = [name for name in times[0].cycles if name != "unshared"]
    ratios = {
        name: np.exp(np.mean([np.log(t.cycles[name] / t.cycles["unshared"]) for t in times]))
        for name in who
    }
    cells = " | ".join(f"{ratio:.2f}" for ratio in ratios.values())
    lines.append(f"| geometric mean over unshared | | | 1 | {cells} |")
    return "\n".join([*lines, "", *_duel(times)]) + "\n"


def _duel(times: list[Latencies]) -> list[str]:
    """Encoder against WL and against no sharing, row by row: means hide single large rows."""
    lines = []
    for other in ("WL", "unshared"):
        lower = sum(t.cycles["encoder"] < t.cycles[other] for t in times)
        higher = sum(t.cycles["encoder"] > t.cycles[other] for t in times)
        ratio = np.median([t.cycles["encoder"] / t.cycles[other] for t in times])
        name = "what WL proposes" if other == "WL" else "no sharing"
        lines.append(
            f"* With the encoder the latency is lower than with {name} in {lower} of {len(times)} "
            f"rows and higher in {higher}; the median ratio is {ratio:.2f}."
        )
    return lines


def _means(areas: list[Savings], names: list[str]) -> list[str]:
    """Part of what sharing can save that each proposer saved, averaged over networks."""
    lines = [
        "Of the area that trying all pairs saves, the part that was saved (mean over rows above).",
        "`area and time` looks at no structure at all. The encoder was trained on patterns of some",
        "of these networks; no other proposer is trained:",
        "",
        "| tried | " + " | ".join(names) + " |",
        "|" + "---|" * (1 + len(names)),
    ]
    single = [a for a in areas if a.name != SUITE]
    for group, budgets in ((single, BUDGETS), ([a for a in areas if a not in single], ())):
        for budget in budgets or (group[0].by_budget if group else ()):
            parts = [
                f"{np.mean([_part(a, a.by_budget[budget][who]) for a in group]):.0%}"
                for who in names
            ]
            title = f"{budget}" if group is single else f"{budget}, {SUITE}"
            lines.append(f"| {title} | " + " | ".join(parts) + " |")
    return lines


def _part(a: Savings, area: float) -> float:
    return (a.unshared - area) / (a.unshared - a.all_pairs)


def main(
    output: Annotated[Path, typer.Option(help="Folder for the tables.")] = Path("results/patterns"),
) -> None:
    """Print and write (sharing.md, sharing.json) what sharing fragments saves on the registered
    networks and chips, by who proposes what to merge. Takes about five minutes."""
    torch.set_num_threads(1)
    areas: list[Savings] = []
    times: list[Latencies] = []
    try:
        output.mkdir(parents=True, exist_ok=True)
        with Progress() as progress:
            bar = progress.add_task("sharing", total=2 * len(ENVIRONMENTS) + 2)
            found: dict[str, tuple[PatternTasks, ...]] = {}
            for entry in ENVIRONMENTS.values():
                graph = zoo.graph(entry.model)
                found[entry.model] = pattern_tasks(graph)
                for chip in dict.fromkeys((entry.chip, SMALL_CHIP)):
                    progress.update(bar, description=f"{entry.model} on {chip}")
                    area, sharer = savings(entry.model, chip, found[entry.model], BUDGETS)
                    areas.append(area)
                    times.append(latencies(graph, chip, entry.batch, found[entry.model], sharer))
                    progress.advance(bar)
            for chip in ("cgra512", SMALL_CHIP):
                progress.update(bar, description=f"{SUITE} on {chip}")
                areas.append(savings(SUITE, chip, suite_tasks(found), SUITE_BUDGETS)[0])
                progress.advance(bar)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    command = shlex.join(["python", "scripts/bench_sharing.py", *sys.argv[1:]])
    text = report(areas, times, command)
    data = {
        "command": command,
        "areas": [asdict(a) for a in areas],
        "latencies": [asdict(t) for t in times],
    }
    write_json(output / "sharing.json", "fragenv-bench-sharing", 1, data)
    write_bytes(output / "sharing.md", text.encode("utf-8"))
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
