"""Import of modules: shapes against the modules' own forward pass, refusals."""

import pytest
import torch
from torch import nn

from fragenv.errors import ModelError
from fragenv.graph import OpKind
from fragenv.graph.from_torch import from_torch


class Function(nn.Module):
    """A module made of a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.weight = nn.Parameter(torch.zeros(8, 5))

    def forward(self, x):
        return self.function(self, x)


def kinds(graph):
    return [op.kind.value for op in graph.operators]


def imported(function, shape=(3, 8, 8)):
    return from_torch(Function(function), shape)


def test_from_torch__reads_every_attribute_of_a_convolution():
    module = nn.Sequential(
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    )
    op = from_torch(module, (4, 9, 11)).op("0")
    nest = op.nest
    assert (nest.k, nest.c, nest.r, nest.s, nest.h, nest.w) == (6, 4, 3, 2, 9, 11)
    assert (nest.stride, nest.padding) == ((2, 1), (1, 0, 1, 0))
    assert (nest.dilation, nest.groups) == ((1, 2), 2)
    expected = module(torch.zeros(1, 4, 9, 11)).shape
    assert (nest.p, nest.q) == tuple(expected[2:])
    assert (op.weight_bytes, op.bias_bytes) == (6 * 2 * 3 * 2, 24)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.ReLU(), "relu"),
        (nn.ReLU6(), "clip"),
        (nn.Hardtanh(-1, 2), "clip"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), "maxpool"),
        (nn.AvgPool2d(2, count_include_pad=False), "avgpool"),
        (nn.AvgPool2d(8), "globalavg"),
        (nn.AdaptiveAvgPool2d(1), "globalavg"),
        (nn.AdaptiveAvgPool2d((4, 2)), "avgpool"),
        (nn.LocalResponseNorm(5), "lrn"),
        (nn.BatchNorm2d(3), "conv"),
        (nn.Softmax(1), "softmax"),
        (nn.LogSoftmax(1), "softmax"),
    ],
)
def test_from_torch__imports_each_layer_with_the_right_output(layer, kind):
    graph = from_torch(layer, (3, 8, 8))
    assert kinds(graph) == [kind]
    expected = layer.eval()(torch.zeros(1, 3, 8, 8)).shape[1:]
    assert graph.tensors[graph.outputs[0]].shape == tuple(expected)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Identity(),
        nn.Dropout(),
        nn.Dropout2d(),
        nn.AdaptiveAvgPool2d((8, 8)),
        nn.MaxPool2d(1),
        nn.Flatten(),
    ],
)
def test_from_torch__layers_that_move_no_data_make_no_operator(layer):
    module = nn.Sequential(nn.ReLU(), layer, nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    graph = from_torch(module, (3, 8, 8))
    assert len(graph.operators) == 2
    assert graph.operators[1].inputs == (graph.operators[0].output,)


def test_from_torch__folds_batch_norm_only_where_nothing_else_reads_the_convolution():
    folded = from_torch(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), (3, 8, 8))
    assert kinds(folded) == ["conv", "relu"]

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y

    graph = from_torch(Shared(), (3, 8, 8))
    assert kinds(graph) == ["conv", "conv", "add"]
    assert graph.op("norm").is_depthwise


def test_from_torch__in_place_operators_change_later_reads_of_their_input():
    def forward(self, x):
        y = self.conv(x)
        view = y.flatten(1)
        torch.relu_(y)
        return nn.functional.linear(view, torch.zeros(2, 256))

    conv, relu, gemm = imported(forward).operators
    assert relu.inputs == (conv.output,)
    assert gemm.inputs == (relu.output,)


def test_from_torch__names_operators_after_modules_and_keeps_them_unique():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()
            self.body = nn.Sequential(nn.Conv2d(3, 3, 1))

        def forward(self, x):
            return self.relu(self.body(self.relu(x)) + x)

    names = [op.name for op in from_torch(Twice(), (3, 8, 8)).operators]
    assert names == ["relu", "body.0", "add", "relu_1"]


def test_from_torch__matrix_products_over_rows():
    graph = from_torch(nn.Sequential(nn.Linear(5, 7), nn.ReLU()), (4, 5))
    gemm, relu = graph.operators
    assert (gemm.nest.k, gemm.nest.c, gemm.nest.p, gemm.macs) == (7, 5, 4, 4 * 5 * 7)
    assert graph.tensors[relu.output].shape == (4, 7)


def test_from_torch__added_constants_fold_into_matrix_products():
    graph = imported(lambda self, x: x @ self.weight + self.weight[0], (8,))
    assert kinds(graph) == ["gemm"]


def test_from_torch__leaves_the_module_as_it_was():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout()).train()
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    from_torch(module, (3, 8, 8))
    assert module[0].training and not module[1].training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


REFUSED = {
    "transposed": (
        lambda s, x: nn.functional.conv_transpose2d(x, torch.ones(3, 3, 2, 2)),
        "transposed convolutions",
    ),
    "sigmoid": (lambda s, x: torch.sigmoid(x), "aten.sigmoid.default"),
    "product": (lambda s, x: s.conv(x) * s.conv(x), "may only be added"),
    "broadcast": (lambda s, x: s.conv(x) + s.conv(x).mean((2, 3), keepdim=True), "broadcasting"),
    "channel mean": (lambda s, x: x.mean(1), "rows and columns"),
    "shuffle": (lambda s, x: s.conv(x).view(1, 2, 2, 8, 8).transpose(1, 2), "moves data"),
    "transpose": (lambda s, x: s.conv(x).permute(0, 2, 3, 1), "moves data"),
    "batch axis": (lambda s, x: s.conv(x).flatten(0), "batch"),
    "rows concatenated": (lambda s, x: torch.cat([x, x], 2), "channel axis"),
    "softmax within": (lambda s, x: torch.relu(s.conv(x).softmax(1)), "cut the model"),
    "softmax over rows": (lambda s, x: s.conv(x).softmax(2), "channels or features"),
    "dynamic weight": (lambda s, x: torch.nn.functional.conv2d(x, x), "constant weights"),
    "uneven adaptive": (lambda s, x: nn.functional.adaptive_avg_pool2d(x, 5), "different sizes"),
    "batch statistics": (
        lambda s, x: nn.functional.batch_norm(x, None, None, training=True),
        "statistics",
    ),
    "plane constant": (lambda s, x: x + torch.ones(8, 8), "one number for each channel"),
    "control flow": (lambda s, x: x if x.sum() > 0 else -x, "torch.export failed"),
    "no operator": (lambda s, x: x.flatten(1), "no operator"),
    "constant output": (lambda s, x: (s.conv(x), s.weight + 1), "must be an activation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_from_torch__refuses_clearly(name):
    function, message = REFUSED[name]
    with pytest.raises(ModelError, match=message) as caught:
        imported(function)
    assert caught.value.source == "Function"


def test_from_torch__wrong_input_shape_is_a_model_error():
    with pytest.raises(ModelError, match="export failed"):
        from_torch(nn.Conv2d(3, 4, 3), (5, 8, 8))


def test_from_torch__every_shape_equals_the_forward_pass():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.Conv2d(8, 8, 3, groups=8, dilation=2),
        nn.AvgPool2d(2, 2, 1),
        nn.Flatten(),
        nn.Linear(8 * 8 * 5, 10),
    )
    shapes = []
    for layer in module:

        def record(_module, _inputs, result):
            shapes.append(tuple(result.shape[1:]))

        layer.register_forward_hook(record)
    module(torch.zeros(1, 3, 70, 50))
    graph = from_torch(module, (3, 70, 50))
    found = [graph.tensors[op.output].shape for op in graph.operators]
    assert found == [shapes[i] for i in (0, 1, 2, 3, 5)]
    assert graph.operators[0].kind is OpKind.CONV
