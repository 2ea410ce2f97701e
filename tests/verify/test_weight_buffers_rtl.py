"""More than two weight tiles in the buffer at once: the emitted chip finds each where it lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lenet_case import SMALL, few_circuits
from torch import nn

from fragenv.graph.from_onnx import from_onnx
from fragenv.models.export import export_onnx
from fragenv.models.quantise import quantise_onnx
from fragenv.rtl.emit import emit_folder
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.verify.check import verify


@pytest.mark.rtl
def test_deeper_buffers__bits_and_cycles(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 256, 40)
        )
    images = np.random.default_rng(0).standard_normal((4, 16, 16, 16)).astype(np.float32)
    model = tmp_path / "int8.onnx"
    export_onnx(network, (16, 16, 16), tmp_path / "float.onnx")
    quantise_onnx(tmp_path / "float.onnx", images, model)
    chip = replace(SMALL, multipliers=16, buffer_bytes=40_000)
    problem = Problem(from_onnx(model), chip, 1)
    program = lower(problem, few_circuits(problem))
    assert max(t.plan.tiling.weight_buffers for t in program.tasks if t.plan.tiling.streams) > 2
    emit_folder(problem, program, model, tmp_path / "emitted")
    verdict = verify(tmp_path / "emitted", 2)
    assert verdict.wrong_bytes == 0
    assert abs(verdict.cycle_error) < 0.02
