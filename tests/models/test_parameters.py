"""Reading the numbers of hand-made QDQ files: layouts, factors, absorbed activations."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fragenv.errors import ModelError
from fragenv.graph.from_onnx import from_onnx
from fragenv.models.parameters import TensorScale, load_parameters

SX, SY, FACTOR = 0.5, 2.0, 0.25
SW = np.array([0.125, 0.5, 1.0], np.float32)
WEIGHT = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)  # (outputs, inputs)
node = helper.make_node


def tensor(name, values, dtype):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def gemm_file(path, *, by_outputs=1, bias=None, factor=FACTOR, relu=True, last_scale=True):
    """x -> Q/DQ -> Gemm -> Relu -> Q/DQ, with nothing between Gemm and Relu."""
    numbers = [
        tensor("sx", SX, np.float32),
        tensor("sy", SY, np.float32),
        tensor("zx", 3, np.int8),
        tensor("zy", -128, np.int8),
        tensor("w", WEIGHT if by_outputs else WEIGHT.T, np.int8),
        tensor("sw", SW, np.float32),
        *(bias or [])[:-1],
    ]
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        node("DequantizeLinear", ["w", "sw"], ["wd"], axis=0 if by_outputs else 1),
        *(bias[-1] if bias else []),
        node(
            "Gemm",
            ["xd", "wd", *(["b"] if bias else [])],
            ["g"],
            "fc",
            transB=by_outputs,
            alpha=factor,
        ),
        node("Relu", ["g"], ["r"], "act") if relu else node("Identity", ["g"], ["r"]),
    ]
    if last_scale:
        nodes += [
            node("QuantizeLinear", ["r", "sy", "zy"], ["rq"]),
            node("DequantizeLinear", ["rq", "sy", "zy"], ["y"]),
        ]
    else:
        nodes.append(node("Identity", ["r"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "gemm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        numbers,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(made, path)
    return path


def int_bias(values, scale):
    stored = [tensor("bq", values, np.int32), tensor("sb", scale, np.float32)]
    return [*stored, [node("DequantizeLinear", ["bq", "sb"], ["b"], axis=0)]]


def load(path):
    return load_parameters(path, from_onnx(path))


@pytest.mark.parametrize("by_outputs", [0, 1])
def test_load_parameters__gemm_layouts_and_factor_agree_with_onnx_runtime(by_outputs, tmp_path):
    bias = int_bias([900, 300, 100], SX * SW * FACTOR)
    path = gemm_file(tmp_path / "gemm.onnx", by_outputs=by_outputs, bias=bias)
    mac = load(path).macs["fc"]
    np.testing.assert_array_equal(mac.weight[:, :, 0, 0], WEIGHT)
    np.testing.assert_array_equal(mac.bias, [900, 300, 100])
    x = np.array([[3.0, -8.0, 21.5, 40.0]], np.float32)
    centred = np.rint(x[0] / SX)  # the zero point cancels
    acc = mac.bias + WEIGHT.astype(int) @ centred
    expected = SY * np.clip(np.rint(acc * SX * mac.scale / SY), 0, 255)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x})[0][0], expected)
    assert len(set(expected)) == 3


def test_load_parameters__an_activation_gives_its_scale_to_what_it_reads(tmp_path):
    numbers = load(gemm_file(tmp_path / "gemm.onnx"))
    expected = TensorScale(SY, -128)
    assert numbers.tensors["g"] == numbers.tensors["r"] == expected
    assert numbers.tensors["x"] == TensorScale(SX, 3)


def test_load_parameters__stored_biases_are_taken_as_they_are(tmp_path):
    exact = [2**30 + 7, -(2**30) - 1, 1]
    bias = int_bias(exact, np.float32(SX * SW * FACTOR * (1 + 1e-6)))
    mac = load(gemm_file(tmp_path / "gemm.onnx", bias=bias)).macs["fc"]
    np.testing.assert_array_equal(mac.bias, exact)


def test_load_parameters__biases_in_other_units_are_rounded_to_the_accumulators(tmp_path):
    unit = SX * SW * FACTOR
    for bias in (
        int_bias([20, 40, 60], 2 * unit),
        [tensor("b", np.array([40, 80, 120]) * unit, np.float32), []],
    ):
        mac = load(gemm_file(tmp_path / "gemm.onnx", bias=bias)).macs["fc"]
        np.testing.assert_array_equal(mac.bias, [40, 80, 120])
    assert not load(gemm_file(tmp_path / "gemm.onnx")).macs["fc"].bias.any()


def test_load_parameters__refuses_results_without_a_scale(tmp_path):
    path = gemm_file(tmp_path / "gemm.onnx", relu=False, last_scale=False)
    with pytest.raises(ModelError, match=r"node 'fc' .gemm.: its result 'g' has no scale"):
        load(path)


def test_load_parameters__refuses_biases_beyond_int32(tmp_path):
    bias = [tensor("b", [1e9, 0, 0], np.float32), []]
    with pytest.raises(ModelError, match=r"node 'fc'.*exceeds int32"):
        load(gemm_file(tmp_path / "gemm.onnx", bias=bias))
