"""Sharing on tasks of real networks: only legal merges, and what they save."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from fragenv.errors import FragenvError
from fragenv.hardware.chip import load_chip
from fragenv.hardware.fragment import Fragment
from fragenv.hardware.library import LANES
from fragenv.hardware.sharing import Sharer, Sharing
from fragenv.models import zoo
from fragenv.schedule.pattern_tasks import PatternTasks, pattern_tasks
from fragenv.schedule.problem import Problem
from fragenv.schedule.shape import TaskShape

CHIP = load_chip("xc7z020")


@pytest.fixture(scope="module")
def tasks() -> tuple[PatternTasks, ...]:
    return pattern_tasks(zoo.graph("resnet18"))


@pytest.fixture(scope="module")
def sharer(tasks: tuple[PatternTasks, ...]) -> Sharer:
    return Sharer([t.shapes for t in tasks], CHIP, slowdown=0.1)


def cycles(shapes: tuple[TaskShape, ...], fragment: Fragment) -> int:
    """One RUN for each task, task by task."""
    total = 0
    for s in shapes:
        blocks = s.output_groups(fragment) * s.blocks_per_group(fragment)
        total += s.run_cycles(fragment, (0, blocks), s.window.rows_out, s.out_rows, s.k)
    return total


def check_legal(sharing: Sharing, sharer: Sharer, tasks: tuple[PatternTasks, ...]) -> None:
    assert sorted(n for g in sharing.groups for n in g.patterns) == list(range(len(tasks)))
    for group in sharing.groups:
        assert group.fragment.bound_area(CHIP).fits(sharer.room)
        for n in group.patterns:
            own = sharer.own[n]
            for shape in tasks[n].shapes:
                assert group.fragment.implements(shape.stages)
            limit = 1.1 * cycles(tasks[n].shapes, own)
            assert cycles(tasks[n].shapes, group.fragment) <= limit + 1e-6
    assert sharing.area == pytest.approx(sum(sharer.area(g.fragment) for g in sharing.groups))


def test_own__is_the_smallest_that_is_almost_as_fast(
    tasks: tuple[PatternTasks, ...], sharer: Sharer
) -> None:
    for number in (0, 4):
        stages = sharer.own[number].stages
        lanes = [(i, o) for i, o in product(LANES, LANES) if i * o <= sharer.room.multipliers]
        fitting = [
            f for i, o in lanes if (f := Fragment(i, o, stages)).bound_area(CHIP).fits(sharer.room)
        ]
        fastest = min(cycles(tasks[number].shapes, f) for f in fitting)
        fast = [f for f in fitting if cycles(tasks[number].shapes, f) <= 1.05 * fastest]
        assert sharer.own[number] in fast
        assert sharer.area(sharer.own[number]) == min(sharer.area(f) for f in fast)


def test_share__is_legal_and_saves(tasks: tuple[PatternTasks, ...], sharer: Sharer) -> None:
    unshared = sharer.unshared()
    assert len(unshared.groups) == len(tasks) and unshared.evaluations == 0
    pairs = list(combinations(range(len(tasks)), 2))
    areas = [unshared.area]
    for evaluations in (3, 10, 10**6):
        found = sharer.share(pairs, evaluations)
        check_legal(found, sharer, tasks)
        assert found.evaluations <= evaluations
        areas.append(found.area)
    assert areas == sorted(areas, reverse=True) and areas[-1] < areas[0] / 2
    check_legal(sharer.share_all(), sharer, tasks)


def test_share__pairs_that_share_already_cost_nothing(sharer: Sharer) -> None:
    once = sharer.share([(0, 2)], 5)
    assert once.evaluations == 1
    assert sharer.share([(0, 2), (2, 0), (0, 2)], 5) == once
    assert sharer.share([(0, 2)], 0) == sharer.unshared()


def test_share_all__leaves_no_merge_that_saves(
    tasks: tuple[PatternTasks, ...], sharer: Sharer
) -> None:
    found = sharer.share_all()
    for a, b in combinations(found.groups, 2):
        merged = sharer.merged(a.patterns + b.patterns)
        before = sharer.area(a.fragment) + sharer.area(b.fragment)
        assert merged is None or sharer.area(merged) >= before - 1e-9


def test_strict__subsumption_is_a_legal_merge_without_slowdown(
    tasks: tuple[PatternTasks, ...],
) -> None:
    strict = Sharer([t.shapes for t in tasks], CHIP, slowdown=0)
    merges = 0
    for a, b in combinations(range(len(tasks)), 2):
        if strict.own[a].subsumes(strict.own[b]):
            merged = strict.merged((a, b))
            assert merged is not None
            assert strict.area(merged) <= strict.area(strict.own[a])
            merges += 1
    assert merges


def test_sharer__refuses_bad_arguments(tasks: tuple[PatternTasks, ...]) -> None:
    with pytest.raises(FragenvError, match="slowdown must not be negative"):
        Sharer([tasks[0].shapes], CHIP, -0.1)
    with pytest.raises(FragenvError, match="pattern 1 has no task"):
        Sharer([tasks[0].shapes, ()], CHIP)


def test_tasks__are_the_choices_of_the_problem(tasks: tuple[PatternTasks, ...]) -> None:
    problem = Problem(zoo.graph("resnet18"), CHIP)
    chosen = {
        (c.pattern, tuple(problem.operators[n].name for n in c.operators))
        for options in problem.choices
        for c in options
    }
    assert chosen == {(t.pattern.name, names) for t in tasks for names in t.operators}
    assert all(t.typed.labels == t.pattern.labels for t in tasks)


def test_problem__takes_a_library(tasks: tuple[PatternTasks, ...], sharer: Sharer) -> None:
    library = tuple(dict.fromkeys(g.fragment for g in sharer.share_all().groups))
    problem = Problem(zoo.graph("resnet18"), CHIP, library=library)
    assert problem.library == library
    assert {c.fragment for options in problem.choices for c in options} == set(range(len(library)))
