"""Architectures: what they refuse, what is the same, NAS-Bench-201's cells, files."""

from __future__ import annotations

import random
from itertools import permutations
from pathlib import Path

import pytest

from fragenv.generate import nb201
from fragenv.generate.architecture import (
    OPERATORS,
    Architecture,
    ArchitectureError,
    load_architectures,
    save_architectures,
)
from fragenv.generate.canonical import Distinct, key, reduced, same
from fragenv.serialize import FileError

CHAIN = Architecture(("input", "conv3x3", "conv1x1", "output"), ((0, 1), (1, 2), (2, 3)))


@pytest.mark.parametrize(
    ("ops", "edges", "message"),
    [
        (("input", "conv3", "output"), ((0, 1), (1, 2)), "did you mean 'conv3x3'"),
        (("input", "conv3x3"), ((0, 1),), "exactly one 'output' node, got 0"),
        (("input", "input", "output"), ((0, 2),), "exactly one 'input' node, got 2"),
        (("conv3x3", "input", "output"), ((1, 0), (0, 2)), "Architecture.of sorts"),
        (("input", "conv3x3", "output"), ((0, 1),), "no path from input to output"),
        (("input", "skip", "skip", "output"), ((0, 1), (2, 3)), "node 3 .output."),
        (("input", "skip", "skip", "output"), ((0, 1), (1, 2), (2, 1), (2, 3)), "1 -> 2 -> 1|2 ->"),
        (("input", "skip", "skip", "output"), ((0, 2), (2, 1), (1, 3)), "runs backwards"),
        (("input", "skip", "output"), ((0, 1), (1, 2), (0, 1)), "0 -> 1 is given twice"),
        (("input", "skip", "output"), ((0, 1), (1, 7)), "outside of nodes 0 to 2"),
        (("input", "skip", "output"), ((0, 1), (1, 0)), "enters the input"),
    ],
)
def test_architecture__refuses_what_is_none(
    ops: tuple[str, ...], edges: tuple[tuple[int, int], ...], message: str
) -> None:
    with pytest.raises(ArchitectureError, match=message):
        Architecture(ops, edges)


def test_of__sorts_nodes_and_names_a_cycle() -> None:
    shuffled = Architecture.of(
        ("output", "conv1x1", "conv3x3", "input"), [(3, 2), (2, 1), (1, 0), (3, 2)]
    )
    assert shuffled == CHAIN
    with pytest.raises(ArchitectureError, match=r"a cycle: 1 -> 2 -> 3 -> 1"):
        Architecture.of(
            ("input", *("skip",) * 4, "output"),
            [(0, 1), (1, 2), (2, 3), (3, 1), (3, 4), (4, 5)],
        )


def test_live__drops_what_has_no_effect() -> None:
    ops = ("input", "conv3x3", "conv1x1", "avgpool3x3", "output")
    found = Architecture(ops, ((0, 1), (0, 2), (1, 4), (3, 4)))  # 2 unread, 3 reads nothing
    assert found.live == {0, 1, 4}
    assert reduced(found) == (("input", "conv3x3", "output"), ((0, 1, 0), (1, 2, 0)))


def test_reduced__a_sum_counts_what_skips_repeat() -> None:
    plain = Architecture(("input", "conv3x3", "output"), ((0, 1), (1, 2)))
    once = Architecture(("input", "conv3x3", "skip", "output"), ((0, 1), (1, 2), (2, 3)))
    twice = Architecture(("input", "conv3x3", "skip", "output"), ((0, 1), (1, 2), (1, 3), (2, 3)))
    assert same(plain, once)
    assert not same(plain, twice)
    assert reduced(twice)[1] == ((0, 1, 0), (1, 2, 0), (1, 2, 1))


def random_small(chance: random.Random) -> Architecture:
    size = chance.randint(1, 3)
    ops = ("input", *(chance.choice(OPERATORS[:3]) for _ in range(size)), "output")
    while True:
        pairs = [(i, j) for j in range(size + 2) for i in range(j) if chance.random() < 0.6]
        try:
            return Architecture(ops, tuple(pairs))
        except ArchitectureError:
            continue


