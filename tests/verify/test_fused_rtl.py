"""Blocks of networks with their layers fused, on one circuit and as pipelines, in emitted RTL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from strategies import choice_of
from torch import Tensor, nn

from fragenv.graph.from_onnx import from_onnx
from fragenv.models.export import export_onnx
from fragenv.models.quantise import quantise_onnx
from fragenv.rtl.emit import emit_folder
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.simulate import simulate
from fragenv.verify.check import verify

pytestmark = pytest.mark.rtl


def conv(c: int, k: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c, k, kernel, stride, kernel // 2, groups=groups)


class Sum(nn.Module):
    """What two branches make, added."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, behind: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.behind = body, shortcut, behind

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.body(x) + self.shortcut(x))  # type: ignore[no-any-return]


class Fork(nn.Module):
    """What two branches make of one tensor, concatenated."""

    def __init__(self, stem: nn.Module, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.stem, self.first, self.second = stem, first, second

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return torch.cat((self.first(x), self.second(x)), 1)


def inverted(stride: int) -> nn.Module:
    body = nn.Sequential(
        conv(16, 96, 1), nn.ReLU6(), conv(96, 96, 3, stride, 96), nn.ReLU6(), conv(96, 16, 1)
    )
    return Sum(body, nn.Identity(), nn.Identity()) if stride == 1 else body


def basic(stride: int) -> nn.Module:
    body = nn.Sequential(
        conv(16, 16 * stride, 3, stride), nn.ReLU(), conv(16 * stride, 16 * stride, 3)
    )
    shortcut = conv(16, 16 * stride, 1, stride) if stride > 1 else nn.Identity()
    return Sum(body, shortcut, nn.ReLU())


def fire(squeezed: int, expanded: int) -> nn.Module:
    two = [nn.Sequential(conv(squeezed, expanded, n), nn.ReLU()) for n in (1, 3)]
    return Fork(nn.Sequential(conv(4 * squeezed, squeezed, 1), nn.ReLU()), *two)


def conv_conv_pool() -> nn.Module:
    return nn.Sequential(
        conv(3, 16, 3), nn.ReLU(), conv(16, 24, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    )


def reduction() -> nn.Module:
    """A pool of its own, whose windows overlap."""
    return Fork(conv(8, 8, 3), nn.MaxPool2d(3, 2, 1), conv(8, 8, 1, 2))


def skipping() -> nn.Module:
    """The first convolution's stride skips rows of the input."""
    return nn.Sequential(conv(8, 16, 1, 3), nn.ReLU(), conv(16, 16, 3))


@dataclass(frozen=True)
class Block:
    module: nn.Module
    shape: tuple[int, int, int]
    layers: int
    #: share of the cycles by which a pipeline may be late: its circuits meet in the buffer's banks
    late: float = 0.03


def blocks() -> dict[str, Block]:
    return {
        "inverted residual": Block(inverted(1), (16, 15, 17), 3),
        "inverted residual, stride 2": Block(inverted(2), (16, 21, 19), 3, 0.1),
        "basic block": Block(basic(1), (16, 17, 15), 2),
        "basic block with downsampling": Block(basic(2), (16, 19, 21), 3),
        "fire module": Block(fire(8, 24), (32, 15, 15), 3),
        "fire module of SqueezeNet": Block(fire(16, 64), (64, 27, 27), 3),
        "conv conv pool": Block(conv_conv_pool(), (3, 23, 25), 2),
        "reduction": Block(reduction(), (8, 15, 15), 3),
        "skipping": Block(skipping(), (8, 31, 31), 2),
    }


#: in every run; the others take minutes together
QUICK = {
    ("inverted residual", False),
    ("basic block with downsampling", True),
    ("fire module", True),
}


CASES = [
    pytest.param(
        name,
        pipeline,
        marks=() if (name, pipeline) in QUICK else (pytest.mark.slow,),
        id=f"{name}, {'pipeline' if pipeline else 'one circuit'}",
    )
    for name in blocks()
    for pipeline in (False, True)
]


@pytest.mark.parametrize(("name", "pipeline"), CASES)
def test_fused_block__bits_and_cycles(name: str, pipeline: bool, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = blocks()[name]
    rng = np.random.default_rng(0)
    images = rng.standard_normal((4, *block.shape)).astype(np.float32)
    model = tmp_path / "int8.onnx"
    export_onnx(block.module, block.shape, tmp_path / "float.onnx")
    quantise_onnx(tmp_path / "float.onnx", images, model)
    problem = Problem(from_onnx(model), "cgra512", batch=2, max_depth=3)
    state = problem.initial()
    whole = [
        action
        for action in problem.legal_actions(state)
        if (choice := choice_of(problem, action)) is not None
        and len(choice.operators) == len(problem.operators)
        and (len(choice.circuits) > 1) == pipeline
    ]
    state = problem.apply(state, whole[0])
    assert state.finished
    program = lower(problem, state)
    assert len(program.tasks) == block.layers
    assert simulate(program).latency_cycles == state.latency_cycles
    emit_folder(problem, program, model, tmp_path / "emitted")
    verdict = verify(tmp_path / "emitted", 4)
    assert verdict.wrong_bytes == 0
    assert verdict.measured_bytes == state.dram_read_bytes + state.dram_write_bytes
    late = block.late if pipeline else 0.03
    assert -0.03 < verdict.cycle_error < late
