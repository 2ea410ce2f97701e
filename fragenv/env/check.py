"""A checker of masked environments: what Gymnasium's own checker, which ignores masks, leaves out.

It uses only ``reset``, ``step``, ``action_masks`` and ``info["illegal"]``, so that any environment
with these can be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fragenv.errors import FragenvError

if TYPE_CHECKING:
    import gymnasium


class MaskError(FragenvError):
    """An environment breaks the contract of masks."""


class _Step(NamedTuple):
    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    illegal: bool
    mask: npt.NDArray[np.bool_]


def check_masks(
    env: gymnasium.Env[Any, Any], seed: int = 0, tries: int = 4, max_steps: int = 100_000
) -> int:
    """Play one random masked episode and check at every state on the way:

    * the mask is a boolean array of the action space's size with at least one legal action, and
      the observation is inside its space;
    * ``tries`` actions that the mask forbids (all, where there are fewer) are refused: ``illegal``
      is set, observation and mask stay, the episode goes on unless it is truncated;
    * ``tries`` actions that it allows are accepted and change the observation; each is tried in
      an episode of its own that repeats the actions so far, which must give the same observations,
      rewards and masks again.

    The episode must end by itself.

    Args:
        seed: of the environment and of the choice of actions.
        max_steps: where the episode is given up.

    Returns:
        The number of legal steps of the episode.

    Raises:
        MaskError: the first demand that is not met, with step and action.
    """
    rng = np.random.default_rng(seed)
    path: list[int] = []
    steps = [_start(env, seed)]
    while not steps[-1].terminated:
        current = steps[-1]
        where = f"after {len(path)} steps"
        _check_state(env, current, where)
        legal = rng.permutation(np.flatnonzero(current.mask))[:tries]
        for action in legal[1:]:
            _replay(env, seed, path, steps)
            _check_accepted(current, _step(env, int(action)), f"action {action} {where}")
        _replay(env, seed, path, steps)
        for action in rng.permutation(np.flatnonzero(~current.mask))[:tries]:
            _check_refused(current, _step(env, int(action)), f"action {action} {where}")
        _replay(env, seed, path, steps)
        path.append(int(legal[0]))
        steps.append(_step(env, path[-1]))
        _check_accepted(current, steps[-1], f"action {path[-1]} {where}")
        if len(path) >= max_steps or steps[-1].truncated:
            raise MaskError(f"the episode of legal actions does not end within {len(path)} steps")
    if steps[-1].observation not in env.observation_space:
        raise MaskError("the last observation is outside its space")
    return len(path)


def _mask_of(env: gymnasium.Env[Any, Any]) -> npt.NDArray[np.bool_]:
    mask = env.get_wrapper_attr("action_masks")()
    return np.array(mask)


def _start(env: gymnasium.Env[Any, Any], seed: int) -> _Step:
    observation, _ = env.reset(seed=seed)
    return _Step(observation, 0.0, False, False, False, _mask_of(env))


def _step(env: gymnasium.Env[Any, Any], action: int) -> _Step:
    observation, reward, terminated, truncated, info = env.step(action)
    if "illegal" not in info:
        raise MaskError("info has no entry 'illegal'")
    mask = _mask_of(env)
    return _Step(observation, float(reward), terminated, truncated, bool(info["illegal"]), mask)


def _replay(env: gymnasium.Env[Any, Any], seed: int, path: list[int], steps: list[_Step]) -> None:
    again = _start(env, seed)
    for number, (action, expected) in enumerate(zip([-1, *path], steps, strict=True)):
        if number:
            again = _step(env, action)
        if not _same_step(again, expected):
            raise MaskError(f"seed {seed} and the same actions differ after {number} steps")


def _check_state(env: gymnasium.Env[Any, Any], step: _Step, where: str) -> None:
    size = getattr(env.action_space, "n", None)
    if step.mask.shape != (size,) or step.mask.dtype != np.bool_:
        raise MaskError(
            f"the mask {where} is {step.mask.dtype} of shape {step.mask.shape}, not bool ({size},)"
        )
    if not step.mask.any():
        raise MaskError(f"the mask {where} allows nothing, but the episode goes on")
    if step.observation not in env.observation_space:
        raise MaskError(f"the observation {where} is outside its space")


def _check_accepted(before: _Step, after: _Step, which: str) -> None:
    if after.illegal:
        raise MaskError(f"{which} is allowed by the mask, but refused as illegal")
    if _same(before.observation, after.observation):
        raise MaskError(f"{which} is legal, but the observation does not change")


def _check_refused(before: _Step, after: _Step, which: str) -> None:
    if not after.illegal:
        raise MaskError(f"{which} is forbidden by the mask, but accepted")
    if after.terminated:
        raise MaskError(f"{which} is illegal, but ends the episode")
    if not _same(before.observation, after.observation):
        raise MaskError(f"{which} is illegal, but changes the observation")
    if not np.array_equal(before.mask, after.mask):
        raise MaskError(f"{which} is illegal, but changes the mask")


def _same_step(a: _Step, b: _Step) -> bool:
    return (
        _same(a.observation, b.observation)
        and (a.reward, a.terminated, a.illegal) == (b.reward, b.terminated, b.illegal)
        and np.array_equal(a.mask, b.mask)
    )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return bool(np.array_equal(a, b))
