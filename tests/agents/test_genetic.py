"""The genetic scheduler with and without the compiled evaluator."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import random_graph, random_problem, seeds

from agents.heuristics.genetic import GeneticScheduler, decoded
from agents.scheduler import Budget
from fragenv.models import zoo
from fragenv.schedule.compiled import Evaluator
from fragenv.schedule.problem import Problem

NEVER = sys.maxsize


@settings(max_examples=80, deadline=None)
@given(seeds)
def test_decoded__compiled_as_plain(seed: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, rng.choice([1, 3]))
    if problem is None:
        return
    count = len(problem.operators)
    # few different priorities: the first of equal ones runs first
    keys = [
        [rng.randrange(4) / 4 for _ in range(count)] + [rng.random() for _ in range(count)]
        for _ in range(4)
    ]
    paths = [decoded(problem, genes, problem.apply) for genes in keys]
    lengths = [len(path.actions) for path in paths]
    calls = rng.randint(0, sum(lengths) + 1)
    found = Evaluator(problem).decoded(np.array(keys), calls)
    assert found.calls == min(calls, sum(lengths))
    done = [i for i in range(4) if sum(lengths[: i + 1]) <= calls]
    assert [tuple(actions) for actions in found.actions] == [paths[i].actions for i in done]
    assert [o.latency_cycles for o in found.outcomes] == [
        paths[i].state.latency_cycles for i in done
    ]


@pytest.mark.parametrize("calls", [900, 1501])
@pytest.mark.parametrize(
    "problem",
    [
        Problem(zoo.graph("lenet"), "cgra512", 2),
        Problem(random_graph(random.Random(5), 7), "xc7z020", 1, 2),
    ],
    ids=["lenet", "branching"],
)
def test_solve__gives_the_same_answer_compiled(problem: Problem, calls: int) -> None:
    plain = GeneticScheduler(compiled_from=NEVER).solve(problem, Budget(calls), 3)
    quick = GeneticScheduler(compiled_from=0).solve(problem, Budget(calls), 3)
    assert quick.actions == plain.actions
    assert quick.cost == plain.cost
    assert quick.apply_calls == plain.apply_calls == calls


def test_solve__throughput_stays_plain() -> None:
    graph = random_graph(random.Random(5), 3)
    problem = Problem(graph, "xc7z020", 1, objective="throughput")
    plain = GeneticScheduler(compiled_from=NEVER).solve(problem, Budget(60), 3)
    assert GeneticScheduler(compiled_from=0).solve(problem, Budget(60), 3).actions == plain.actions
