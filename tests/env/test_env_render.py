"""Renderings: text and pixels of an episode, from the first state to the last."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from env_toy import toy_chip, toy_graph

import fragenv  # noqa: F401  registers the environments
from fragenv.env.env import FragmentEnv

GRAPH = toy_graph()


def test_ansi__names_units_fragments_and_tasks() -> None:
    env = FragmentEnv(GRAPH, toy_chip(), render_mode="ansi")
    env.reset(seed=0)
    text = env.render()
    assert isinstance(text, str) and "0/3 operators" in text
    rng = np.random.default_rng(0)
    terminated = False
    while not terminated:
        *_, terminated, _, _ = env.step(rng.choice(np.flatnonzero(env.action_masks())))
    text = env.render()
    assert isinstance(text, str)
    lines = text.splitlines()
    assert "3/3 operators" in lines[0]
    assert any(line.lstrip().startswith("DMA |") and "#" in line for line in lines)
    for name in ("conv", "pool", "fc"):
        assert any(name in line for line in lines[3:])
    lanes = [line for line in lines if line.endswith("|")]
    assert len({line.index("|") for line in lanes}) == 1


@pytest.mark.parametrize("name", ["AlexNetChip-v0"])
def test_rgb_array__is_a_picture_that_changes_with_the_schedule(name: str) -> None:
    env = gymnasium.make(name, render_mode="rgb_array")
    env.reset(seed=0)
    pictures = [env.render()]
    masks = env.get_wrapper_attr("action_masks")
    for _ in range(3):
        env.step(np.int64(np.flatnonzero(masks())[-1]))
        pictures.append(env.render())
    for picture in pictures:
        assert isinstance(picture, np.ndarray)
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert not np.array_equal(pictures[1], pictures[3])
    # more ink than white paper with two empty axes
    assert (pictures[3] < 250).mean() > (pictures[0] < 250).mean()
    assert FragmentEnv(GRAPH, toy_chip()).render() is None
