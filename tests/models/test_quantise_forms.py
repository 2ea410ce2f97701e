"""Float files in forms that ONNX Runtime's quantiser does not know."""

import warnings

import numpy as np
import onnx
import torch
from test_quantise import SHAPE, execute, run
from torch import nn

from fragenv.graph import OpKind
from fragenv.graph.from_onnx import from_onnx
from fragenv.graph.quiet import quiet_logging
from fragenv.models.parameters import load_parameters
from fragenv.models.quantise import quantise_onnx

CALIBRATION = np.random.default_rng(0).normal(size=(16, *SHAPE)).astype(np.float32)


def test_quantise__folds_the_factors_of_a_gemm(tmp_path):
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(432, 5)).astype(np.float32)
    bias = rng.normal(size=(1, 5)).astype(np.float32) * 20
    flat = onnx.helper.make_node("Flatten", ["x"], ["f"])
    gemm = onnx.helper.make_node("Gemm", ["f", "w", "b"], ["y"], "fc", alpha=0.5, beta=3.0)
    graph = onnx.helper.make_graph(
        [flat, gemm],
        "scaled",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, *SHAPE))],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 5))],
        [onnx.numpy_helper.from_array(weight, "w"), onnx.numpy_helper.from_array(bias, "b")],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(model, tmp_path / "float.onnx")
    quantise_onnx(tmp_path / "float.onnx", CALIBRATION, tmp_path / "int8.onnx")
    graph = from_onnx(tmp_path / "int8.onnx")
    numbers = load_parameters(tmp_path / "int8.onnx", graph)
    mac = numbers.macs["fc"]
    unit = numbers.tensors[graph.operators[-1].inputs[0]].scale * mac.scale
    np.testing.assert_allclose(mac.bias * unit, 3 * bias.ravel(), atol=unit.max())
    codes = execute(graph, numbers, CALIBRATION[0])[graph.outputs[0]]
    scale = numbers.tensors[graph.outputs[0]]
    want = run(tmp_path / "float.onnx", CALIBRATION[:1])[0]
    found = scale.scale * (codes.ravel() - scale.zero_point)
    assert np.abs(found - want).max() < 0.02 * np.abs(want).max()


def test_quantise__a_normalisation_in_pieces_becomes_one_operator(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.LocalResponseNorm(5, 0.5, 0.75, 1.0))
    with warnings.catch_warnings(), quiet_logging():
        warnings.simplefilter("ignore")  # PyTorch's exporter warns of its own helpers
        torch.onnx.export(
            module.eval(),
            (torch.zeros(1, *SHAPE),),
            str(tmp_path / "float.onnx"),
            dynamo=True,
            verbose=False,
        )
    quantise_onnx(tmp_path / "float.onnx", CALIBRATION, tmp_path / "int8.onnx")
    graph = from_onnx(tmp_path / "int8.onnx")
    assert [op.kind for op in graph.operators] == [OpKind.CONV, OpKind.LRN]
    found = load_parameters(tmp_path / "int8.onnx", graph).tensors[graph.outputs[0]]
    values = run(tmp_path / "float.onnx", CALIBRATION)
    span = max(y.max() for y in values) - min(y.min() for y in values)
    assert 0.95 * span / 255 < found.scale < 1.05 * span / 255
