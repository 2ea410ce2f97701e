"""Files of integer operators and of ONNX Runtime's QOperator form against ONNX Runtime itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from fragenv.errors import ModelError
from fragenv.graph.from_onnx import from_onnx
from fragenv.graph.quiet import quiet_logging
from fragenv.models.parameters import Quantisation, TensorScale, load_parameters
from fragenv.verify.integers import quantise
from fragenv.verify.reference import evaluate

node = helper.make_node
SX, SY, ZX, ZY = 0.05, 0.4, 140, 17
RNG = np.random.default_rng(7)
FACTORS = np.array([0.002, 0.004, 0.003, 0.001], np.float32)


def tensor(name: str, values: object, kind: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, kind), name)


def saved(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    numbers: Sequence[onnx.TensorProto],
    shape: Sequence[int],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "integers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        numbers,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def in_onnx_runtime(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def on_the_chip(path: Path, x: np.ndarray) -> tuple[np.ndarray, TensorScale]:
    """The integer reference's result in real numbers, and its scale."""
    graph = from_onnx(path)
    numbers = load_parameters(path, graph)
    result = evaluate(graph, numbers, {"x": quantise(x, numbers.tensors["x"])})
    (name,) = graph.outputs
    scale = numbers.tensors[name]
    return scale.scale * (result[name].astype(float) - scale.zero_point), scale


# -- ConvInteger and MatMulInteger -----------------------------------------------------------------


def integer_file(
    path: Path, operator: str, after: Sequence[onnx.NodeProto], numbers: Sequence[onnx.TensorProto]
) -> Path:
    """x -> QuantizeLinear -> ``operator`` -> Cast ("f") -> ``after`` ("r") -> Q -> DQ."""
    conv = operator == "ConvInteger"
    weight = RNG.integers(100, 200, (4, 3, 3, 3) if conv else (6, 4), dtype=np.uint8)
    stored = [
        tensor("sx", SX),
        tensor("zx", ZX, np.uint8),
        tensor("sy", SY),
        tensor("zy", ZY, np.uint8),
        tensor("w", weight, np.uint8),
        tensor("zw", 150, np.uint8),
        *numbers,
    ]
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        node(operator, ["xq", "w", "zx", "zw"], ["sums"], "product"),
        node("Cast", ["sums"], ["f"], to=TensorProto.FLOAT),
        *after,
        node("QuantizeLinear", ["r", "sy", "zy"], ["yq"]),
        node("DequantizeLinear", ["yq", "sy", "zy"], ["y"]),
    ]
    return saved(path, nodes, stored, (1, 3, 6, 5) if conv else (1, 2, 6))


def channels(operator: str, values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, 1, 1) if operator == "ConvInteger" else values


@pytest.mark.parametrize("operator", ["ConvInteger", "MatMulInteger"])
def test_integer_operators__with_factors_bias_and_relu(operator: str, tmp_path: Path) -> None:
    after = [
        node("Mul", ["factors", "f"], ["m"]),
        node("Sub", ["m", "offset"], ["b"]),
        node("Div", ["b", "two"], ["d"]),
        node("Relu", ["d"], ["r"]),
    ]
    offset = np.array([4.0, -8.0, 0.0, 2.0], np.float32)
    numbers = [
        tensor("factors", channels(operator, FACTORS)),
        tensor("offset", channels(operator, offset)),
        tensor("two", 2.0),
    ]
    path = integer_file(tmp_path / "m.onnx", operator, after, numbers)
    shape = (1, 3, 6, 5) if operator == "ConvInteger" else (1, 2, 6)
    x = RNG.uniform(-6, 6, shape).astype(np.float32)
    found, scale = on_the_chip(path, x)
    expected = in_onnx_runtime(path, x)
    # one rounding of the bias to whole sums may move a value across one step
    steps = np.abs(found - expected.reshape(found.shape)) / scale.scale
    assert steps.max() <= 1.001
    assert np.mean(steps < 0.5) > 0.8
    assert len(np.unique(expected)) > 4


