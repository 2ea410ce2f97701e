"""Rewards: any callable on a ``Transition``. See ``docs/rewards.md`` for a worked example."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fragenv.env.actions import Action, Run
from fragenv.errors import FragenvError

if TYPE_CHECKING:
    from fragenv.schedule.bounds import LowerBound
    from fragenv.schedule.problem import Problem
    from fragenv.schedule.state import State


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of the environment, as a reward sees it.

    ``before`` and ``after`` are states of ``problem``; the counters that rewards are made of are
    their ``latency_cycles``, ``dram_read_bytes``, ``dram_write_bytes``, ``config_bytes``,
    ``traffic_bytes`` (the three together) and ``finished``. They never decrease, and start at 0.
    Where the objective is throughput, ``busiest_cycles`` are those of the unit that has most to do
    so far, and ``period_cycles`` those from one job to the next, known when the schedule is
    finished.
    An illegal action changes nothing: both are the same object.
    """

    problem: Problem
    before: State
    after: State
    #: None for an illegal action
    action: Action | None

    @property
    def illegal(self) -> bool:
        return self.action is None

    @property
    def finished(self) -> bool:
        """Whether the step finished the schedule."""
        return self.after.finished

    @property
    def bound(self) -> LowerBound:
        """Lower bounds of the problem: ``latency_cycles``, ``period_cycles``, ``traffic_bytes`` and
        more."""
        return self.problem.bound

    @property
    def latency_increase(self) -> int:
        """Cycles."""
        return self.after.latency_cycles - self.before.latency_cycles

    @property
    def cycles_increase(self) -> int:
        """Cycles that the objective counts: of the latency, or, where it is throughput, of the
        busiest unit, and in the last step up to the period. Their sum is the latency or period."""
        return self.problem.cycles(self.after) - self.problem.cycles(self.before)

    @property
    def traffic_increase(self) -> int:
        """Bytes read from and written to DRAM, and of configurations."""
        return self.after.traffic_bytes - self.before.traffic_bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the task that the action ran, all frames; else 0."""
        if not isinstance(self.action, Run):
            return 0
        choice = self.problem.choices[self.action.node][self.action.choice]
        frame = sum(self.problem.operators[i].macs for i in choice.operators)
        return frame * self.problem.batch


Reward = Callable[[Transition], float]


def cost(transition: Transition) -> float:
    """Minus the increase of the objective's cycles and of traffic, each over its lower bound. The
    sum over an episode is minus ``problem.cost`` of its last state."""
    problem = transition.problem
    return -(
        transition.cycles_increase / problem.bound_cycles
        + transition.traffic_increase / problem.bound.traffic_bytes
    )


def latency_traffic(transition: Transition) -> float:
    """Minus the increase of latency and of traffic, each over its lower bound, whatever the
    objective."""
    bound = transition.bound
    return -(
        transition.latency_increase / bound.latency_cycles
        + transition.traffic_increase / bound.traffic_bytes
    )


def latency(transition: Transition) -> float:
    """Minus the increase of latency over its lower bound."""
    return -transition.latency_increase / transition.bound.latency_cycles


def energy(transition: Transition) -> float:
    """Minus the energy of the DRAM's bytes, configurations included, and of the
    multiply-accumulates, over the least possible: every compulsory byte and every
    multiply-accumulate once.

    Picojoules per byte and per multiply-accumulate are the chip's ``dram_pj_per_byte`` and
    ``mac_pj``, whose sources the presets cite. The buffer's energy is not counted.

    Raises:
        FragenvError: the chip does not say what they cost.
    """
    problem, chip = transition.problem, transition.problem.chip
    if not (chip.dram_pj_per_byte and chip.mac_pj):
        raise FragenvError(
            f"chip '{chip.name}' has no energy figures; give dram_pj_per_byte and mac_pj in its "
            "file or choose another reward"
        )
    macs = sum(op.macs for op in problem.operators) * problem.batch
    least = chip.dram_pj_per_byte * problem.bound.traffic_bytes + chip.mac_pj * macs
    spent = chip.dram_pj_per_byte * transition.traffic_increase + chip.mac_pj * transition.macs
    return -spent / least


DEFAULT_REWARD = "cost"
REWARDS: dict[str, Reward] = {
    DEFAULT_REWARD: cost,
    "latency+traffic": latency_traffic,
    "latency": latency,
    "energy": energy,
}


class CheckedReward:
    """A reward whose values are checked; ``name`` is what error messages call it."""

    def __init__(self, name: str, function: Reward) -> None:
        self.name, self.function = name, function

    def __call__(self, transition: Transition) -> float:
        """The reward of a step.

        Raises:
            FragenvError: the callable raised, or returned something that is no finite number.
        """
        try:
            value = float(self.function(transition))
        except FragenvError:
            raise
        except Exception as error:
            raise FragenvError(
                f"reward '{self.name}' failed: {type(error).__name__}: {error}"
            ) from error
        if not math.isfinite(value):
            raise FragenvError(f"reward '{self.name}' returned {value}; return a finite number")
        return value


def resolve_reward(reward: str | Reward) -> CheckedReward:
    """A reward by its registered name, as ``package.module:name``, or a callable.

    Modules are looked for where Python looks, and in the current folder.

    Raises:
        FragenvError: no such name, module or attribute, or not a callable.
    """
    if not isinstance(reward, str):
        if not callable(reward):
            raise FragenvError(f"a reward must be a callable or a name, got {reward!r}")
        return CheckedReward(getattr(reward, "__name__", type(reward).__name__), reward)
    if reward in REWARDS:
        return CheckedReward(reward, REWARDS[reward])
    module_name, colon, name = reward.partition(":")
    if not (module_name and colon and name):
        raise FragenvError(
            f"unknown reward '{reward}'; choose one of {', '.join(REWARDS)} "
            "or package.module:name of your own"
        )
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise FragenvError(
            f"reward '{reward}': cannot import '{module_name}': {type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, name):
        raise FragenvError(f"reward '{reward}': module '{module_name}' has no '{name}'")
    function = getattr(module, name)
    if not callable(function):
        raise FragenvError(f"reward '{reward}': '{name}' is not a callable")
    return CheckedReward(reward, function)
