"""Searching architectures: rewards, references, fronts, and what a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from fragenv.errors import FragenvError
from fragenv.generate import canonical, nb201
from fragenv.generate.architecture import Architecture, save_architectures
from fragenv.generate.canonical import Distinct
from fragenv.generate.generator import Sample
from fragenv.generate.ranking import MOST_NODES, Ranking
from fragenv.generate.references import BLOCKS, reference
from fragenv.generate.search import Candidate, Goal, Plan, front, near, search, smallest
from fragenv.generate.systems import GENERATORS
from fragenv.generate.table import cell_scores
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import OpKind
from fragenv.models import zoo


def toy(architectures: Sequence[Architecture]) -> list[tuple[float, int]]:
    """The more convolutions the better and the slower; pools cost and bring nothing."""
    found = []
    for a in architectures:
        live = [a.ops[node] for node in a.live]
        convolutions = sum(op.startswith("conv") for op in live)
        found.append((convolutions / 6, 100 + 100 * convolutions + 30 * live.count("avgpool3x3")))
    return found


def run(name: str, goal: Goal, plan: Plan, start: Architecture | None = None) -> list[Candidate]:
    return list(search(GENERATORS.get(name)(), toy, goal, plan, start))


def test_reward__follows_the_exponents() -> None:
    goal = Goal(1000, below=-0.5, above=-1)
    assert goal.reward(0.8, 1000) == 0.8
    assert goal.reward(0.8, 250) == pytest.approx(1.6)
    assert goal.reward(0.8, 4000) == pytest.approx(0.2)
    assert Goal(1000).reward(0.8, 10) == 0.8
    assert Goal(1000).reward(0.8, 2000) == 0.8 / 32
    for arguments in ((0.0,), (-5.0,), (100.0, 0.1)):
        with pytest.raises(FragenvError, match="must"):
            Goal(*arguments)


def test_search__finds_the_best_within_the_target() -> None:
    # three convolutions and no pool take 400
    found = run("mutation", Goal(400), Plan(250))
    best = max(found, key=lambda c: c.reward)
    assert (best.score, best.latency_cycles) == (0.5, 400)


def test_evolution__is_ahead_of_chance() -> None:
    def mean_of_best(name: str) -> float:
        goal = Goal(600, below=-0.07, above=-0.07)
        runs = [run(name, goal, Plan(120, seed=seed)) for seed in range(3)]
        return float(np.mean([max(c.reward for c in found[-60:]) for found in runs]))

    assert mean_of_best("mutation") > mean_of_best("random")


@pytest.mark.parametrize("name", ["random", "mutation", "ws_flex"])
def test_search__evaluates_no_function_twice_and_can_be_repeated(name: str) -> None:
    found = run(name, Goal(400), Plan(60, seed=2))
    assert len(found) == 60
    distinct = Distinct()
    assert all(distinct.add(c.architecture) for c in found)
    assert found == run(name, Goal(400), Plan(60, seed=2))
    assert found[:40] == run(name, Goal(400), Plan(40, seed=2))


class Silent:
    """Knows one cell."""

    name = "silent"

    def __init__(self) -> None:
        self.asked = 0

    def fit(self, corpus: object, scores: object, seed: int) -> None: ...

    def sample(self, n: int, condition: object = None, **_: object) -> Sample:
        self.asked += 1
        return Sample((smallest(),), n)

    def log_prob(self, architecture: Architecture) -> None: ...


def test_search__ends_where_nothing_new_comes() -> None:
    generator = Silent()
    found = list(search(generator, toy, Goal(400), Plan(100, per_round=3)))  # type: ignore[arg-type]
    assert len(found) <= 4 and generator.asked < 60


def test_search__begins_with_the_reference_and_near_it() -> None:
    found = run("mutation", Goal(400), Plan(10), BLOCKS["mobilenetv2"])
    assert found[0].architecture == BLOCKS["mobilenetv2"]
    rng = np.random.default_rng(0)
    mutants = [near(BLOCKS["resnet18"], rng) for _ in range(40)]
    assert {len(a) for a in mutants} == {MOST_NODES}
    assert any(len(a.live) > 4 for a in mutants)  # they grow too
    assert any(canonical.same(a, BLOCKS["resnet18"]) for a in mutants)


def chain(graph: DataflowGraph, first: str, last: str) -> list[str]:
    """Convolutions on the way of single producers back from an operator to a tensor."""
    found, op = [], graph.op(last)
    while True:
        if op.kind is OpKind.CONV:
            kind = "depthwise" if op.is_depthwise else "conv"
            found.append(f"{kind}{op.nest.r}x{op.nest.s}")
        if op.inputs[0] == first:
            return found[::-1]
        op = graph.op(graph.producer[op.inputs[0]])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenetv2"])
def test_blocks__are_what_the_networks_repeat_beside_the_identity(name: str) -> None:
    graph = zoo.graph(name)
    found = []
    for op in graph.operators:
        if op.kind is OpKind.ADD:
            # of an identity block one input of the sum is also the input of the other
            for straight, other in (op.inputs, op.inputs[::-1]):
                try:
                    found.append(tuple(chain(graph, straight, graph.producer[other])))
                except KeyError:
                    continue
    block = BLOCKS[name]
    assert found and set(found) == {block.ops[1:-1]}
    assert (0, len(block) - 1) in block.edges


def test_reference__is_a_network_a_cell_or_a_file(tmp_path: Path) -> None:
    text = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
    assert canonical.same(reference(text), reference("resnet18"))
    save_architectures(tmp_path / "a.json", [BLOCKS["googlenet"]])
    assert reference(str(tmp_path / "a.json")) == BLOCKS["googlenet"]
    with pytest.raises(FragenvError, match="unknown reference 'resnet19'; give a network"):
        reference("resnet19")
    assert max(map(len, BLOCKS.values())) <= MOST_NODES


def test_ranking__is_the_share_of_cells_that_are_exceeded() -> None:
    ranking, table = Ranking(), cell_scores()
    columns = {
        name: sorted(row[name] for row in table.values()) for name in ("naswot", "log_synflow")
    }
    picked = list(table)[100::5000]
    found = ranking([nb201.from_choices(choices) for choices in picked])
    for choices, score in zip(picked, found, strict=True):
        shares = [
            sum(other < table[choices][name] for other in values) / len(values)
            for name, values in columns.items()
        ]
        assert score == pytest.approx(sum(shares) / 2, abs=2e-3)
    assert ranking([]) == []


def test_front__is_what_nothing_exceeds() -> None:
    rng = np.random.default_rng(1)
    points = [(float(s), float(c)) for s, c in rng.integers(0, 12, (60, 2))]
    expected = {
        (s, c)
        for s, c in points
        if not any((a >= s and b <= c and (a, b) != (s, c)) for a, b in points)
    }
    found = front(points)
    assert {points[i] for i in found} == expected
    assert [points[i][1] for i in found] == sorted({c for _, c in expected})
    assert front([]) == []


def test_plan__refuses_nothing_to_do() -> None:
    for arguments in product((0, 1), repeat=3):
        if 0 in arguments:
            with pytest.raises(FragenvError, match="at least 1"):
                Plan(*arguments)
