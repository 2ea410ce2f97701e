"""Environments of drawn networks: checkers, seeds, padding, and what is drawn again."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

import fragenv  # noqa: F401  registers the environments
from fragenv.env import generated
from fragenv.env.check import check_masks
from fragenv.env.generated import GeneratedEnv
from fragenv.env.registry import GENERATED_ENVIRONMENT, lookup
from fragenv.errors import FragenvError
from fragenv.generate.architecture import Architecture
from fragenv.generate.generator import Sample
from fragenv.generate.skeleton import Skeleton, build_graph

SMALL = Skeleton(channels=4, stages=1, input_shape=(1, 8, 8))
PLAIN = Architecture(("input", "conv1x1", "output"), ((0, 1), (1, 2)))
LONG = Architecture(("input", *(("conv3x3",) * 6), "output"), tuple((i, i + 1) for i in range(7)))


def make(**kwargs: Any) -> GeneratedEnv:
    env = gymnasium.make(GENERATED_ENVIRONMENT, skeleton=SMALL, max_nodes=40, **kwargs).unwrapped
    assert isinstance(env, GeneratedEnv)
    return env


class Fixed:
    """Gives the architectures of a list in turns."""

    name = "fixed"

    def __init__(self, *architectures: Architecture) -> None:
        self.architectures, self.count = architectures, 0

    def fit(self, corpus: object, scores: object, seed: int) -> None: ...

    def sample(self, n: int, condition: Any = None, reference: Any = None, *, rng: Any) -> Sample:
        self.count += 1
        return Sample((self.architectures[self.count % len(self.architectures)],), n)

    def log_prob(self, architecture: Architecture) -> None: ...


@pytest.mark.parametrize("resample", [False, True])
def test_checkers__accept_it(resample: bool) -> None:
    env = make(resample=resample, render_mode="rgb_array")
    gymnasium_check(env)
    sb3_check(env)
    assert check_masks(env, seed=1, tries=1) > 1


def drawn(env: GeneratedEnv, *seeds: int | None) -> list[Architecture]:
    found = []
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        assert observation in env.observation_space
        assert env.problem.operators == build_graph(env.architecture, SMALL).operators
        found.append(env.architecture)
    return found


def test_resets__draw_networks_by_their_seeds() -> None:
    env, again = make(resample=True, seed=3), make(resample=True, seed=3)
    first = env.architecture
    assert first == again.architecture
    unseeded = drawn(env, None, None)
    assert unseeded == drawn(again, None, None) and len({first, *unseeded}) == 3
    seeded = drawn(env, 7, None, 7, None)
    assert seeded[:2] == seeded[2:] and seeded[0] != seeded[1]
    assert make(seed=4).architecture != make(seed=3).architecture


def test_without_resampling__the_network_stays() -> None:
    env = make(seed=3)
    assert drawn(env, 1, None, 2) == [make(resample=True, seed=3).architecture] * 3


def test_observations__are_those_of_each_network() -> None:
    env = make(resample=True)
    numbers, nodes = [], []
    for seed in (1, 3, 1):
        observation, _ = env.reset(seed=seed)
        numbers.append(int(observation["static_id"][0]))
        nodes.append(int(observation["node_mask"].sum()))
        assert nodes[-1] == len(env.problem.operators)
    assert numbers[0] == numbers[2] != numbers[1]


def test_problems__are_shared_by_environments_of_one_network() -> None:
    assert make(seed=5).problem is make(seed=5).problem


def test_networks_that_do_not_fit__are_drawn_again() -> None:
    env = make(generator=Fixed(LONG, PLAIN), max_edges=10, resample=True)
    for _ in range(3):
        env.reset()
        assert env.architecture == PLAIN
    with pytest.raises(FragenvError, match=r"none of 100 networks of generator 'fixed'.*max_edges"):
        make(generator=Fixed(LONG), max_edges=10)
    with pytest.raises(FragenvError, match="did you mean 'random'"):
        make(generator="randon")


def test_default_maxima__have_room_for_what_the_generators_draw() -> None:
    rng = np.random.default_rng(0)
    for name in ("random", "mutation", "ws_flex"):
        env = GeneratedEnv(name, seed=2)
        sizes = env.layout.nodes, env.layout.edges, env.layout.choices
        assert sizes == (generated.MAX_NODES, generated.MAX_EDGES, generated.MAX_CHOICES)
        for architecture in env.generator.sample(20, rng=rng).architectures:
            assert len(build_graph(architecture).chip_operators) <= generated.MAX_NODES


def test_lookup__has_no_model() -> None:
    name, kwargs = lookup(GENERATED_ENVIRONMENT, None, "zu7ev", None)
    assert name == "" and kwargs["chip"] == "zu7ev" and "model" not in kwargs
    with pytest.raises(FragenvError, match="has its own model"):
        lookup(GENERATED_ENVIRONMENT, "lenet", None, None)
