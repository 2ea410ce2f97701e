"""Local response normalisation as PyTorch's exporter writes it is one LRN operator again."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from fragenv.errors import ModelError
from fragenv.graph.from_onnx import from_onnx
from fragenv.graph.from_torch import from_torch
from fragenv.graph.onnx_lrn import fuse_lrn
from fragenv.graph.quiet import quiet_logging


def exported(folder: Path, size: int) -> Path:
    """As PyTorch's own exporter writes it."""
    module = nn.Sequential(
        nn.Conv2d(3, 7, 1), nn.LocalResponseNorm(size, alpha=0.5, beta=0.6, k=2.0), nn.ReLU()
    )
    path = folder / "lrn.onnx"
    with warnings.catch_warnings(), quiet_logging():
        warnings.simplefilter("ignore")  # the exporter warns of its own helpers
        torch.onnx.export(
            module.eval(), (torch.zeros(1, 3, 4, 5),), str(path), dynamo=True, verbose=False
        )
    return path


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_fuse_lrn__computes_the_same(size: int, tmp_path: Path) -> None:
    model = onnx.load(exported(tmp_path, size))
    x = np.random.default_rng(0).normal(0, 3, (1, 3, 4, 5)).astype(np.float32)
    expected = run(model, x)
    fuse_lrn(model.graph)
    assert sum(node.op_type == "LRN" for node in model.graph.node) == 1
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-5, atol=1e-6)


def test_from_onnx__imports_it_as_one_operator(tmp_path: Path) -> None:
    graph = from_onnx(exported(tmp_path, 5))
    assert [op.kind for op in graph.operators] == ["conv", "lrn", "relu"]
    assert graph.operators[1].attributes == (
        ("alpha", 0.5),
        ("beta", 0.6),
        ("bias", 2.0),
        ("size", 5.0),
    )


def test_even_windows__are_refused_by_both_importers(tmp_path: Path) -> None:
    """PyTorch's window of an even size reaches one channel further down than ONNX's."""
    with pytest.raises(ModelError, match="Pow"):
        from_onnx(exported(tmp_path, 4))
    with pytest.raises(ModelError, match="odd size"):
        from_torch(nn.Sequential(nn.LocalResponseNorm(4)), (3, 4, 5))


@pytest.mark.parametrize(
    ("old", "new"), [("AveragePool", "MaxPool"), ("Pow", "Add"), ("Squeeze", "Identity")]
)
def test_fuse_lrn__leaves_other_chains_alone(old: str, new: str, tmp_path: Path) -> None:
    model = onnx.load(exported(tmp_path, 3))
    next(node for node in model.graph.node if node.op_type == old).op_type = new
    before = model.SerializeToString()
    fuse_lrn(model.graph)
    assert model.SerializeToString() == before


def test_fuse_lrn__leaves_other_divisions_alone() -> None:
    node = onnx.helper.make_node
    nodes = [node("Div", ["x", "x"], ["a"]), node("Div", ["a"], ["y"])]
    graph = onnx.helper.make_graph(nodes, "g", [], [])
    fuse_lrn(graph)
    assert [n.op_type for n in graph.node] == ["Div", "Div"]
