"""Measure similarity: rank correlation with the exact edit distance, and what sharing saves."""

from __future__ import annotations

import json
import random
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import torchvision
import typer
from rich.progress import Progress
from scipy.stats import spearmanr

from agents.heuristics.search import beam_search
from agents.scheduler import Budget, Meter
from fragenv.env.registry import ENVIRONMENTS
from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_torch import from_torch
from fragenv.hardware.chip import load_chip
from fragenv.hardware.fragment import Fragment
from fragenv.hardware.pattern_cost import log_costs
from fragenv.hardware.sharing import Sharer, Sharing
from fragenv.models import zoo
from fragenv.patterns.similarity import wl
from fragenv.patterns.similarity.corpus import network_graphs
from fragenv.patterns.similarity.edit_distance import distance_matrix, edit_distance
from fragenv.patterns.similarity.encoder import PatternEncoder, point_distances
from fragenv.patterns.similarity.propose import encoder_distances, propose_merges, wl_distances
from fragenv.patterns.similarity.typed import TypedGraph
from fragenv.patterns.similarity.weights import load_encoder
from fragenv.schedule.pattern_tasks import PatternTasks, pattern_tasks
from fragenv.schedule.problem import Problem
from fragenv.serialize import write_bytes, write_json

#: families that the encoder has not seen; those of torchvision that are not in the zoo too
FAMILIES = {
    "ResNet": ("resnet18", "resnet50", "resnext50_32x4d"),
    "Inception": ("googlenet", "inception_v3"),
    "DenseNet": ("densenet121",),
}
PLACES = 2
NEAR = 0.25
NEIGHBOURS = 5
RANDOM_ORDERS = 20
BUDGETS = (5, 10, 20, 40)
SUITE_BUDGETS = (25, 50, 100, 200)
#: merges tried before schedules are compared
LATENCY_BUDGET = 10
SMALL_CHIP = "xc7z020"
APPLY_CALLS = 20_000

_Numbers = npt.NDArray[np.float64]
_Pairs = list[tuple[int, int]]


def network(name: str) -> DataflowGraph:
    """A network of the zoo, or torchvision's."""
    if name in zoo.names():
        return zoo.graph(name)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = getattr(torchvision.models, name)(weights=None)
    return from_torch(module, (3, 224, 224), name)


@dataclass(frozen=True, slots=True)
class Held:
    """Pairs of held-out patterns with their exact distances."""

    graphs: list[TypedGraph]
    pairs: _Pairs
    exact: _Numbers


def held_out(
    graphs: list[TypedGraph], count: int, seed: int, tick: Callable[[], None] = lambda: None
) -> Held:
    """``count`` random pairs of ``graphs``, all of them where there are fewer."""
    pairs = list(combinations(range(len(graphs)), 2))
    chosen = random.Random(seed).sample(pairs, min(count, len(pairs)))
    exact = []
    for i, j in chosen:
        exact.append(edit_distance(graphs[i], graphs[j]))
        tick()
    return Held(graphs, chosen, np.array(exact))


def encoder_estimates(model: PatternEncoder, held: Held) -> _Numbers:
    points = model.embed(held.graphs)
    first, second = torch.tensor(held.pairs).unbind(1)
    found: _Numbers = point_distances(points[first], points[second]).double().numpy()
    return found


