"""Covers: every operator once, none cheaper among those that can be listed, and they run."""

from __future__ import annotations

from math import inf

import pytest
from blocks import basic_block, chain, fire, inverted_residual

from agents.heuristics import covers
from agents.heuristics.covers import GAP, Covers, fuses, run_cover
from agents.heuristics.sets import try_covers
from agents.scheduler import Budget, Meter
from fragenv.graph.dataflow import DataflowGraph
from fragenv.hardware.fragment import Stage
from fragenv.schedule.choices import Choice
from fragenv.schedule.problem import Problem
from fragenv.schedule.state import SpillRecord, TaskRecord

GRAPHS = {
    "fire module": fire(),
    "basic block": basic_block(True),
    "inverted residual": inverted_residual(),
    "chain": chain(3),
}


def array_fragments(problem: Problem) -> list[int]:
    return [i for i, f in enumerate(problem.library) if Stage.MAC in f.stages]


def task_cost(problem: Problem, choice: Choice) -> float:
    """The cheapest way to run a task alone with its tensors in DRAM, by the default cost."""
    bound = problem.bound
    tilings = problem.tiling_costs(choice, 0, problem.chip.buffer_bytes)
    return min(c / bound.latency_cycles + m / bound.traffic_bytes for _, c, m in tilings)


def cheapest_listed(problem: Problem, fragment: int) -> float:
    """The least cost of all covers with every tensor in DRAM, by listing them."""
    tasks = [c for o in problem.choices for c in o if c.fragment == fragment and not c.keep]
    costs = {choice: task_cost(problem, choice) for choice in tasks}

    def least(left: frozenset[int]) -> float:
        if not left:
            return 0.0
        node = min(left)
        fitting = (t for t in tasks if node in t.operators and left.issuperset(t.operators))
        return min((costs[t] + least(left - set(t.operators)) for t in fitting), default=inf)

    return least(frozenset(range(len(problem.operators))))


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_cover__runs_every_operator_once_and_is_no_dearer_than_any_listed(
    name: str, depth: int
) -> None:
    graph: DataflowGraph = GRAPHS[name]
    problem = Problem(graph, "cgra512", 2, depth)
    covers = Covers(problem)
    for fragment in array_fragments(problem):
        cover = covers.best([fragment])
        assert cover is not None
        tasks = [problem.choices[node][number] for node, number in cover.tasks]
        operators = sorted(node for task in tasks for node in task.operators)
        assert operators == list(range(len(problem.operators)))
        assert {task.fragment for task in tasks} == {fragment}
        # tasks that are within the gap of one another count as alike, and the search may end there
        assert cover.cost <= (1 + 3 * GAP) * cheapest_listed(problem, fragment)


@pytest.mark.parametrize("name", GRAPHS)
def test_run_cover__takes_the_tasks_and_spills_nothing(name: str) -> None:
    problem = Problem(GRAPHS[name], "ecp5-85", 4, 3)
    covers = Covers(problem)
    for fragment in array_fragments(problem):
        cover = covers.best([fragment])
        assert cover is not None
        path = run_cover(Meter(problem, Budget(1000)), cover)
        assert path is not None and path.state.finished
        records = list(path.state.records())
        run = {r.choice for r in records if isinstance(r, TaskRecord)}
        assert run == {problem.choices[node][number] for node, number in cover.tasks}
        assert not any(isinstance(r, SpillRecord) for r in records)


def test_run_cover__gives_up_where_the_budget_ends() -> None:
    problem = Problem(chain(3), "cgra512", 1)
    cover = Covers(problem).best([0])
    assert cover is not None and len(cover.tasks) > 1
    assert run_cover(Meter(problem, Budget(1)), cover) is None


def test_covers__of_fragments_that_cannot_run_the_network_are_none() -> None:
    problem = Problem(inverted_residual(), "cgra512", 1)
    (vector,) = (
        i for i, f in enumerate(problem.library) if not {Stage.MAC, Stage.DEPTHWISE} & set(f.stages)
    )
    covers = Covers(problem)
    assert covers.best([vector]) is None
    assert covers.estimate([vector]) == inf


def test_cover__in_turns_pays_for_swaps() -> None:
    problem = Problem(chain(3), "xc7z045", 1)
    covers = Covers(problem)
    (first, *_) = array_fragments(problem)
    alone, swapped = covers.best([first]), covers.best([first], swaps=True)
    assert alone is not None and swapped is not None
    assert swapped.cost > alone.cost + problem.bind_cycles[first] / problem.bound.latency_cycles / 2


def test_try_covers__one_fuses_nothing() -> None:
    problem = Problem(inverted_residual(), "cgra512", 1, max_depth=3)
    meter = Meter(problem, Budget(2000))
    fusing = [
        any(problem.choices[node][index].layers for node, index in cover.tasks)
        for cover, _ in try_covers(meter, 1000)
    ]
    assert True in fusing and False in fusing
    plain = Problem(inverted_residual(), "cgra512", 1)
    assert not fuses(plain)
    tasks = [cover.tasks for cover, _ in try_covers(Meter(plain, Budget(2000)), 1000)]
    assert len(set(tasks)) == len(tasks)


def test_undercut__leaves_fewer_columns_where_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = Problem(fire(), "ecp5-85", 8, 3)
    columns = [c for f in range(len(problem.library)) for c in Covers(problem)._columns(f, False)]
    fine = covers._undercut(columns)
    monkeypatch.setattr(covers, "MANY", len(fine) - 1)
    coarse = covers._undercut(columns)
    assert len(coarse) < len(fine)

    def tasks(of: list[covers.Column]) -> set[tuple[object, ...]]:
        return {(c.choice.operators, c.choice.keep, c.on_chip) for c in of}

    # every task stays, with the smallest of its working sets
    assert tasks(coarse) == tasks(fine)
    for task in tasks(fine):
        least = [min(c.sram for c in of if task in tasks([c])) for of in (coarse, fine)]
        assert least[0] == least[1]