def same_by_brute_force(a: Architecture, b: Architecture) -> bool:
    """Some renumbering of the reduced nodes makes the two equal."""
    (ops_a, edges_a), (ops_b, edges_b) = reduced(a), reduced(b)
    if sorted(ops_a) != sorted(ops_b):
        return False
    for order in permutations(range(len(ops_a))):
        renamed = sorted((order[s], order[d], n) for s, d, n in edges_a)
        if all(ops_b[order[i]] == op for i, op in enumerate(ops_a)) and renamed == list(edges_b):
            return True
    return False


def test_same__agrees_with_brute_force() -> None:
    chance = random.Random(3)
    cells = [random_small(chance) for _ in range(40)]
    equal = 0
    for i, a in enumerate(cells):
        for b in cells[:i]:
            expected = same_by_brute_force(a, b)
            assert same(a, b) == expected
            assert not expected or key(a) == key(b)
            equal += expected and a != b
    assert equal > 5  # the test saw both answers


def test_distinct__holds_a_function_once() -> None:
    renumbered = Architecture(
        ("input", "conv1x1", "conv3x3", "output"), ((0, 1), (0, 2), (1, 3), (2, 3))
    )
    swapped = Architecture(
        ("input", "conv3x3", "conv1x1", "output"), ((0, 1), (0, 2), (1, 3), (2, 3))
    )
    held = Distinct()
    assert [held.add(a) for a in (CHAIN, renumbered, swapped, CHAIN)] == [True, True, False, False]
    assert len(held) == len(list(held)) == 2
    assert swapped in held and "nothing" not in held


def test_nb201__has_15284_runnable_cells() -> None:
    assert sum(1 for _ in nb201.all_choices()) == 15_625
    assert len(nb201.runnable_choices()) == 15_284


def test_nb201__every_cell_is_an_architecture_exactly_where_it_runs() -> None:
    runnable = set(nb201.runnable_choices())
    for choices in list(nb201.all_choices())[::17]:
        if choices in runnable:
            found = nb201.from_choices(choices)
            assert len(found) == 8 - choices.count("none")
        else:
            with pytest.raises(ArchitectureError, match="no path"):
                nb201.from_choices(choices)


def test_nb201__text_round_trip_and_wiring() -> None:
    cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    assert nb201.text(nb201.parse(cell)) == cell
    found = nb201.from_text(cell)
    assert found.ops == ("input", "conv3x3", "skip", "avgpool3x3", "conv1x1", "output")
    assert found.edges == ((0, 1), (0, 3), (1, 2), (2, 4), (3, 5), (4, 5))


@pytest.mark.parametrize(
    ("cell", "message"),
    [("|conv~0|+|a~0|a~1|", "unknown operator 'conv'"), ("|none~0|", "not a NAS-Bench-201 cell")],
)
def test_nb201__refuses_other_texts(cell: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        nb201.parse(cell)


def test_files__round_trip(tmp_path: Path) -> None:
    cells = [nb201.from_choices(c) for c in nb201.runnable_choices()[::4000]]
    save_architectures(tmp_path / "cells.json", cells)
    loaded = load_architectures(tmp_path / "cells.json")
    assert list(loaded) == cells
    assert [a.origin for a in loaded] == [a.origin for a in cells]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('{"ops": ["input"]}', "architecture 0: needs 'ops'"),
        ('{"ops": ["input", "output"], "edges": []}', "architecture 0: there is no path"),
    ],
)
def test_files__a_bad_entry_is_named(tmp_path: Path, entry: str, message: str) -> None:
    path = tmp_path / "cells.json"
    header = '"format": "fragenv-architectures", "version": 1'
    path.write_text(f'{{{header}, "architectures": [{entry}]}}')
    with pytest.raises(FileError, match=message):
        load_architectures(path)
