"""The comparison of the reference with ONNX Runtime, also where one of both is wrong."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from torch import nn
from typer.testing import CliRunner, Result

from fragenv.models.export import export_onnx
from fragenv.models.images import random_images
from fragenv.models.parameters import Quantisation, load_parameters
from fragenv.models.quantise import quantise_onnx
from fragenv.verify import agreement
from fragenv.verify.agreement import Difference, compare, difference

ROOT = Path(__file__).parents[2]
SHAPE = (3, 14, 14)


class Net(nn.Module):
    """Every operator of the reference: two outputs, a softmax on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU6())
        self.deep = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.grouped = nn.Conv2d(12, 8, 3, padding=1, groups=2)
        self.norm = nn.LocalResponseNorm(5, 0.5, 0.75, 1.0)
        self.mean = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
        self.fc = nn.Linear(20 * 4 * 4, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.stem(x)
        y = torch.relu(self.deep(x) + x)
        z = self.mean(torch.cat([self.norm(y), self.grouped(y)], 1))
        z = nn.functional.max_pool2d(z, 2)
        return torch.softmax(self.fc(torch.flatten(z, 1)), 1), y.mean((2, 3))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agreement")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        export_onnx(Net(), SHAPE, folder / "float.onnx")
    quantise_onnx(folder / "float.onnx", random_images(16, SHAPE, 0), folder / "int8.onnx")
    return folder / "int8.onnx"


def test_difference__counts_and_measures() -> None:
    a, b = np.array([1, -128, 5, 0], np.int8), np.array([1, 127, 4, 0], np.int8)
    assert difference(a, b) == Difference(4, 2, 255)
    assert difference(a, b) + Difference(2, 0, 0) == Difference(6, 2, 255)
    assert Difference().share == 0


def test_compare__every_operator_agrees(model: Path) -> None:
    finished: list[int] = []
    found = compare(model, random_images(20, SHAPE, 1), finished.append)
    assert finished == list(range(1, 21))
    assert found.frames == 20 and found.end_to_end.elements == 20 * (5 + 12)
    assert {"conv", "gemm", "lrn", "add", "concat", "avgpool"} <= {t.kind for t in found.tensors}
    for tensor in found.tensors:
        assert tensor.difference.largest <= 1 and tensor.difference.share < 0.002, tensor
    assert found.end_to_end.largest <= 2
    assert found.same_class >= 18


def test_compare__names_the_operator_that_is_wrong(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(path: Path, graph: object) -> Quantisation:
        numbers = load_parameters(path, graph)  # type: ignore[arg-type]
        name = next(op.name for op in graph.operators if op.nest.groups == 2)  # type: ignore[attr-defined]
        broken = replace(numbers.macs[name], bias=numbers.macs[name].bias + 500)
        return Quantisation(numbers.tensors, {**numbers.macs, name: broken})

    monkeypatch.setattr(agreement, "load_parameters", wrong)
    found = compare(model, random_images(2, SHAPE, 1))
    differing = [t.kind for t in found.tensors if t.difference.share > 0.01]
    assert differing == ["conv"]
    assert found.end_to_end.different > 0


@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
def test_compare__reads_the_qoperator_form(kind: QuantType, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 6, 3))
    export_onnx(module, SHAPE, tmp_path / "float.onnx")
    images = random_images(4, SHAPE, 0)

    class Reader:
        def __init__(self) -> None:
            self.rest = iter([{"input": image[None]} for image in images])

        def get_next(self) -> object:
            return next(self.rest, None)

    quantize_static(
        str(tmp_path / "float.onnx"),
        str(tmp_path / "int8.onnx"),
        Reader(),
        quant_format=QuantFormat.QOperator,
        per_channel=True,
        activation_type=kind,
        weight_type=QuantType.QInt8,
    )
    found = compare(tmp_path / "int8.onnx", images)
    assert len(found.tensors) == 3
    assert all(t.difference.share < 0.002 for t in found.tensors)


def test_compare__takes_the_batch_of_the_file(tmp_path: Path) -> None:
    export_onnx(nn.Conv2d(3, 4, 3), SHAPE, tmp_path / "float.onnx", batch=2)
    quantise_onnx(tmp_path / "float.onnx", random_images(4, SHAPE, 0), tmp_path / "int8.onnx")
    found = compare(tmp_path / "int8.onnx", random_images(5, SHAPE, 1))
    assert found.frames == 4
    assert found.end_to_end.elements == 4 * 4 * 12 * 12
    assert found.end_to_end.share < 0.001


def script(*arguments: str | Path) -> Result:
    spec = spec_from_file_location("quantise_script", ROOT / "scripts" / "quantise.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    app = typer.Typer()
    app.command()(module.main)
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_quantise_script__writes_a_file_and_compares(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", random_images(3, (1, 32, 32), 0))
    for calibration in ("2", str(tmp_path / "images.npy")):
        target = tmp_path / "lenet_int8.onnx"
        result = script("lenet", "--output", target, "--calibration", calibration)
        assert result.exit_code == 0, result.stderr
        assert "of 11 tensors are equal" in result.stdout
        assert len(compare(target, random_images(1, (1, 32, 32), 0)).tensors) == 11


def test_quantise_script__refuses_what_it_cannot_use(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", random_images(3, (3, 8, 8), 0))
    for arguments, message in (
        (("nothing",), "not in the zoo"),
        ((str(model),), "quantised already"),
        (("lenet", "--calibration", "0"), "calibration data is empty"),
        (("lenet", "--calibration", str(tmp_path / "absent.npy")), "cannot be read"),
        (("lenet", "--calibration", str(tmp_path / "images.npy")), "inputs have shape"),
    ):
        result = script(*arguments, "--output", tmp_path / "x.onnx")
        assert result.exit_code == 2 and message in result.stderr, result.stderr
        assert not (tmp_path / "x.onnx").exists()
