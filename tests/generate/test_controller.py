"""Decisions that make cells, their environment, the controller that learns it, and its search."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import exp

import gymnasium.utils.env_checker
import numpy as np
import pytest
import torch
from small_corpus import convolutions, corpus

from fragenv.generate import nb201
from fragenv.generate.architecture import Architecture, ArchitectureError
from fragenv.generate.cell_env import ILLEGAL, CellEnv
from fragenv.generate.controller import ControllerGenerator, MnasReward
from fragenv.generate.controller_policy import Controller, ControllerConfig
from fragenv.generate.controller_search import Field, controller_search, make_field, random_search
from fragenv.generate.decisions import CellDecisions, Chosen, Decisions, DenseDecisions
from fragenv.generate.dense import NONE, DenseSpace
from fragenv.generate.evaluate import evaluate
from fragenv.generate.training import TrainingConfig

SMALL = DenseSpace(4, ("conv1x1", "skip"))


def all_chosen(decisions: Decisions, chosen: Chosen = ()) -> Iterator[Chosen]:
    """Every sequence of allowed options."""
    if len(chosen) == decisions.length:
        yield chosen
        return
    for option, allowed in enumerate(decisions.allowed(chosen)):
        if allowed:
            yield from all_chosen(decisions, (*chosen, option))


def all_of(space: DenseSpace) -> set[Architecture]:
    """Every numbered architecture of a space, by trying all arrays."""
    names, size = space.node_types, space.nodes
    pairs = [(i, j) for j in range(size) for i in range(j)]
    found = set()
    for inner in product((*space.operators, NONE), repeat=size - 2):
        types = np.array([names.index(n) for n in ("input", *inner, "output")])
        for bits in product((False, True), repeat=len(pairs)):
            adjacency = np.zeros((size, size), dtype=np.bool_)
            for (i, j), bit in zip(pairs, bits, strict=True):
                adjacency[i, j] = bit
            try:
                found.add(space.decode(types, adjacency))
            except ArchitectureError:
                continue
    return found


def test_decisions__of_nb201_make_every_runnable_cell_once() -> None:
    decisions = CellDecisions()
    made = [decisions.choices(chosen) for chosen in all_chosen(decisions)]
    assert sorted(made) == sorted(nb201.runnable_choices())
    chosen = decisions.chosen(made[5000])
    assert decisions.build(chosen) == nb201.from_choices(made[5000])
    assert chosen in decisions.sequences(decisions.build(chosen))


def test_decisions__of_a_dense_space_make_every_architecture_once() -> None:
    decisions = DenseDecisions(SMALL)
    sequences = list(all_chosen(decisions))
    made = [decisions.build(chosen) for chosen in sequences]
    assert len(set(made)) == len(made)
    assert set(made) == all_of(SMALL)
    for architecture, chosen in zip(made, sequences, strict=True):
        assert decisions.sequences(architecture) == (chosen,)
    foreign = Architecture(("input", "conv5x5", "output"), ((0, 1), (1, 2)))
    assert not decisions.sequences(foreign)


def test_env__keeps_gymnasiums_contract_and_refuses_what_is_forbidden() -> None:
    worth = {"conv": 0.75}
    env = CellEnv(CellDecisions(), lambda chosen, goal: worth["conv"] + goal[0], goal_size=1)
    gymnasium.utils.env_checker.check_env(env, skip_render_check=True)
    observation, _ = env.reset(options={"goal": (0.125,)})
    assert observation[-1] == 0.125
    # with nothing on the first three edges only the fourth can make a path
    for _ in range(3):
        env.step(np.int64(0))
    masks = env.action_masks()
    assert masks.tolist() == [False, True, True, True, True]
    before = env.step(np.int64(0))
    assert before[1] == ILLEGAL and before[4] == {"illegal": True} and not before[2]
    assert before[0][:5].tolist() == masks.tolist()
    for option in (3, 0):
        assert env.step(np.int64(option))[1] == 0.0
    _, reward, terminated, _, info = env.step(np.int64(0))
    assert (reward, terminated, info["chosen"]) == (0.875, True, (0, 0, 0, 3, 0, 0))


def test_controller__probabilities_of_all_cells_add_up_to_one() -> None:
    decisions = DenseDecisions(SMALL)
    training = TrainingConfig(steps=40, learning_rate=1e-2)
    config = ControllerConfig(hidden=8, episodes=10, epochs=1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    controller = Controller(decisions, lambda c, g: float(sum(c)), 0, training, config, goal_size=1)
    controller.train()
    total = sum(exp(controller.log_prob(c, (0.3,))) for c in all_chosen(decisions))
    assert total == pytest.approx(1, abs=1e-4)
    # and the frequencies of what is drawn are those probabilities
    drawn = controller.draw([(0.3,)] * 4000, seed=1)
    common = max(set(drawn), key=drawn.count)
    p = exp(controller.log_prob(common, (0.3,)))
    # five standard deviations
    assert abs(drawn.count(common) / 4000 - p) < 5 * (p * (1 - p) / 4000) ** 0.5
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()


def test_generator__learns_what_a_reward_says() -> None:
    cells = corpus()
    generator = ControllerGenerator(
        TrainingConfig(steps=300, learning_rate=1e-2),
        decisions=CellDecisions(),
        oracle=convolutions,
        reward=lambda attributes: -attributes["convolutions"],
    )
    generator.fit(cells, [convolutions(a) for a in cells], seed=0)
    sample = generator.sample(100, rng=np.random.default_rng(0))
    mean = np.mean([convolutions(a)["convolutions"] for a in sample.architectures])
    everywhere = [convolutions(nb201.from_choices(c)) for c in nb201.runnable_choices()[::100]]
    assert mean < 0.3 * np.mean([e["convolutions"] for e in everywhere])


def test_generator__log_prob_sums_the_ways_to_a_graph() -> None:
    generator = ControllerGenerator(
        TrainingConfig(steps=20, learning_rate=1e-2), decisions=CellDecisions()
    )
    generator.fit(corpus(), None, seed=0)
    decisions = CellDecisions()
    cell = ("nor_conv_1x1", "none", "none", "nor_conv_3x3", "none", "none")
    twin = ("none", "nor_conv_1x1", "none", "nor_conv_3x3", "none", "none")
    graph = nb201.from_choices(cell)
    assert graph == nb201.from_choices(twin)
    assert generator._controller is not None
    ways = [generator._controller.log_prob(decisions.chosen(c), ()) for c in (cell, twin)]
    assert generator.log_prob(graph) == pytest.approx(np.logaddexp(*ways), abs=1e-6)


@pytest.mark.slow
def test_generator__follows_a_condition() -> None:
    cells = [nb201.from_choices(c) for c in nb201.runnable_choices()]
    scores = [convolutions(a) for a in cells]
    generator = ControllerGenerator(decisions=CellDecisions())
    generator.fit(cells, scores, seed=0)
    conditions = [{"convolutions": float(n)} for n in range(6)] * 20
    found = evaluate(generator, 10, 0, (), conditions, convolutions)
    assert found.control["convolutions"].relative < 0.5


def test_mnas_reward__twice_the_latency_costs_five_percent() -> None:
    reward = MnasReward("score", "latency", target=100.0)
    assert reward({"score": 0.8, "latency": 100.0}) == 0.8
    slow = reward({"score": 0.8, "latency": 200.0})
    assert slow / 0.8 == pytest.approx(0.9526, abs=1e-4)  # 2 ** -0.07


def test_field__percentiles_by_hand() -> None:
    scores = {c: {"a": float(n), "b": -float(n % 7)} for n, c in enumerate(nb201.all_choices())}
    held = {c: scores[c] for c in nb201.runnable_choices()[:100]}
    field = make_field(held, ("a",), "macs", 0.0)
    assert field.score.tolist() == [(n + 1) / 100 for n in range(100)]
    assert field.percentile(0.5) == 50.0
    assert random_search(field, 100, 0).best == 100.0
    light = make_field(held, ("a",), "macs", -9.0)
    assert light.optimum_cost == light.cost.min()


def test_search__finds_the_best_of_an_easy_field() -> None:
    decisions = CellDecisions()
    cells = tuple(map(decisions.chosen, nb201.runnable_choices()))
    worth = np.array([sum(option == 3 for option in cell) for cell in cells]) / 6
    field = Field(cells, worth, 1 - worth, worth)
    learnt = controller_search(field, 300, 0)
    assert learnt.found.best > 99.9 and learnt.found.evaluations is not None
    assert learnt.mean_cost < 0.3 < float(field.cost.mean())