def test_integer_operators__numbers(tmp_path: Path) -> None:
    after = [node("Mul", ["f", "factors"], ["r"])]
    path = integer_file(tmp_path / "m.onnx", "MatMulInteger", after, [tensor("factors", FACTORS)])
    numbers = load_parameters(path, from_onnx(path))
    assert numbers.tensors["x"] == TensorScale(float(np.float32(SX)), ZX - 128)
    mac = numbers.macs["product"]
    np.testing.assert_allclose(mac.scale * numbers.tensors["x"].scale, FACTORS)
    assert mac.weight.min() >= -50 and mac.weight.max() < 50 and not mac.bias.any()


def test_integer_operators__negative_factors_are_refused(tmp_path: Path) -> None:
    after = [node("Mul", ["f", "minus"], ["r"])]
    path = integer_file(tmp_path / "m.onnx", "MatMulInteger", after, [tensor("minus", -1.0)])
    with pytest.raises(ModelError, match="positive scale"):
        load_parameters(path, from_onnx(path))


def test_integer_operators__another_zero_point_than_the_tensors_is_refused(tmp_path: Path) -> None:
    after = [node("Mul", ["f", "factors"], ["r"])]
    path = integer_file(tmp_path / "m.onnx", "MatMulInteger", after, [tensor("factors", FACTORS)])
    made = onnx.load(path)
    made.graph.initializer.append(tensor("other", 3, np.uint8))
    product = next(n for n in made.graph.node if n.name == "product")
    product.input[2] = "other"
    onnx.save(made, path)
    with pytest.raises(ModelError, match="several scales"):
        load_parameters(path, from_onnx(path))


def test_weights__beyond_int8_are_refused_with_their_range(tmp_path: Path) -> None:
    after = [node("Mul", ["f", "factors"], ["r"])]
    path = integer_file(tmp_path / "m.onnx", "MatMulInteger", after, [tensor("factors", FACTORS)])
    made = onnx.load(path)
    zero = next(t for t in made.graph.initializer if t.name == "zw")
    zero.CopyFrom(tensor("zw", 1, np.uint8))
    onnx.save(made, path)
    with pytest.raises(ModelError, match=r"'product'.*reach from \d+ to 1\d\d.*symmetrically"):
        load_parameters(path, from_onnx(path))


# -- scalings in floating point --------------------------------------------------------------------


def test_scaling__after_a_rounded_result_is_refused(tmp_path: Path) -> None:
    """Folding it would leave out the rounding between."""
    pair = [
        node("QuantizeLinear", ["f", "sy", "zy"], ["fq"]),
        node("DequantizeLinear", ["fq", "sy", "zy"], ["fd"]),
        node("Mul", ["fd", "factors"], ["r"]),
    ]
    path = integer_file(tmp_path / "m.onnx", "MatMulInteger", pair, [tensor("factors", FACTORS)])
    with pytest.raises(ModelError, match="not folded"):
        load_parameters(path, from_onnx(path))


def test_scaling__batch_normalisation_of_exact_sums(tmp_path: Path) -> None:
    names = ["gamma", "beta", "mean", "variance"]
    values = [FACTORS, [3, -2, 1, 0], [100, -400, 0, 50], [1.0, 2.0, 0.5, 1.5]]
    after = [node("BatchNormalization", ["f", *names], ["r"], epsilon=0.25)]
    numbers = [tensor(n, v) for n, v in zip(names, values, strict=True)]
    path = integer_file(tmp_path / "m.onnx", "ConvInteger", after, numbers)
    x = RNG.uniform(-6, 6, (1, 3, 6, 5)).astype(np.float32)
    found, scale = on_the_chip(path, x)
    assert np.abs(found - in_onnx_runtime(path, x)).max() <= 1.001 * scale.scale
    assert len(np.unique(found)) > 4


# -- QOperator form --------------------------------------------------------------------------------


class _Calibration(CalibrationDataReader):
    def __init__(self, frames: np.ndarray) -> None:
        self._frames: Iterator[np.ndarray] = iter(frames[:, None])

    def get_next(self) -> dict[str, np.ndarray] | None:
        frame = next(self._frames, None)
        return None if frame is None else {"x": frame}


