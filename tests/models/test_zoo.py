"""The zoo against published numbers and torchvision's own parameter counts."""

import subprocess
import sys

import onnx
import onnxruntime
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fragenv.errors import ModelError
from fragenv.graph import OpKind
from fragenv.graph.from_onnx import from_onnx
from fragenv.models import load_graph, zoo
from fragenv.models.export import export_onnx

# multiply-accumulates: torchvision's GFLOPS table (alexnet 0.71, vgg16 15.47, resnet18 1.81,
# resnet50 4.09, googlenet 1.50, squeezenet1_0 0.82, mobilenet_v2 0.30) gives three digits; the
# exact ones are sums over the layers of the papers
MACS = {
    "alexnet": 714_188_480,
    # Caffe's BVLC reference, which has the paper's groups: 724 M multiply-accumulates
    "alexnet_lrn": 724_406_816,
    "vgg16": 15_470_264_320,
    "resnet18": 1_814_073_344,
    "resnet50": 4_089_184_256,
    "squeezenet": 818_924_576,
    "lenet": 416_520,
}
GFLOPS = {
    "alexnet": 0.71,
    "vgg16": 15.47,
    "resnet18": 1.81,
    "resnet50": 4.09,
    "googlenet": 1.50,
    "squeezenet": 0.82,
    "mobilenetv2": 0.30,
}


@pytest.fixture(scope="module")
def graphs():
    return {name: zoo.graph(name) for name in zoo.names()}


@pytest.mark.parametrize("name", MACS)
def test_zoo__macs(graphs, name):
    assert graphs[name].macs == MACS[name]


@pytest.mark.parametrize("name", GFLOPS)
def test_zoo__macs_agree_with_torchvisions_table(graphs, name):
    assert graphs[name].macs / 1e9 == pytest.approx(GFLOPS[name], abs=0.006)


def test_zoo__lenets_layers_by_hand(graphs):
    macs = [op.macs for op in graphs["lenet"].operators if op.is_mac]
    assert macs == [6 * 28 * 28 * 25, 16 * 10 * 10 * 6 * 25, 400 * 120, 120 * 84, 84 * 10]


@pytest.mark.parametrize("name", zoo.names())
def test_zoo__weights_equal_the_modules_weights(graphs, name):
    with torch.device("meta"):
        network = zoo.entry(name).make()
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    graph = graphs[name]
    assert sum(op.weight_bytes for op in graph.operators) == sum(m.weight.numel() for m in layers)
    channels = [m.weight.shape[0] for m in layers]
    assert sum(op.bias_bytes for op in graph.operators) == 4 * sum(channels)
    assert sum(op.is_mac for op in graph.operators) == len(layers)


@pytest.mark.parametrize("name", zoo.names())
def test_zoo__every_layers_shape_equals_the_forward_pass(graphs, name):
    graph = graphs[name]
    with torch.device("meta"):
        network = zoo.entry(name).make().eval()
    shapes = {}
    for path, layer in network.named_modules():
        if not list(layer.children()):

            def record(_module, _inputs, result, path=path):
                shapes.setdefault(path, tuple(result.shape[1:]))

            layer.register_forward_hook(record)
    network(torch.empty(1, *zoo.entry(name).input_shape, device="meta"))
    named = [op for op in graph.operators if op.name in shapes]
    assert len(named) > len(graph.operators) // 2
    for op in named:
        assert graph.tensors[op.output].shape == shapes[op.name], op.name


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that has memory."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                self.elements = max(self.elements, tensor.numel())
        return result


def test_zoo__graphs_are_made_without_weights():
    with Largest() as largest:
        zoo.graph("alexnet")
    assert largest.elements < 1_000
    with Largest() as largest:
        zoo.module("alexnet", 0)
    assert largest.elements == 4096 * 9216


def test_alexnet_lrn__is_the_papers():
    graph = zoo.graph("alexnet_lrn")
    assert sum(op.weight_bytes + op.bias_bytes // 4 for op in graph.operators) == 60_965_224
    norms = [dict(op.attributes) for op in graph.operators if op.kind is OpKind.LRN]
    # ONNX divides alpha by the size, the paper does not
    assert norms == [{"size": 5, "alpha": 5e-4, "beta": 0.75, "bias": 2.0}] * 2
    groups = [op.nest.groups for op in graph.operators if op.kind is OpKind.CONV]
    assert groups == [1, 2, 1, 2, 2]


def test_alexnet_lrn__is_exported_with_whole_normalisations(tmp_path):
    network = zoo.module("alexnet_lrn", 0)
    path = tmp_path / "model.onnx"
    export_onnx(network, (3, 224, 224), path)
    assert sum(node.op_type == "LRN" for node in onnx.load(path).graph.node) == 2
    found = [(op.kind, op.nest, op.attributes) for op in from_onnx(path).operators]
    expected = zoo.graph("alexnet_lrn").operators
    assert found == [(op.kind, op.nest, op.attributes) for op in expected]
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():  # the module's own normalisation is back in place
        torch.testing.assert_close(torch.from_numpy(result), network(image), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["squeezenet", "mobilenetv2"])
def test_scaled_module__keeps_activations_in_range_through_the_depth(name):
    network = zoo.scaled_module(name, 0)
    deviations = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(lambda _m, _x, y: deviations.append(float(y.std())))
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        network(torch.randn(1, *zoo.entry(name).input_shape, generator=generator))
    assert len(deviations) > 20
    assert min(deviations) > 0.5 and max(deviations) < 2


def test_zoo__modules_are_seeded_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (zoo.module("lenet", seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    a, b, c = (next(iter(m.parameters())) for m in (first, again, other))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert not first.training


def test_zoo__unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ModelError, match="not in the zoo; choose one of alexnet, alexnet_lrn"):
        load_graph("alexnett")


def test_load_graph__takes_names_and_modules():
    by_name = load_graph("lenet")
    by_module = load_graph(zoo.module("lenet", 0), zoo.entry("lenet").input_shape)
    assert by_name.operators == by_module.operators
    with pytest.raises(ModelError, match="input_shape"):
        load_graph(zoo.module("lenet", 0))


def test_graph_package__imports_neither_torch_nor_onnx():
    code = (
        "import sys, fragenv.graph, fragenv.models\n"
        "assert not {'torch', 'onnx', 'onnxruntime', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
