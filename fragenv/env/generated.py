"""Environments whose network a generator draws: another one per episode, or one for good."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import fragenv.generate.systems  # noqa: F401 - registers the generators
from fragenv.env.env import FragmentEnv
from fragenv.env.observation import Layout, Observation
from fragenv.env.problems import shared_problem
from fragenv.env.reward import DEFAULT_REWARD, Reward
from fragenv.errors import FragenvError
from fragenv.generate import nb201
from fragenv.generate.architecture import Architecture
from fragenv.generate.generator import GENERATORS, Generator
from fragenv.generate.skeleton import Skeleton, build_graph, write_onnx
from fragenv.graph.dataflow import DataflowGraph
from fragenv.hardware.chip import DEFAULT_CHIP, Chip
from fragenv.schedule.objective import Objective
from fragenv.schedule.problem import Problem

#: padding that has room for the networks of all generators on all presets at depth 1, as far as
#: they were tried; a network that is larger is drawn again
MAX_NODES, MAX_EDGES, MAX_CHOICES = 96, 144, 40
#: networks that are drawn until one fits the padding and the chip
TRIES = 100
#: every so many of the cells of NAS-Bench-201 are what generators learn from
CORPUS_STEP = 76


@lru_cache(maxsize=1)
def corpus() -> tuple[Architecture, ...]:
    """The 202 cells, spread over NAS-Bench-201, that generators given by name learn from."""
    return tuple(map(nb201.from_choices, nb201.runnable_choices()[::CORPUS_STEP]))


@lru_cache(maxsize=8)
def fitted(name: str, seed: int) -> Generator:
    """A registered generator that has learnt from ``corpus``, without scores.

    Raises:
        FragenvError: no such generator.
    """
    generator = GENERATORS.get(name)()
    generator.fit(corpus(), None, seed)
    return generator


@lru_cache(maxsize=64)
def _graph(architecture: Architecture, skeleton: Skeleton) -> DataflowGraph:
    # one object per network: that is what shared problems are found by
    return build_graph(architecture, skeleton)


class GeneratedEnv(FragmentEnv):
    """``FragmentEnv`` on networks of drawn cells; ``architecture`` is the present one's cell.

    ``seed`` decides which network the environment is made with. Where ``resample`` is False it
    keeps that network, whatever seeds ``reset`` is given, like every other environment. Where it
    is True, each ``reset`` draws another from the environment's random numbers: ``reset(seed=7)``
    always gives the same network and the resets after it the same sequence; without any seed the
    sequence is that of ``seed``. Spaces never change: all networks are padded to the three maxima,
    and those that are larger, or that the chip cannot run, are drawn again.

    Args:
        generator: a registered name, which learns from 202 cells of NAS-Bench-201 first (at once,
            but ``dgmg`` takes minutes), or a generator that is fitted already.
        chip, batch, reward, max_depth, objective, render_mode: see ``FragmentEnv``.
        seed: of the first network, and of ``fit``.
        resample: whether each reset draws a network.
        skeleton: the network around the cell.
        max_nodes, max_edges, max_choices: operators, tensors between them, and choices of an
            operator that the spaces have room for.

    Raises:
        FragenvError: an argument cannot be used, or no network fits.
    """

    def __init__(
        self,
        generator: str | Generator = "random",
        chip: str | Path | Chip = DEFAULT_CHIP,
        reward: str | Reward = DEFAULT_REWARD,
        batch: int = 1,
        max_depth: int = 1,
        objective: str = Objective.LATENCY,
        seed: int = 0,
        resample: bool = False,
        skeleton: Skeleton | None = None,
        max_nodes: int = MAX_NODES,
        max_edges: int = MAX_EDGES,
        max_choices: int = MAX_CHOICES,
        render_mode: str | None = None,
    ) -> None:
        self.generator = fitted(generator, seed) if isinstance(generator, str) else generator
        self.resample, self.skeleton = resample, skeleton or Skeleton()
        self._where = chip, batch, max_depth, objective
        self._maxima = max_nodes, max_edges, max_choices
        gymnasium.Env.reset(self, seed=seed)
        self.architecture, problem = self._draw()
        super().__init__(
            problem.graph,
            chip,
            reward,
            batch,
            max_depth,
            objective,
            max_nodes,
            max_edges,
            max_choices,
            render_mode=render_mode,
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin again, with another network where ``resample`` is set; no options."""
        if self.resample:
            gymnasium.Env.reset(self, seed=seed)
            self.architecture, problem = self._draw()
            self._take(problem)
            seed = None  # used already
        return super().reset(seed=seed, options=options)

    def write_network(self, path: Path) -> None:
        """Write the present network as an ONNX file, with the weights of seed 0.

        Raises:
            ModelError: the file cannot be written.
        """
        write_onnx(self.architecture, path, self.skeleton)

    def _draw(self) -> tuple[Architecture, Problem]:
        reason = "the generator makes nothing valid"
        for _ in range(TRIES):
            for architecture in self._sampled(self.np_random):
                try:
                    problem = self._problem(architecture)
                    Layout.of(problem, *self._maxima)
                except FragenvError as error:
                    reason = str(error)
                else:
                    return architecture, problem
        raise FragenvError(
            f"none of {TRIES} networks of generator '{self.generator.name}' can be used: {reason}"
        )

    def _sampled(self, rng: np.random.Generator) -> tuple[Architecture, ...]:
        return self.generator.sample(1, rng=rng).architectures

    def _problem(self, architecture: Architecture) -> Problem:
        chip, batch, max_depth, objective = self._where
        graph = _graph(architecture, self.skeleton)
        return shared_problem(graph, chip, batch, max_depth, objective=objective)
