"""Observations: columns against values computed by hand from the problem and its states."""

from __future__ import annotations

import numpy as np
import pytest
from env_toy import toy_chip, toy_graph

from fragenv.env.actions import ActionMap, Evict, Run, Spill
from fragenv.env.env import FragmentEnv
from fragenv.env.observation import (
    CHOICE_DYNAMIC,
    GLOBAL,
    NODE_DYNAMIC,
    SLOTS,
    Layout,
    unflatten,
)
from fragenv.env.static import CHOICE_STATIC, NODE_STATIC
from fragenv.models import zoo
from fragenv.schedule.choices import busiest_cycles
from fragenv.schedule.problem import MAX_SLOTS, Problem

GRAPH = toy_graph()


def column(names: tuple[str, ...], array: np.ndarray, name: str) -> np.ndarray:
    return array[..., names.index(name)]


def test_static__describes_the_graph() -> None:
    env = FragmentEnv(GRAPH, toy_chip(), max_nodes=5, max_edges=4, max_choices=30)
    view = unflatten(env.reset(seed=0)[0], env.layout)
    node = view["node_static"]
    assert column(NODE_STATIC, node, "is_conv").tolist() == [1, 0, 0, 0, 0]
    assert column(NODE_STATIC, node, "is_gemm").tolist() == [0, 0, 1, 0, 0]
    macs = 8 * 4 * 9 * 64
    assert column(NODE_STATIC, node, "macs_share")[0] == pytest.approx(macs / (macs + 1280))
    assert column(NODE_STATIC, node, "depth").tolist() == [0, 0.5, 1, 0, 0]
    assert column(NODE_STATIC, node, "height").tolist() == [1, 0.5, 0, 0, 0]
    assert view["node_mask"].tolist() == [1, 1, 1, 0, 0]
    assert view["edge_mask"].tolist() == [1, 1, 0, 0]
    assert view["edge_index"][:, :2].tolist() == [[0, 1], [1, 2]]
    assert not node[3:].any()
    choice = view["choice_static"]
    exists = column(CHOICE_STATIC, choice, "exists")
    own = [len(options) for options in env.problem.choices]
    assert exists.sum(axis=1).tolist() == [*own, 0, 0]
    assert not choice[exists == 0].any()
    utilisation = column(CHOICE_STATIC, choice, "utilisation")
    assert 0 < utilisation.max() <= 1


