"""Quantised files: the numbers read from them reproduce ONNX Runtime's results."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from torch import nn

from fragenv.errors import ModelError
from fragenv.graph import OpKind
from fragenv.graph.from_onnx import from_onnx
from fragenv.models import zoo
from fragenv.models.common_scales import common_ranges
from fragenv.models.export import export_onnx
from fragenv.models.parameters import load_parameters
from fragenv.models.quantise import quantise_onnx
from fragenv.verify.agreement import compare as agreement

SHAPE = (3, 12, 12)


class Net(nn.Module):
    """Every quantised operator once: conv, depthwise, relu6, pools, add, concat, mean, gemm."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pool = nn.MaxPool2d(2)
        self.mean = nn.AvgPool2d(2)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        y = torch.relu(self.deep(x) + x)
        z = torch.cat([self.pool(y), self.mean(x)], 1)
        return self.fc(z.mean((2, 3)))


@pytest.fixture(scope="module")
def calibration():
    return np.random.default_rng(0).normal(size=(16, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory, calibration):
    """Paths of the float file and of its quantised forms."""
    folder = tmp_path_factory.mktemp("quantised")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        export_onnx(Net(), SHAPE, folder / "float.onnx")
    quantise_onnx(folder / "float.onnx", calibration, folder / "qdq.onnx")
    for name, kind in (("int8", QuantType.QInt8), ("uint8", QuantType.QUInt8)):
        quantize_static(
            str(folder / "float.onnx"),
            str(folder / f"{name}.onnx"),
            Reader(folder / "float.onnx", calibration),
            quant_format=QuantFormat.QOperator,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=kind,
            op_types_to_quantize=["Conv", "Gemm", "Add", "MaxPool", "AveragePool", "Concat"],
        )
    return folder


class Reader:
    def __init__(self, path, data):
        name = onnx.load(path).graph.input[0].name
        self.batches = iter([{name: image[None]} for image in data])

    def get_next(self):
        return next(self.batches, None)


def run(path, images, outputs=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [session.run(outputs, {name: image[None]})[0][0] for image in images]


# -- a plain integer model, from the documented formulas -------------------------------------------


def requantise(real, scale):
    return np.clip(np.rint(real / scale.scale) + scale.zero_point, -128, 127).astype(np.int64)


def execute(graph, numbers, image):
    """Every tensor of the graph as int8 values, from a float image."""
    scales = numbers.tensors
    values = {graph.inputs[0]: requantise(image, scales[graph.inputs[0]])}
    for op in graph.operators:
        out = scales[op.output]
        centred = [values[t] - scales[t].zero_point for t in op.inputs]
        if op.is_mac:
            mac = numbers.macs[op.name]
            acc = accumulate(op, mac, centred[0])
            real = acc * (scales[op.inputs[0]].scale * mac.scale).reshape(-1, 1, 1)
        else:
            reals = [c * scales[t].scale for c, t in zip(centred, op.inputs, strict=True)]
            real = without_weights(op, reals)
        shape = graph.tensors[op.output].shape
        values[op.output] = requantise(np.asarray(real).reshape(shape), out)
    return values


def accumulate(op, mac, x):
    nest = op.nest
    result = torch.nn.functional.conv2d(
        torch.from_numpy(x.reshape(1, nest.c, nest.h, nest.w)),
        torch.from_numpy(mac.weight.astype(np.int64)),
        torch.from_numpy(mac.bias.astype(np.int64)),
        nest.stride,
        nest.padding[:2],
        nest.dilation,
        nest.groups,
    )
    return result[0].numpy()


def without_weights(op, reals):
    x = torch.from_numpy(reals[0])
    kernel = (op.nest.r, op.nest.s)
    match op.kind:
        case OpKind.RELU:
            return np.maximum(reals[0], 0)
        case OpKind.CLIP:
            return np.clip(reals[0], op.attribute("min"), op.attribute("max"))
        case OpKind.MAXPOOL:
            return torch.nn.functional.max_pool2d(x, kernel, op.nest.stride).numpy()
        case OpKind.AVGPOOL:
            return torch.nn.functional.avg_pool2d(x, kernel, op.nest.stride).numpy()
        case OpKind.GLOBALAVG:
            return reals[0].mean((1, 2))
        case OpKind.ADD:
            return reals[0] + reals[1]
        case OpKind.CONCAT:
            return np.concatenate(reals)
    raise AssertionError(op.kind)


@pytest.mark.parametrize("form", ["qdq", "int8", "uint8"])
def test_load_parameters__an_integer_model_reproduces_onnx_runtime(form, files, calibration):
    path = files / f"{form}.onnx"
    graph = from_onnx(path)
    numbers = load_parameters(path, graph)
    out = numbers.tensors[graph.outputs[0]]
    for image, expected in zip(calibration, run(path, calibration), strict=True):
        values = execute(graph, numbers, image)[graph.outputs[0]]
        steps = np.abs((values - out.zero_point) - expected / out.scale)
        assert steps.max() <= 1.01  # one unit in the last place


def test_quantise__keeps_every_operator_and_rounds_once_before_an_activation(files):
    graph, original = from_onnx(files / "qdq.onnx"), from_onnx(files / "float.onnx")
    found, expected = (
        {op.name: (op.kind, op.nest) for op in g.operators} for g in (graph, original)
    )
    assert found == expected
    tensors = load_parameters(files / "qdq.onnx", graph).tensors
    activations = [op for op in graph.operators if op.kind in (OpKind.RELU, OpKind.CLIP)]
    assert len(activations) == 2
    assert all(tensors[op.inputs[0]] == tensors[op.output] for op in activations)
    assert set(tensors) == set(graph.tensors)


class Branches(nn.Module):
    """Nested concatenations; a part that is also read apart, through a maximum and a relu."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 4, 1) for _ in range(3))
        self.last = nn.Conv2d(20, 2, 1)

    def forward(self, x):
        a, b, c = (conv(x) * factor for conv, factor in zip(self.convs, (1, 3, 9), strict=True))
        inner = torch.cat([torch.relu(a), b], 1)
        pooled = nn.functional.max_pool2d(inner, 3, 1, 1)
        outer = torch.cat([pooled, nn.functional.avg_pool2d(c, 3, 1, 1), torch.relu(b), b], 1)
        return self.last(outer)


def quantised(module, folder, calibration):
    export_onnx(module, SHAPE, folder / "float.onnx")
    quantise_onnx(folder / "float.onnx", calibration, folder / "int8.onnx")
    graph = from_onnx(folder / "int8.onnx")
    return graph, load_parameters(folder / "int8.onnx", graph)


def test_quantise__tied_tensors_share_one_scale(tmp_path, calibration):
    graph, numbers = quantised(Branches(), tmp_path, calibration)
    tied = [
        op
        for op in graph.operators
        if op.kind in (OpKind.CONCAT, OpKind.MAXPOOL, OpKind.RELU, OpKind.CLIP)
    ]
    assert [op.kind for op in tied].count(OpKind.CONCAT) == 2
    scales = {numbers.tensors[name] for op in tied for name in (*op.inputs, op.output)}
    assert len(scales) == 1
    (mean,) = (op for op in graph.operators if op.kind is OpKind.AVGPOOL)
    assert numbers.tensors[mean.inputs[0]].scale > numbers.tensors[mean.output].scale * 1.01


def test_quantise__common_scales_reach_the_biases_of_readers(tmp_path, calibration):
    module = Branches()
    graph, numbers = quantised(module, tmp_path, calibration)
    op = graph.operators[-1]
    mac = numbers.macs[op.name]
    unit = numbers.tensors[op.inputs[0]].scale * mac.scale
    stored = module.last.bias.detach().numpy()
    np.testing.assert_allclose(mac.bias * unit, stored, atol=0.51 * unit.max())
    assert agreement(tmp_path / "int8.onnx", calibration).end_to_end.largest <= 1


def test_quantise__a_mean_that_ends_a_model_is_quantised(tmp_path, calibration):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2))
    graph, numbers = quantised(module, tmp_path, calibration)
    (mean,) = (op for op in graph.operators if op.kind is OpKind.AVGPOOL)
    assert numbers.tensors[mean.output] == numbers.tensors[mean.inputs[0]]


class Normalised(nn.Module):
    """A sum that is normalised: no layer before it can take the factors."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.scale = nn.BatchNorm2d(3)
        self.scale.running_mean = torch.tensor([0.5, -1.0, 2.0])
        self.scale.running_var = torch.tensor([4.0, 0.25, 1.0])

    def forward(self, x):
        return torch.relu(self.scale(self.conv(x) + x)).mean((2, 3))


def test_quantise__a_normalised_sum_becomes_a_depthwise_convolution(tmp_path, calibration):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Normalised().eval()
    export_onnx(model, SHAPE, tmp_path / "float.onnx")
    quantise_onnx(tmp_path / "float.onnx", calibration, tmp_path / "int8.onnx")
    graph = from_onnx(tmp_path / "int8.onnx")
    # the operators are those of the float file, where the graph has one for the factors already
    of_float = from_onnx(tmp_path / "float.onnx")
    assert [(op.kind, op.nest) for op in graph.operators] == [
        (op.kind, op.nest) for op in of_float.operators
    ]
    (scaling,) = (op for op in graph.operators if op.kind is OpKind.CONV and op.nest.groups == 3)
    numbers = load_parameters(tmp_path / "int8.onnx", graph).macs[scaling.name]
    expected = 1 / np.sqrt(np.array([4.0, 0.25, 1.0]) + 1e-5)
    np.testing.assert_allclose(numbers.weight[:, 0, 0, 0] * numbers.scale, expected, rtol=1e-5)
    found = agreement(tmp_path / "int8.onnx", calibration[:4])
    assert max(t.difference.largest for t in found.tensors) <= 1
    with torch.no_grad():
        wanted = model(torch.from_numpy(calibration)).numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx"))
    (name,) = (i.name for i in session.get_inputs())
    given = np.concatenate([session.run(None, {name: image[None]})[0] for image in calibration])
    assert np.abs(given - wanted).max() < 0.03 * np.abs(wanted).max()


def test_common_ranges__what_an_activation_cuts_off_does_not_count():
    text = """<ir_version: 10, opset_import: ["": 20]>
    g (float[1,4,4,4] x) => (float[1,12,4,4] y, float[1,4,4,4] z) {
        a = Neg(x)
        b = Relu(a)
        c = Exp(x)
        d = MaxPool<kernel_shape=[1, 1]>(c)
        y = Concat<axis=1>(b, d, x)
        z = Relu(x)
    }"""
    model = onnx.parser.parse_model(text)
    ranges = {"x": (-1, 1), "a": (-9, 9), "b": (0, 2), "c": (0, 3), "d": (0, 3), "y": (-1, 3)}
    found = common_ranges(model, ranges | {"z": (0, 1)}, tied_means=False)
    assert found == dict.fromkeys("xabcdyz", (-1, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["alexnet_lrn", "resnet18", "resnet50", "googlenet", "squeezenet", "mobilenetv2"]
)
def test_quantise__zoo_networks_agree_with_onnx_runtime(name, tmp_path):
    shape = zoo.entry(name).input_shape
    images = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    export_onnx(zoo.scaled_module(name, 0), shape, tmp_path / "float.onnx")
    quantise_onnx(tmp_path / "float.onnx", images[:4], tmp_path / "int8.onnx")
    found = agreement(tmp_path / "int8.onnx", images[4:])
    assert len(found.tensors) == len(zoo.graph(name).operators)
    for tensor in found.tensors:
        assert tensor.difference.largest <= 1 and tensor.difference.share < 1e-3, tensor
    assert found.end_to_end.largest <= 4


def test_quantise__is_close_to_the_float_model(files, calibration):
    floats = np.array(run(files / "float.onnx", calibration))
    quantised = np.array(run(files / "qdq.onnx", calibration))
    assert np.abs(floats - quantised).max() < 0.1 * np.abs(floats).max()


def test_load_parameters__weights_equal_the_float_weights_within_half_a_step(files):
    graph = from_onnx(files / "qdq.onnx")
    numbers = load_parameters(files / "qdq.onnx", graph)
    stored = {
        tuple(t.dims): onnx.numpy_helper.to_array(t)
        for t in onnx.load(files / "float.onnx").graph.initializer
    }
    compared = 0
    for op in graph.operators:
        if op.is_mac:
            mac, nest = numbers.macs[op.name], op.nest
            assert mac.weight.dtype == np.int8 and mac.bias.dtype == np.int32
            assert mac.weight.shape == (nest.k, nest.c // nest.groups, nest.r, nest.s)
            assert mac.bias.shape == mac.scale.shape == (nest.k,)
            shape = (5, 16) if op.kind is OpKind.GEMM else mac.weight.shape
            real = mac.weight * mac.scale.reshape(-1, 1, 1, 1)
            step = mac.scale.max()
            np.testing.assert_allclose(real.reshape(shape), stored[shape], atol=0.501 * step)
            compared += 1
    assert compared == 3


def test_load_parameters__arrays_are_read_only(files):
    graph = from_onnx(files / "qdq.onnx")
    mac = next(iter(load_parameters(files / "qdq.onnx", graph).macs.values()))
    with pytest.raises(ValueError, match="read-only"):
        mac.weight[0] = 0


def test_load_parameters__refuses_float_files_and_other_graphs(files):
    with pytest.raises(ModelError, match="has no scale; quantise"):
        load_parameters(files / "float.onnx", from_onnx(files / "float.onnx"))
    with pytest.raises(ModelError, match="was not made from this file"):
        load_parameters(files / "qdq.onnx", from_onnx(files / "float.onnx"))


def change(files, target, edit):
    model = onnx.load(files / "qdq.onnx")
    edit({t.name: t for t in model.graph.initializer}, model.graph)
    onnx.save(model, target)
    return target


def test_load_parameters__refuses_asymmetric_weights(files, tmp_path):
    def edit(tensors, graph):
        name = next(n for n in tensors if n.endswith("weight_zero_point"))
        old = tensors[name]
        values = np.full(tuple(old.dims), 100, np.int8)
        old.CopyFrom(onnx.numpy_helper.from_array(values, name))

    path = change(files, tmp_path / "broken.onnx", edit)
    with pytest.raises(ModelError, match="quantise symmetrically"):
        load_parameters(path, from_onnx(path))


def test_load_parameters__refuses_two_scales_of_one_tensor(files, tmp_path):
    def edit(tensors, graph):
        quantise = next(n for n in graph.node if n.op_type == "QuantizeLinear")
        other = onnx.numpy_helper.from_array(np.float32(0.5), "other_scale")
        graph.initializer.append(other)
        quantise.input[1] = "other_scale"

    path = change(files, tmp_path / "broken.onnx", edit)
    with pytest.raises(ModelError, match="several scales"):
        load_parameters(path, from_onnx(path))


def test_quantise__failure_leaves_no_file(files, tmp_path, calibration):
    target = tmp_path / "out" / "model.onnx"
    with pytest.raises(ModelError, match="cannot be quantised"):
        quantise_onnx(files / "float.onnx", calibration[:, :2], target)
    with pytest.raises(ModelError, match="calibration data is empty"):
        quantise_onnx(files / "float.onnx", calibration[:0], target)
    with pytest.raises(ModelError, match="no such file"):
        quantise_onnx(tmp_path / "absent.onnx", calibration, target)
    assert list(tmp_path.rglob("*.onnx")) == []


def test_export__refuses_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ModelError, match="cannot be written"):
        export_onnx(Net(), SHAPE, tmp_path / "file" / "model.onnx")


def test_load_parameters__uint8_tensors_are_shifted_by_128(files):
    path = files / "uint8.onnx"
    graph = from_onnx(path)
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    first = next(n for n in onnx.load(path).graph.node if n.op_type == "QuantizeLinear")
    assert stored[first.input[2]].dtype == np.uint8
    found = load_parameters(path, graph).tensors[graph.inputs[0]]
    assert found.zero_point == int(stored[first.input[2]]) - 128
    assert found.scale == float(stored[first.input[1]])
