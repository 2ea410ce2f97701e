"""The mask-aware checker finds environments that are broken on purpose."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from env_toy import toy_chip, toy_graph

from fragenv.env.check import MaskError, check_masks
from fragenv.env.env import FragmentEnv

GRAPH = toy_graph()


class AllowsEverything(FragmentEnv):
    def action_masks(self) -> Any:
        return np.ones_like(self._mask)


class HidesOneAction(FragmentEnv):
    def action_masks(self) -> Any:
        mask = super().action_masks()
        if mask.sum() > 1:
            mask[np.flatnonzero(mask)[-1]] = False
        return mask


class IntegerMask(FragmentEnv):
    def action_masks(self) -> Any:
        return super().action_masks().astype(np.int8)


class NothingAllowed(FragmentEnv):
    def action_masks(self) -> Any:
        return np.zeros_like(self._mask)


class IllegalActionEvicts(FragmentEnv):
    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        if rest[-1]["illegal"]:
            observation["slots"][:] = 0.5
        return observation, *rest


class IllegalActionEnds(FragmentEnv):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or info["illegal"], truncated, info


class LegalActionIgnored(FragmentEnv):
    def step(self, action: Any) -> Any:
        before = self.state
        result = super().step(action)
        self.state, self._mask = before, self.action_map.mask(before)
        observation = self._encoder.encode(self.state, self._mask)
        return observation, *result[1:]


class RandomReward(FragmentEnv):
    def step(self, action: Any) -> Any:
        observation, _, *rest = super().step(action)
        return observation, float(np.random.default_rng().random()), *rest


class OutsideItsSpace(FragmentEnv):
    def reset(self, **kwargs: Any) -> Any:
        observation, info = super().reset(**kwargs)
        observation["global"][0] = -1.0
        return observation, info


class SaysNothing(FragmentEnv):
    def step(self, action: Any) -> Any:
        result = super().step(action)
        del result[-1]["illegal"]
        return result


class NeverEnds(FragmentEnv):
    """Begins again where it should end."""

    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = super().step(action)
        if self.state.finished:
            observation, _ = self.reset()
        return observation, reward, False, False, info


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (AllowsEverything, "refused as illegal"),
        (HidesOneAction, "forbidden by the mask, but accepted"),
        (IntegerMask, "not bool"),
        (NothingAllowed, "allows nothing"),
        (IllegalActionEvicts, "changes the observation"),
        (IllegalActionEnds, "ends the episode"),
        (LegalActionIgnored, "does not change"),
        (RandomReward, "differ after"),
        (OutsideItsSpace, "outside its space"),
        (SaysNothing, "no entry 'illegal'"),
        (NeverEnds, "does not end"),
    ],
)
def test_check_masks__finds_what_is_broken(broken: type[FragmentEnv], says: str) -> None:
    env = broken(model=GRAPH, chip=toy_chip())
    with pytest.raises(MaskError, match=says):
        check_masks(env, tries=200, max_steps=30)


def test_check_masks__accepts_the_environment_and_wrappers_of_it() -> None:
    env = FragmentEnv(model=GRAPH, chip=toy_chip())
    assert check_masks(gymnasium.wrappers.TimeLimit(env, 50), seed=3) >= 1
