"""Training instances: a network, a chip, a batch and an objective, all drawn from one number."""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np

from agents.generalist.networks import CLASSES, WIDTHS, random_graph
from agents.splits import models_of
from fragenv.env.generated import fitted
from fragenv.errors import InfeasibleError
from fragenv.generate.skeleton import Skeleton, build_graph
from fragenv.graph.dataflow import DataflowGraph
from fragenv.hardware.chip import Chip, load_chip, preset_names
from fragenv.models import zoo
from fragenv.schedule.objective import Objective
from fragenv.schedule.problem import Problem

#: shares of the instances with a training network of the zoo, with a chip that ships with the
#: package, and with throughput as the objective
ZOO_SHARE, PRESET_SHARE, THROUGHPUT_SHARE = 0.2, 0.4, 0.15
BATCHES = (1, 1, 2, 4, 8)
#: sides of the images of generated networks, which the stages halve once or twice
GENERATED_SIDES = (16, 32, 64, 128)
#: larger networks are drawn again: observations are padded to this while PPO trains
MAX_OPERATORS, MAX_CHOICES, MAX_EDGES = 72, 40, 96


@lru_cache
def _zoo_graph(name: str) -> DataflowGraph:
    return zoo.graph(name)


def random_chip(rng: random.Random) -> Chip:
    """A chip with the proportions of real ones: everything between half the smallest and twice the
    largest preset of its kind, rates and sizes log-uniform."""
    family = rng.choice(("ecp5", "xilinx", "xilinx", "cgra"))
    multipliers = round(_log_uniform(rng, 80, 3000))
    lut = round(multipliers * _log_uniform(rng, 110, 600))
    buffer_bytes = round(_log_uniform(rng, 800, 2400) * multipliers) // 2048 * 2048
    local_bytes = round(buffer_bytes * rng.uniform(0.3, 0.5)) // 2304 * 2304
    if family == "cgra":
        config_bytes, rate = round(lut * rng.uniform(0.1, 1.0)), _log_uniform(rng, 2.0, 16.0)
    else:
        config_bytes, rate = round(lut * rng.uniform(20, 85)), _log_uniform(rng, 0.25, 8.0)
    return Chip(
        name="random",
        family=family,
        multipliers=multipliers,
        lut=lut,
        buffer_bytes=max(65536, buffer_bytes),
        local_bytes=max(32256, local_bytes),
        dram_bytes_per_cycle=rng.choice((8, 16, 16, 32, 64, 96)),
        dram_latency_cycles=rng.randint(20, 80),
        config_bytes=config_bytes,
        config_bytes_per_cycle=rate,
        clock_mhz=100.0,
    )


def generated_graph(rng: random.Random) -> DataflowGraph:
    """The network around a random cell of ``fragenv.generate``, of a drawn size."""
    cells = fitted("random", 0).sample(1, rng=np.random.default_rng(rng.getrandbits(32)))
    side = rng.choice(GENERATED_SIDES)
    return build_graph(
        cells.architectures[0],
        Skeleton(
            channels=rng.choice(WIDTHS),
            cells_per_stage=rng.choice((1, 1, 2)),
            stages=rng.randint(2, 3),
            input_shape=(3, side, side),
            classes=rng.choice(CLASSES),
        ),
    )


def instance(seed: int, generated: float = 0.0) -> Problem:
    """The instance of ``seed``; what no chip can run or is too large is drawn again.

    ``generated``: share of ``generated_graph`` among the networks that are not of the zoo; the
    instances of all other seeds do not depend on it.
    """
    drawn_cell = random.Random(f"generated {seed}").random() < generated
    rng = random.Random(seed)
    while True:
        if rng.random() < ZOO_SHARE:
            graph = _zoo_graph(rng.choice(models_of("train")))
        elif drawn_cell:
            graph = generated_graph(rng)
        else:
            graph = random_graph(rng)
        preset = rng.random() < PRESET_SHARE
        chip = load_chip(rng.choice(preset_names())) if preset else random_chip(rng)
        batch = rng.choice(BATCHES)
        objective = Objective.LATENCY
        if rng.random() < THROUGHPUT_SHARE:
            # jobs overlap instead of frames; a period over many commands takes long to compute
            objective, batch = Objective.THROUGHPUT, 1
        if len(graph.chip_operators) > MAX_OPERATORS:
            continue
        try:
            problem = Problem(graph, chip, batch, objective=objective)
        except InfeasibleError:
            continue
        edges = sum(t >= problem.num_inputs for read in problem.reads for t in read)
        if problem.num_choices <= MAX_CHOICES and edges <= MAX_EDGES:
            return problem


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return float(low * (high / low) ** rng.random())