def qoperator_file(folder: Path, activations: QuantType, frames: np.ndarray) -> Path:
    """Everything of the form at once, as ONNX Runtime's quantiser writes it."""
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], "c1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r"], "r"),
        node("Pad", ["r", "pads"], ["p"], "p"),
        node("Conv", ["p", "w2", "b2"], ["c2"], "c2"),
        node("Add", ["r", "c2"], ["s"], "s"),
        node("AveragePool", ["s"], ["a"], "a", kernel_shape=[2, 2], strides=[2, 2]),
        node("MaxPool", ["a"], ["m"], "m", kernel_shape=[2, 2]),
        node("GlobalAveragePool", ["m"], ["g"], "g"),
        node("Flatten", ["g"], ["f"], "f"),
        node("MatMul", ["f", "w3"], ["l"], "l"),
        node("Gemm", ["l", "w4", "b4"], ["y"], "y", transB=1),
    ]

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return tensor(name, np.random.default_rng(len(name) + sum(shape)).normal(0, 0.4, shape))

    numbers = [
        weight("w1", 4, 3, 3, 3),
        weight("w2", 4, 4, 3, 3),
        weight("b2", 4),
        weight("w3", 4, 6),
        weight("w4", 5, 6),
        weight("b4", 5),
        tensor("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64),
    ]
    source = saved(folder / "float.onnx", nodes, numbers, (1, 3, 8, 8))
    with quiet_logging():
        quantize_static(
            str(source),
            str(folder / "qoperator.onnx"),
            _Calibration(frames),
            quant_format=QuantFormat.QOperator,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=activations,
        )
    return folder / "qoperator.onnx"


@pytest.mark.parametrize("activations", [QuantType.QUInt8, QuantType.QInt8])
def test_qoperator_files__agree_with_onnx_runtime(activations: QuantType, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).normal(0, 1, (16, 3, 8, 8)).astype(np.float32)
    path = qoperator_file(tmp_path, activations, frames)
    operators = [n.op_type for n in onnx.load(path).graph.node]
    for operator in ("QLinearConv", "Pad", "QLinearAdd", "QLinearAveragePool", "QGemm"):
        assert operator in operators
    numbers: Quantisation | None = None
    steps = []
    for frame in frames:
        found, scale = on_the_chip(path, frame[None])
        steps.append((found - in_onnx_runtime(path, frame[None])) / scale.scale)
        numbers = numbers or load_parameters(path, from_onnx(path))
    # a half rounded the other way in one layer can move later ones by a step or two
    assert np.abs(steps).max() <= 2.001
    assert np.mean(np.abs(steps) < 0.5) > 0.8
    assert len(numbers.macs) == 4


# -- a scaled bias ---------------------------------------------------------------------------------


def test_gemm__beta_scales_the_bias(tmp_path: Path) -> None:
    weight = RNG.integers(-127, 128, (6, 4), dtype=np.int8)
    numbers = [
        tensor("sx", SX),
        tensor("zx", 3, np.int8),
        tensor("w", weight, np.int8),
        tensor("sw", 0.01),
        tensor("b", [[40.0, -3.0, 0.0, 8.0]]),
        tensor("sy", 0.3),
        tensor("zy", -4, np.int8),
    ]
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        node("DequantizeLinear", ["w", "sw"], ["wd"]),
        node("Gemm", ["xd", "wd", "b"], ["g"], "fc", beta=0.5, alpha=2.0),
        node("QuantizeLinear", ["g", "sy", "zy"], ["gq"]),
        node("DequantizeLinear", ["gq", "sy", "zy"], ["y"]),
    ]
    path = saved(tmp_path / "gemm.onnx", nodes, numbers, (1, 6))
    x = RNG.uniform(-6, 6, (1, 6)).astype(np.float32)
    found, scale = on_the_chip(path, x)
    assert np.abs(found - in_onnx_runtime(path, x)).max() <= 1.001 * scale.scale
    bias = load_parameters(path, from_onnx(path)).macs["fc"].bias
    unit = np.float32(SX) * np.float64(np.float32(0.01)) * 2
    np.testing.assert_array_equal(bias, np.rint(np.array([20, -1.5, 0, 4]) / unit))
