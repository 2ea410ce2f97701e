"""LeNet on digits: trained, quantised, scheduled and emitted, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_onnx import from_onnx
from fragenv.graph.operators import OpKind
from fragenv.hardware.chip import Chip
from fragenv.models.digits import load_split, train_lenet
from fragenv.models.export import export_onnx
from fragenv.models.lenet import INPUT_SHAPE
from fragenv.models.parameters import MacParameters, Quantisation, TensorScale
from fragenv.models.quantise import quantise_onnx
from fragenv.rtl.emit import emit_folder
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Program
from fragenv.schedule.state import State

#: small enough that LeNet is tiled, its weights are streamed and some tensors are spilled
SMALL = Chip(
    name="small",
    multipliers=64,
    lut=60_000,
    buffer_bytes=20_000,
    local_bytes=65_536,
    dram_bytes_per_cycle=4,
    dram_latency_cycles=20,
    config_bytes=8_192,
    config_bytes_per_cycle=2.5,
    clock_mhz=100.0,
)


def quantised_lenet(folder: Path, pool: Literal["max", "average"]) -> Path:
    """The int8 ONNX file of a briefly trained LeNet."""
    torch.set_num_threads(1)
    export_onnx(train_lenet(0, pool, epochs=2), INPUT_SHAPE, folder / "lenet.onnx")
    target = folder / "lenet_int8.onnx"
    quantise_onnx(folder / "lenet.onnx", load_split(0).train_images[:64], target)
    return target


def any_schedule(problem: Problem, seed: int) -> State:
    """A finished state by random legal actions."""
    rng = np.random.default_rng(seed)
    state = problem.initial()
    while not state.finished:
        state = problem.apply(state, int(rng.choice(problem.legal_actions(state))))
    return state


def few_circuits(problem: Problem) -> State:
    """A finished state by the cheapest actions that bind nothing new, where there are such."""
    state = problem.initial()
    while not state.finished:
        after = [problem.apply(state, a) for a in problem.legal_actions(state)]
        # an action without progress, such as SPILL, would go on for ever
        after = [s for s in after if s.tasks_left < state.tasks_left]
        state = min(after, key=lambda s: (s.bind_count > max(1, state.bind_count), problem.cost(s)))
    return state


def random_numbers(graph: DataflowGraph, seed: int) -> Quantisation:
    """Numbers for a network without weights: random, of a size that does not saturate."""
    rng = np.random.default_rng(seed)
    scales = {t: TensorScale(0.05, int(rng.integers(-30, 30))) for t in graph.tensors}
    for op in reversed(graph.operators):
        if op.kind in (OpKind.RELU, OpKind.MAXPOOL):
            scales[op.inputs[0]] = scales[op.output]
    macs = {}
    for op in graph.operators:
        if not op.is_mac:
            continue
        nest = op.nest
        shape = (nest.k, nest.c // nest.groups, nest.r, nest.s)
        weight = rng.integers(-127, 128, shape, dtype=np.int8)
        factor = 60 / (73 * 40 * np.sqrt(weight[0].size))
        scale = factor * rng.uniform(0.7, 1.3, nest.k)
        bias = rng.integers(-1000, 1000, nest.k, dtype=np.int32)
        macs[op.name] = MacParameters(weight, bias, scale)
    return Quantisation(scales, macs)


def emitted(
    model: Path, chip: Chip | str, batch: int, seed: int | None, folder: Path
) -> tuple[Problem, Program]:
    """Emit a schedule of ``model`` to ``folder``: a random one, or one of few circuits for None."""
    problem = Problem(from_onnx(model), chip, batch)
    state = few_circuits(problem) if seed is None else any_schedule(problem, seed)
    program = lower(problem, state)
    emit_folder(problem, program, model, folder)
    return problem, program