def wl_variants() -> dict[str, Callable[[Held], _Numbers]]:
    """Every form of the WL kernel that is in use: rounds, labels with channels or without, and
    what is made of the kernel."""
    forms = {
        "normalised": wl.cosine_distance,
        "kernel distance": wl.kernel_distance,
        "counts": wl.count_distance,
    }
    variants: dict[str, Callable[[Held], _Numbers]] = {}
    for rounds in (0, 1, 2, 3):
        for channels in (False, True):
            for form, distance in forms.items():
                name = f"{form}, {rounds} rounds{', channels' if channels else ''}"

                def estimate(
                    held: Held, r: int = rounds, c: bool = channels, d: object = distance
                ) -> _Numbers:
                    histograms = [wl.histogram(graph, r, c) for graph in held.graphs]
                    return np.array([d(histograms[i], histograms[j]) for i, j in held.pairs])  # type: ignore[operator]

                variants[name] = estimate
    return variants


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rank correlation with the exact distance: of all pairs, and of the nearest
    quarter."""

    overall: float
    near: float


def correlation(estimated: _Numbers, held: Held) -> Correlation:
    near = held.exact <= np.quantile(held.exact, NEAR)
    return Correlation(
        float(spearmanr(estimated, held.exact).statistic),
        float(spearmanr(estimated[near], held.exact[near]).statistic),
    )


def cost_spread(model: PatternEncoder, graphs: Sequence[TypedGraph]) -> tuple[float, float]:
    """How many octaves of area and of time a pattern is away from those nearest to it."""
    costs, points = log_costs(graphs), model.embed(graphs)
    apart = torch.cdist(points, points, p=1)
    apart.fill_diagonal_(float("inf"))
    nearest = apart.topk(NEIGHBOURS, largest=False).indices
    area, cycles = (costs[nearest] - costs[:, None]).abs().mean(dim=(0, 1)).tolist()
    return area, cycles


def _exact(graphs: Sequence[TypedGraph]) -> _Numbers:
    return distance_matrix(list(graphs))


def _costs(graphs: Sequence[TypedGraph]) -> _Numbers:
    costs = log_costs(graphs)
    found: _Numbers = point_distances(costs[:, None], costs[None]).double().numpy()
    return found


def _wl_kernel(graphs: Sequence[TypedGraph]) -> _Numbers:
    histograms = [wl.histogram(graph, rounds=0) for graph in graphs]
    return np.array([[wl.kernel_distance(a, b) for b in histograms] for a in histograms])


#: who proposes
PROPOSERS = {
    "encoder": encoder_distances,
    "WL": wl_distances,
    "WL, best form": _wl_kernel,
    "exact distance": _exact,
    "area and time": _costs,
}


@dataclass(frozen=True, slots=True)
class Savings:
    """Area left, in chips, by budget of evaluations and proposer; ``orders`` at random, averaged."""

    name: str
    patterns: int
    unshared: float
    all_pairs: float
    all_evaluations: int
    by_budget: dict[int, dict[str, float]]


def savings(
    name: str, tasks: Sequence[PatternTasks], sharer: Sharer, budgets: Sequence[int]
) -> Savings:
    """What each proposer saves with as many evaluations."""
    graphs = [t.typed for t in tasks]
    every = len(graphs) ** 2
    orders = {who: [propose_merges(graphs, every, how)] for who, how in PROPOSERS.items()}
    chance = random.Random(0)
    pairs = list(combinations(range(len(graphs)), 2))
    orders["random"] = [chance.sample(pairs, len(pairs)) for _ in range(RANDOM_ORDERS)]
    everything = sharer.share_all()
    return Savings(
        name,
        len(graphs),
        sharer.unshared().area,
        everything.area,
        everything.evaluations,
        {
            budget: {
                who: float(np.mean([sharer.share(order, budget).area for order in lists]))
                for who, lists in orders.items()
            }
            for budget in budgets
        },
    )


def suite_tasks() -> list[PatternTasks]:
    """The patterns of all registered networks, each once, with the tasks of all."""
    merged: dict[object, PatternTasks] = {}
    for model in dict.fromkeys(entry.model for entry in ENVIRONMENTS.values()):
        for t in pattern_tasks(zoo.graph(model)):
            known = merged.get(t.pattern)
            shapes = known.shapes + t.shapes if known else t.shapes
            typed = known.typed if known else t.typed
            merged[t.pattern] = PatternTasks(t.pattern, (), shapes, typed)
    return list(merged.values())


def latency(
    graph: DataflowGraph,
    chip: str,
    batch: int,
    tasks: Sequence[PatternTasks],
    sharing: Sharing,
) -> int:
    """Cycles of the greedy schedule in which every task runs on its own pattern's fragment."""
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


def latencies(
    graph: DataflowGraph, chip: str, batch: int, tasks: Sequence[PatternTasks], sharer: Sharer
) -> dict[str, int]:
    """Latency without sharing, with what encoder and WL propose, and with all pairs tried."""
    graphs = [t.typed for t in tasks]
    every = len(graphs) ** 2
    sharings = {"unshared": sharer.unshared()}
    for who in ("encoder", "WL"):
        order = propose_merges(graphs, every, PROPOSERS[who])
        sharings[who] = sharer.share(order, LATENCY_BUDGET)
    sharings["all pairs"] = sharer.share_all()
    measured: dict[tuple[Fragment, ...], int] = {}
    result = {}
    for who, sharing in sharings.items():
        key = tuple(sharing.fragment_of(n) for n in range(len(tasks)))
        if key not in measured:
            measured[key] = latency(graph, chip, batch, tasks, sharing)
        result[who] = measured[key]
    return result
