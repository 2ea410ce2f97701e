"""What the benchmarks of emitted Verilog share: quantise, schedule, emit, simulate, compare."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.scheduler import SCHEDULERS, Budget
from fragenv.graph.from_onnx import from_onnx
from fragenv.models.export import export_onnx
from fragenv.models.quantise import quantise_onnx
from fragenv.rtl.emit import emit_folder
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Program
from fragenv.verify.check import Verdict, verify

#: random images for the scales of the quantised networks
CALIBRATION_IMAGES = 4


@dataclass(frozen=True, slots=True)
class Measured:
    """A schedule as emitted and simulated. ``lines`` of SystemVerilog, the library included;
    ``multipliers`` of the circuits that are bound at power-up; seconds of each stage."""

    problem: Problem
    program: Program
    verdict: Verdict
    lines: int
    multipliers: int
    seconds: dict[str, float]


def quantised(module: nn.Module, input_shape: tuple[int, ...], seed: int, target: Path) -> None:
    """Write the int8 ONNX file of a network, its scales from normally distributed images."""
    shape = (CALIBRATION_IMAGES, *input_shape)
    images = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        export_onnx(module, input_shape, Path(name) / "float.onnx")
        quantise_onnx(Path(name) / "float.onnx", images, target)


def measure(
    model: Path, chip: str | Path, solver: str, calls: int, frames: int, seed: int, work: Path
) -> Measured:
    """Schedule, emit, simulate and compare; the emission is deleted afterwards."""
    seconds = {}
    start = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal start
        now = time.perf_counter()
        seconds[stage], start = round(now - start, 1), now

    problem = Problem(from_onnx(model), chip)
    result = SCHEDULERS.get(solver).solve(problem, Budget(calls), seed)
    program = lower(problem, result.state)
    lap("schedule")
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name) / "emitted"
        emit_folder(problem, program, model, folder)
        lap("emit")
        sources = [path.read_text("utf-8") for path in (folder / "rtl").glob("*.sv*")]
        verdict = verify(folder, frames, seed)
        lap("verify")
    bound = [
        problem.library[b.fragment].parts[b.part].multipliers
        for b in program.bindings
        if b.at_power_up
    ]
    lines = sum(text.count("\n") for text in sources)
    return Measured(problem, program, verdict, lines, sum(bound), seconds)