@pytest.mark.parametrize("name", ["lenet", "squeezenet"])
def test_busiest_cycles__are_no_more_than_any_plans(name: str) -> None:
    # the closed form must be a bound for what the tiling search finds
    problem = Problem(zoo.graph(name), batch=1)
    for options in problem.choices:
        for choice in options[:3]:
            plan = problem.plan(choice, 0, problem.chip.buffer_bytes // 2)
            ideal = busiest_cycles(choice, problem.library[choice.fragment])
            assert plan is None or 0 < ideal <= plan.run_cycles


def test_dynamic__follows_the_state() -> None:
    env = FragmentEnv(GRAPH, toy_chip())
    problem = env.problem
    view = unflatten(env.reset(seed=0)[0], env.layout)
    assert column(NODE_DYNAMIC, view["node_dynamic"], "ready").tolist() == [1, 0, 0]
    assert not view["slots"].any()
    fits = column(CHOICE_DYNAMIC, view["choice_dynamic"], "fits_untouched")[0]
    assert fits[: len(problem.choices[0])].all()
    keep = next(i for i, c in enumerate(problem.choices[0]) if c.keep and len(c.operators) == 1)
    view = unflatten(env.step(env.action_map.encode(Run(0, keep)))[0], env.layout)
    node = view["node_dynamic"]
    assert column(NODE_DYNAMIC, node, "done").tolist() == [1, 0, 0]
    assert column(NODE_DYNAMIC, node, "ready").tolist() == [0, 1, 0]
    assert column(NODE_DYNAMIC, node, "output_on_chip").tolist() == [1, 0, 0]
    assert column(NODE_DYNAMIC, node, "inputs_on_chip_share").tolist() == [0, 1, 0]
    assert column(NODE_DYNAMIC, node, "output_time")[0] == pytest.approx(1)
    fragment = problem.choices[0][keep].fragment
    bound = column(CHOICE_DYNAMIC, view["choice_dynamic"], "bound")
    for index, choice in enumerate(problem.choices[1]):
        stands_in = fragment in problem.substitutes[choice.fragment]
        assert bound[1, index] == stands_in
    assert column(SLOTS, view["slots"], "bound").sum() == 1
    state = env.state
    free = column(GLOBAL, view["global"], "buffer_free_share")
    assert free == pytest.approx(1 - 512 / 2048)
    cost = column(GLOBAL, view["global"], "latency_over_bound")
    assert cost == pytest.approx(state.latency_cycles / problem.bound.latency_cycles)
    view = unflatten(env.step(env.action_map.encode(Spill(0)))[0], env.layout)
    node = view["node_dynamic"]
    assert column(NODE_DYNAMIC, node, "output_in_dram").tolist() == [1, 0, 0]
    assert column(NODE_DYNAMIC, node, "inputs_on_chip_share").tolist() == [0, 0, 0]
    view = unflatten(env.step(env.action_map.encode(Evict(0)))[0], env.layout)
    assert not view["slots"].any()


def test_static_id__is_equal_exactly_for_equal_static_arrays() -> None:
    def static_id(**kwargs: object) -> int:
        fields = {"model": GRAPH, "chip": toy_chip()} | kwargs
        return int(FragmentEnv(**fields).reset(seed=0)[0]["static_id"][0])  # type: ignore[arg-type]

    same = static_id()
    assert same == static_id() == static_id(model=toy_graph())
    others = [
        static_id(batch=2),
        static_id(max_nodes=4),
        static_id(chip=toy_chip(dram_bytes_per_cycle=4)),
        static_id(model="lenet", chip="cgra512"),
    ]
    assert len({same, *others}) == 5


def test_observations__share_no_memory() -> None:
    env = FragmentEnv(GRAPH, toy_chip())
    first, _ = env.reset(seed=0)
    kept = {key: array.copy() for key, array in first.items()}
    second, *_ = env.step(int(env.action_masks().argmax()))
    for array in second.values():
        array[:] = 0
    for key, array in first.items():
        np.testing.assert_array_equal(array, kept[key])
    third, _ = env.reset(seed=0)
    for key, array in third.items():
        np.testing.assert_array_equal(array, kept[key])


@pytest.mark.parametrize(("nodes", "choices"), [(0, 0), (4, 0), (0, 7), (4, 7)])
def test_action_map__round_trips_and_keeps_evict_first(nodes: int, choices: int) -> None:
    problem = Problem(GRAPH, toy_chip())
    wide = ActionMap(problem, 3 + nodes, problem.num_choices + choices)
    numbers = [wide.from_problem(a) for a in range(problem.num_actions)]
    assert numbers[:MAX_SLOTS] == list(range(MAX_SLOTS))
    assert len(set(numbers)) == len(numbers) and max(numbers) < wide.num_actions
    for own, number in enumerate(numbers):
        assert wide.to_problem(number) == own
        assert wide.encode(wide.decode(number)) == number
        assert wide.decode(number) == wide.decode_own(own)
    padding = set(range(-2, wide.num_actions + 2)) - set(numbers)
    assert all(wide.to_problem(number) == -1 for number in padding)


def test_layout__space_has_the_shapes_of_the_table() -> None:
    layout = Layout(nodes=4, edges=6, choices=3)
    space = layout.space()
    assert set(space.keys()) == set(layout.shapes)
    for key, shape in layout.shapes.items():
        assert space[key].shape == (int(np.prod(shape)),)
