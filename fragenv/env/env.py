"""The Gymnasium environment: one decision per step, on the problem's own transition function."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from fragenv.env.actions import ActionMap
from fragenv.env.observation import Encoder, Layout, Observation
from fragenv.env.problems import shared_problem
from fragenv.env.reward import DEFAULT_REWARD, Reward, Transition, resolve_reward
from fragenv.errors import FragenvError
from fragenv.hardware.chip import DEFAULT_CHIP, Chip
from fragenv.schedule.objective import Objective

if TYPE_CHECKING:
    from torch import nn

    from fragenv.graph.dataflow import DataflowGraph
    from fragenv.schedule.problem import Problem
    from fragenv.schedule.state import State

#: subtracted from the reward of an illegal action
ILLEGAL_PENALTY = 1.0
#: decisions per operator after which an episode is truncated. Legal decisions never get there: an
#: operator is run once, and every EVICT and SPILL undoes what a RUN did.
DECISIONS_PER_OPERATOR = 4


class FragmentEnv(gymnasium.Env[dict[str, Any], np.int64]):
    """Schedule a network on a chip.

    Actions: see ``actions``; observations: see ``observation``; rewards: see ``reward``. An illegal
    action changes nothing, costs ``ILLEGAL_PENALTY`` and sets ``info["illegal"]``. An episode ends
    when all operators are done; it is truncated after ``step_limit`` steps, which only illegal
    actions can reach.

    Args:
        model: a name of the zoo, the path of an ONNX file, a module or a dataflow graph.
        chip: a preset's name, the path of a TOML file, or a Chip.
        reward: a registered name, ``package.module:name``, or a callable on a ``Transition``. It is
            called once at construction, with a step that changes nothing, to check it.
        batch: frames of a job.
        max_depth: multiply-accumulate operators on a pattern's critical path.
        objective: "latency" of one job, or "throughput" of jobs that overlap.
        max_nodes, max_edges, max_choices: padding, for agents that move between problems.
        input_shape: of a frame; modules need it.
        render_mode: None, "ansi" or "rgb_array".

    Raises:
        FragenvError: an argument cannot be used; the message says how to put it right.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  as Gymnasium declares it
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 4,
    }

    def __init__(
        self,
        model: str | Path | nn.Module | DataflowGraph | None = None,
        chip: str | Path | Chip = DEFAULT_CHIP,
        reward: str | Reward = DEFAULT_REWARD,
        batch: int = 1,
        max_depth: int = 1,
        objective: str = Objective.LATENCY,
        max_nodes: int | None = None,
        max_edges: int | None = None,
        max_choices: int | None = None,
        input_shape: tuple[int, ...] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if model is None:
            raise FragenvError(
                "no model; give model= a name of the zoo, the path of an ONNX file, a module or a "
                "dataflow graph"
            )
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise FragenvError(
                f"unknown render_mode '{render_mode}'; choose None, 'ansi' or 'rgb_array'"
            )
        self.render_mode = render_mode
        problem = shared_problem(model, chip, batch, max_depth, input_shape, objective)
        self.layout = Layout.of(problem, max_nodes, max_edges, max_choices)
        self.observation_space = self.layout.space()
        self.action_space = spaces.Discrete(self.layout.num_actions)
        self._reward = resolve_reward(reward)
        self._take(problem)
        self._reward(Transition(self.problem, self.state, self.state, None))

    def _take(self, problem: Problem) -> None:
        """Begin an episode of a problem that the layout has room for."""
        self.problem: Problem = problem
        self.action_map = ActionMap(problem, self.layout.nodes, self.layout.choices)
        self.step_limit = DECISIONS_PER_OPERATOR * len(problem.operators)
        self._encoder = Encoder(problem, self.layout)
        self.state: State = problem.initial()
        self._begin()

    def _begin(self) -> None:
        self.state = self.problem.initial()
        self._mask = self.action_map.mask(self.state)
        self._taken: list[int] = []
        self._steps = 0

    @property
    def actions(self) -> tuple[int, ...]:
        """The legal actions of the episode so far, in the problem's numbering: applying them to
        ``problem.initial()`` gives ``state``."""
        return tuple(self._taken)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """(num_actions,): True where an action is legal now; all False after the end."""
        return self._mask.copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin again; the problem has no randomness, and no options."""
        super().reset(seed=seed, options=options)
        self._begin()
        return self._encoder.encode(self.state, self._mask), self._info(False)

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one decision. ``info`` holds ``illegal``, ``latency_cycles`` and ``traffic_bytes``;
        at the end of an episode also ``summary``'s entries."""
        own = self.action_map.to_problem(int(action))
        before = self.state
        illegal = own < 0 or not self._mask[action]
        self._steps += 1
        if illegal:
            reward = self._reward(Transition(self.problem, before, before, None)) - ILLEGAL_PENALTY
        else:
            self.state = self.problem.apply(before, own)
            self._mask = self.action_map.mask(self.state)
            self._taken.append(own)
            decoded = self.action_map.decode_own(own)
            reward = self._reward(Transition(self.problem, before, self.state, decoded))
        terminated = self.state.finished
        truncated = not terminated and self._steps >= self.step_limit
        info = self._info(illegal)
        if terminated or truncated:
            info.update(self.summary())
        observation = self._encoder.encode(self.state, self._mask)
        return observation, reward, terminated, truncated, info

    def _info(self, illegal: bool) -> dict[str, Any]:
        return {
            "illegal": illegal,
            "latency_cycles": self.state.latency_cycles,
            "traffic_bytes": self.state.traffic_bytes,
        }

    def summary(self) -> dict[str, Any]:
        """What the schedule so far costs: cycles, bytes, and the default cost; frames per second
        are 0 before its end."""
        state = self.state
        return {
            "latency_cycles": state.latency_cycles,
            "latency_ms": self.problem.chip.milliseconds(state.latency_cycles),
            "period_cycles": state.period_cycles,
            "frames_per_second": (self.problem.frames_per_second(state) if state.finished else 0.0),
            "traffic_bytes": state.traffic_bytes,
            "dram_read_bytes": state.dram_read_bytes,
            "dram_write_bytes": state.dram_write_bytes,
            "config_bytes": state.config_bytes,
            "startup_config_bytes": state.startup_config_bytes,
            "cost": self.problem.cost(state),
            "decisions": len(self._taken),
        }

    def render(self) -> str | npt.NDArray[np.uint8] | None:
        """The timeline so far as text ("ansi") or pixels (height, width, 3) ("rgb_array")."""
        from fragenv.env import render

        if self.render_mode == "ansi":
            return render.ansi(self.problem, self.state)
        if self.render_mode == "rgb_array":
            return render.rgb_array(self.problem, self.state)
        return None
