"""Import of ONNX files: shapes against ONNX Runtime, operators against the torch importer."""

import itertools

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx_models import constant, model, save, weights
from torch import nn

from fragenv.errors import ModelError
from fragenv.graph.from_onnx import from_onnx
from fragenv.graph.from_torch import from_torch
from fragenv.models import zoo
from fragenv.models.export import export_onnx

node = helper.make_node


def essence(graph):
    """What must not depend on where a graph comes from: everything but names."""
    return [
        (op.kind, op.nest, op.weight_bytes, op.bias_bytes, op.attributes) for op in graph.operators
    ]


def runtime_shapes(path, names):
    """Shapes without the batch, from running the file on zeros."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    results = session.run(list(names), {given.name: np.zeros(given.shape, np.float32)})
    return dict(zip(names, (r.shape[1:] for r in results), strict=True))


def kinds(graph):
    return [op.kind.value for op in graph.operators]


# -- generated networks ----------------------------------------------------------------------------


@st.composite
def networks(draw):
    """A random chain of layers; every value is an output."""
    nodes, initialisers, values = [], [], ["x"]
    channels, counter = 3, itertools.count()
    size = (draw(st.integers(7, 12)), draw(st.integers(7, 12)))
    image = (1, channels, *size)
    for _ in range(draw(st.integers(1, 5))):
        i, x = next(counter), values[-1]
        y = f"v{i}"
        kind = draw(st.sampled_from(["conv", "max", "avg", "relu", "bn", "add", "concat", "clip"]))
        window = {
            "strides": [draw(st.integers(1, 2)), draw(st.integers(1, 2))],
            "pads": draw(st.lists(st.integers(0, 1), min_size=4, max_size=4)),
        }
        kernel = [draw(st.integers(2, 3)), draw(st.integers(2, 3))]
        if kind == "conv":
            groups = draw(st.sampled_from([1, channels]))
            k = groups * draw(st.integers(1, 2))
            initialisers += weights(**{f"w{i}": (k, channels // groups, *kernel)})
            nodes.append(node("Conv", [x, f"w{i}"], [y], group=groups, **window))
            channels = k
        elif kind == "max":
            ceil = draw(st.integers(0, 1))
            nodes.append(node("MaxPool", [x], [y], kernel_shape=kernel, ceil_mode=ceil, **window))
        elif kind == "avg":
            counted = draw(st.integers(0, 1))
            nodes.append(
                node(
                    "AveragePool",
                    [x],
                    [y],
                    kernel_shape=kernel,
                    count_include_pad=counted,
                    **window,
                )
            )
        elif kind == "bn":
            names = [f"{p}{i}" for p in ("scale", "bias", "mean", "var")]
            initialisers += [constant(n, np.ones(channels), np.float32) for n in names]
            nodes.append(node("BatchNormalization", [x, *names], [y]))
        elif kind == "add":
            nodes.append(node("Add", [x, x], [y]))
        elif kind == "concat":
            nodes.append(node("Concat", [x, x], [y], axis=1))
            channels *= 2
        elif kind == "clip":
            initialisers += [constant(f"lo{i}", 0, np.float32), constant(f"hi{i}", 6, np.float32)]
            nodes.append(node("Clip", [x, f"lo{i}", f"hi{i}"], [y]))
        else:
            nodes.append(node("Relu", [x], [y]))
        values.append(y)
    return model(nodes, initialisers, image, outputs=values[1:])


@settings(max_examples=60, deadline=None)
@given(made=networks())
def test_from_onnx__shapes_equal_onnx_runtimes(made, tmp_path_factory):
    path = save(tmp_path_factory.mktemp("generated"), made)
    try:
        expected = runtime_shapes(path, [value.name for value in made.graph.output])
    except Exception as error:  # images that shrink to nothing are refused by both
        assert "onnxruntime" in type(error).__module__
        return
    try:
        graph = from_onnx(path)
    except ModelError as error:
        # ONNX Runtime divides -1 by 2 to 0 and so finds room for a window larger than its input
        assert "does not fit" in str(error)
        assume(False)
    for name, tensor in graph.tensors.items():
        if name != "x":
            assert tensor.shape == expected[name]


# -- the same network from both importers ----------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "lenet",
        "lenet_avg",
        "resnet18",
        "squeezenet",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("alexnet", "googlenet", "mobilenetv2")),
    ],
)
def test_from_onnx__equals_from_torch_for_the_zoo(name, tmp_path):
    path = tmp_path / "model.onnx"
    export_onnx(zoo.module(name, 0), zoo.entry(name).input_shape, path)
    assert essence(from_onnx(path)) == essence(zoo.graph(name))


@pytest.mark.parametrize("batch", [1, 3])
def test_from_onnx__equals_from_torch_for_odd_layers(batch, tmp_path):
    module = nn.Sequential(
        nn.Conv2d(3, 6, (3, 5), (2, 1), (1, 2), groups=3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.Dropout(),
        nn.AvgPool2d(2, 1, 1),
        nn.BatchNorm2d(6),
        nn.Flatten(),
        nn.Linear(6 * 5 * 9, 5),
        nn.LogSoftmax(1),
    ).eval()
    path = tmp_path / "odd.onnx"
    export_onnx(module, (3, 14, 15), path, batch)
    found, expected = from_onnx(path), from_torch(module, (3, 14, 15))
    assert essence(found) == essence(expected)
    assert found.tensors[found.outputs[0]].shape == (5,)


def test_from_onnx__legacy_exports_with_shape_arithmetic(tmp_path):
    """Shape -> Gather -> Concat -> Reshape, as tracing exporters write view(x.size(0), -1)."""
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Shape", ["c"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        node("Concat", ["n1", "rest"], ["target"], axis=0),
        node("Reshape", ["c", "target"], ["flat"]),
        node("Gemm", ["flat", "v"], ["y"], transB=1),
    ]
    settings_ = [constant("zero", 0, np.int64), constant("axes", [0], np.int64)]
    settings_.append(constant("rest", [-1], np.int64))
    made = model(nodes, [*weights(w=(4, 3, 3, 3), v=(7, 144)), *settings_], ("N", 3, 8, 8))
    graph = from_onnx(save(tmp_path, made))
    assert kinds(graph) == ["conv", "gemm"]
    assert graph.operators[1].nest.c == 144


# -- single operators ------------------------------------------------------------------------------


def imported(tmp_path, nodes, initialisers=(), shape=(1, 3, 8, 8)):
    return from_onnx(save(tmp_path, model(nodes, initialisers, shape)))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_from_onnx__auto_pad(auto_pad, tmp_path):
    made = model(
        [node("Conv", ["x", "w"], ["y"], auto_pad=auto_pad, strides=[2, 2])],
        weights(w=(4, 3, 4, 3)),
    )
    path = save(tmp_path, made)
    graph = from_onnx(path)
    assert graph.tensors["y"].shape == runtime_shapes(path, ["y"])["y"]
    top, left, bottom, right = graph.operators[0].nest.padding
    expected = {"SAME_UPPER": (1, 0, 1, 1), "SAME_LOWER": (1, 1, 1, 0), "VALID": (0, 0, 0, 0)}
    assert (top, left, bottom, right) == expected[auto_pad]


def test_from_onnx__clip_bounds_from_constants_and_open_ends(tmp_path):
    bounds = [constant("zero", 0, np.float32), constant("six", 6, np.float32)]
    six = imported(tmp_path, [node("Clip", ["x", "zero", "six"], ["y"])], bounds)
    assert six.operators[0].attributes == (("max", 6.0), ("min", 0.0))
    assert kinds(imported(tmp_path, [node("Clip", ["x", "zero"], ["y"])], bounds)) == ["relu"]


def test_from_onnx__counted_padding_matters_only_where_there_is_padding(tmp_path):
    def counted(pads):
        pool = node(
            "AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=pads, count_include_pad=1
        )
        return imported(tmp_path, [pool]).operators[0].attribute("count_include_pad")

    assert counted([0, 0, 0, 0]) == 0
    assert counted([0, 1, 0, 0]) == 1


def test_from_onnx__old_softmax_over_flattened_axes(tmp_path):
    nodes = [node("GlobalAveragePool", ["x"], ["g"]), node("Softmax", ["g"], ["y"])]
    made = model(nodes)
    made.opset_import[0].version = 12
    assert kinds(from_onnx(save(tmp_path, made))) == ["globalavg", "softmax"]
    image = model([node("Softmax", ["x"], ["y"])])
    image.opset_import[0].version = 12
    with pytest.raises(ModelError, match="before opset 13"):
        from_onnx(save(tmp_path, image))


def test_from_onnx__matmul_and_added_bias_become_one_operator(tmp_path):
    nodes = [node("MatMul", ["x", "w"], ["m"], "product"), node("Add", ["b", "m"], ["y"])]
    graph = imported(tmp_path, nodes, weights(w=(8, 5), b=(5,)), (1, 8))
    (op,) = graph.operators
    assert (op.name, op.output, op.nest.k, op.nest.c, op.nest.p) == ("product", "y", 5, 8, 1)


def test_from_onnx__matmul_over_rows(tmp_path):
    graph = imported(tmp_path, [node("MatMul", ["x", "w"], ["y"])], weights(w=(8, 5)), (1, 6, 8))
    assert graph.operators[0].nest.p == 6
    assert graph.tensors["y"].shape == (6, 5)
    assert graph.macs == 6 * 8 * 5


def test_from_onnx__mean_over_space_is_a_global_average(tmp_path):
    axes = [constant("axes", [-1, 2], np.int64)]
    nodes = [node("ReduceMean", ["x", "axes"], ["m"], keepdims=0), node("Gemm", ["m", "w"], ["y"])]
    graph = imported(tmp_path, nodes, [*axes, *weights(w=(3, 2))])
    assert kinds(graph) == ["globalavg", "gemm"]
    nest = graph.operators[0].nest
    assert (nest.k, nest.c, nest.r, nest.s, nest.p, nest.q) == (3, 3, 8, 8, 1, 1)


def test_from_onnx__lrn_and_softmax_attributes(tmp_path):
    nodes = [
        node("LRN", ["x"], ["l"], size=5, alpha=1e-4, beta=0.75, bias=2.0),
        node("GlobalAveragePool", ["l"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Softmax", ["f"], ["y"]),
    ]
    graph = imported(tmp_path, nodes)
    expected = (("alpha", 1e-4), ("beta", 0.75), ("bias", 2.0), ("size", 5.0))
    assert graph.operators[0].attributes == expected
    assert [op.kind.value for op in graph.chip_operators] == ["lrn", "globalavg"]


def test_from_onnx__operators_that_move_no_data_vanish(tmp_path):
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Identity", ["a"], ["b"]),
        node("Dropout", ["b"], ["c"]),
        node("Cast", ["c"], ["d"], to=1),
        node("Unsqueeze", ["d", "two"], ["e"]),
        node("Squeeze", ["e", "two"], ["f"]),
        node("Reshape", ["f", "flat"], ["g"]),
        node("Transpose", ["g"], ["h"], perm=[0, 2, 1]),
        node("Flatten", ["h"], ["i"]),
        node("Gemm", ["i", "w"], ["y"], "fc"),
    ]
    numbers = [constant("two", [2], np.int64), constant("flat", [0, 1, -1], np.int64)]
    graph = imported(tmp_path, nodes, [*numbers, *weights(w=(192, 2))])
    assert kinds(graph) == ["relu", "gemm"]
    assert graph.op("fc").inputs == ("a",)


def test_from_onnx__constants_are_looked_through(tmp_path):
    value = numpy_helper.from_array(np.ones((5, 8), np.float32))
    nodes = [
        node("Constant", [], ["k"], value=value),
        node("Transpose", ["k"], ["kt"], perm=[1, 0]),
        node("MatMul", ["x", "kt"], ["y"]),
    ]
    graph = imported(tmp_path, nodes, (), (1, 8))
    assert (graph.operators[0].nest.k, graph.operators[0].nest.c) == (5, 8)


def test_from_onnx__shared_scalings_stay_convolutions(tmp_path):
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Mul", ["c", "s"], ["m"]),
        node("Add", ["c", "m"], ["y"]),
    ]
    graph = imported(tmp_path, nodes, weights(w=(4, 3, 1, 1), s=(1, 4, 1, 1)))
    assert kinds(graph) == ["conv", "conv", "add"]
    assert graph.operators[1].nest.groups == 4


def test_from_onnx__dynamic_axes(tmp_path):
    made = model([node("Conv", ["x", "w"], ["y"])], weights(w=(4, 3, 3, 3)), ("N", 3, "H", "W"))
    graph = from_onnx(save(tmp_path, made), dims={"H": 10, "W": 12})
    assert graph.tensors["x"].shape == (3, 10, 12)
    assert graph.tensors["y"].shape == (4, 8, 10)


def test_from_onnx__a_batch_built_into_a_reshape_is_given_as_batch(tmp_path):
    nodes = [node("Reshape", ["x", "flat"], ["f"]), node("Gemm", ["f", "w"], ["y"])]
    made = model(
        nodes, [constant("flat", [4, 192], np.int64), *weights(w=(192, 2))], ("N", 3, 8, 8)
    )
    graph = from_onnx(save(tmp_path, made), batch=4)
    assert graph.macs == 384


def test_from_onnx__external_data_is_not_needed_for_the_graph_but_checked(tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 40)).eval()
    path = tmp_path / "external.onnx"
    torch.onnx.export(
        module,
        (torch.zeros(1, 3, 8, 8),),
        str(path),
        dynamo=True,
        external_data=True,
        verbose=False,
    )
    assert (tmp_path / "external.onnx.data").is_file()
    assert from_onnx(path).macs == 192 * 40
