"""The dataflow graph of a skeleton's network, read from its layers.

``from_torch`` takes any module but exports it first, which takes most of the time of making a small
network's graph. The networks of ``skeleton`` consist of eight kinds of layers and additions; read
layer by layer they give the same graph, names included, in a tenth of the time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import fx, nn

from fragenv.errors import ModelError
from fragenv.graph.builder import GraphBuilder, Value
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.windows import Pair, Window


def read_network(
    root: nn.Module, graph: fx.Graph, input_shape: tuple[int, ...], name: str
) -> DataflowGraph:
    """The graph of layers of ``root`` called by ``graph``, and of additions.

    Args:
        root: holds the layers; its weights are not read and may be on the ``meta`` device.
        graph: one placeholder, calls of layers and additions, one output.
        input_shape: (channels, rows, columns) of a frame.
        name: the graph's.

    Raises:
        ModelError: a layer of another kind.
    """
    return _Reader(root, name).read(graph, input_shape)


class _Reader:
    def __init__(self, root: nn.Module, name: str) -> None:
        self.root, self.name = root, name
        self.builder = GraphBuilder()
        self._calls: Counter[str] = Counter()

    def read(self, graph: fx.Graph, input_shape: tuple[int, ...]) -> DataflowGraph:
        values: dict[Any, Value] = {}
        for node in graph.nodes:
            if node.op == "placeholder":
                values[node] = self.builder.input(node.name, input_shape)
            elif node.op == "call_module":
                layer = self.root.get_submodule(str(node.target))
                values[node] = self._layer(str(node.target), layer, values[node.args[0]])
            elif node.op == "call_function":
                a, b = (values[term] for term in node.args)
                values[node] = self.builder.add("add", a, b, self._tensor("add"))
        outputs = [values[node] for node in graph.output_node().all_input_nodes]
        return self.builder.finish(self.name, outputs)

    def _tensor(self, function: str) -> str:
        """A name for what a call of ``function`` makes: numbered, as ``torch.export`` does."""
        number = self._calls[function]
        self._calls[function] += 1
        return f"{function}_{number}" if number else function

    def _layer(self, path: str, layer: nn.Module, x: Value) -> Value:
        build = self.builder
        match layer:
            case nn.Sequential():
                for name, child in layer.named_children():
                    x = self._layer(f"{path}.{name}", child, x)
                return x
            case nn.Conv2d(out_channels=k, groups=groups):
                window = _window(layer.kernel_size, layer.stride, layer.padding)
                return build.conv(path, x, self._tensor("conv2d"), k, window, groups)
            case nn.BatchNorm2d():
                return build.scale(path, x, self._tensor("batch_norm"))
            case nn.ReLU():
                return build.relu(path, x, self._tensor("relu"))
            case nn.AvgPool2d():
                window = _window(layer.kernel_size, layer.stride, layer.padding)
                return build.average_pool(
                    path,
                    x,
                    self._tensor("avg_pool2d"),
                    window,
                    ceil=False,
                    count_padding=layer.count_include_pad,
                )
            case nn.MaxPool2d():
                window = _window(layer.kernel_size, layer.stride, layer.padding)
                return build.max_pool(path, x, self._tensor("max_pool2d"), window, ceil=False)
            case nn.AdaptiveAvgPool2d(output_size=1):
                return build.adaptive_average(path, x, self._tensor("adaptive_avg_pool2d"), (1, 1))
            case nn.Flatten():
                return build.reshape(x, (x.shape[0],))
            case nn.Linear(out_features=features):
                return build.gemm(path, x, self._tensor("linear"), features)
        raise ModelError(
            self.name,
            "networks of cells have no such layer; import the module with from_torch",
            path,
            type(layer).__name__,
        )


def _window(kernel: Any, stride: Any, padding: Any) -> Window:
    top, left = _pair(padding)
    return Window(_pair(kernel), _pair(stride), (top, left, top, left))


def _pair(size: Any) -> Pair:
    """PyTorch takes one number for both directions."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])
