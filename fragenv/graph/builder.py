"""The one place that makes operators and tensors; both importers drive it.

Tensors are stored without the batch: ``(channels, rows, columns)``, ``(features,)`` or, for the
rows of a matrix product, ``(rows, features)``. Operators that move no data (flatten, squeeze,
dropout, ...) make no node: a ``Value`` is a stored tensor seen with another shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod

from fragenv.graph.check import check_graph
from fragenv.graph.dataflow import DataflowGraph, Tensor
from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.graph.passes.fold_scaling import fold_scaling
from fragenv.graph.refused import RefusedError
from fragenv.graph.windows import Frame, Window, adaptive_window

Shape = tuple[int, ...]
Attributes = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A stored tensor as one operator of the model sees it: per frame, in row-major order.

    ``frame`` is what a Pad operator adds around it; ``shape`` does not count it.
    """

    tensor: str
    shape: Shape
    frame: Frame | None = None


def _decimal(value: float) -> float:
    """``value`` without the digits that storing it as float32 added."""
    return float(f"{value:.7g}")


def _squeezed(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)


class GraphBuilder:
    """Collects operators; every method that adds one returns the value it produces.

    Raises:
        RefusedError: the operator cannot run on the chip; the message says why and the way out.
    """

    #: whether operators that no chip runs may stand in the graph
    virtual = False

    def __init__(self) -> None:
        self._operators: list[Operator] = []
        self._tensors: dict[str, Tensor] = {}
        self._inputs: list[str] = []
        self._scalings: set[str] = set()
        self._names: set[str] = set()
        self._host_tensors: set[str] = set()

    # -- tensors ---------------------------------------------------------------------------------

    def input(self, name: str, shape: Shape) -> Value:
        """An activation that comes from the host; ``shape`` without the batch."""
        if not 1 <= len(shape) <= 3:
            raise RefusedError(
                f"input shape {shape} is not (channels, rows, columns) or (features,)"
            )
        self._inputs.append(name)
        self._tensors[name] = Tensor(name, shape)
        return Value(name, shape)

    def reshape(self, x: Value, shape: Shape) -> Value:
        """The same data seen with another shape.

        Allowed is what leaves every memory layout alone: adding and dropping axes of size 1,
        flattening to one axis, undoing that, and merging rows with columns.
        """
        if prod(shape) != prod(x.shape):
            raise RefusedError(
                f"cannot reshape {x.shape} to {shape}: the numbers of elements differ"
            )
        stored = self._tensors[x.tensor].shape
        old, new = _squeezed(x.shape), _squeezed(shape)
        merged = len(x.shape) == 3 and new == _squeezed((x.shape[0], prod(x.shape[1:])))
        if not (len(new) <= 1 or new == old or new == _squeezed(stored) or merged):
            raise RefusedError(
                f"reshaping {x.shape} to {shape} moves data, which the chip cannot do; "
                "remove the reshape or keep the channel axis"
            )
        return Value(x.tensor, shape)

    def permute(self, x: Value, order: Sequence[int]) -> Value:
        """A transposition of axes (without the batch) that only moves axes of size 1."""
        kept = [axis for axis in order if x.shape[axis] != 1]
        if kept != sorted(kept):
            raise RefusedError(
                f"transposing {x.shape} by {tuple(order)} moves data, which the chip cannot do; "
                "export the model in channels-first layout"
            )
        return Value(x.tensor, tuple(x.shape[axis] for axis in order))

    # -- multiply-accumulate ---------------------------------------------------------------------

    def conv(
        self, name: str, x: Value, out: str, channels: int, window: Window, groups: int = 1
    ) -> Value:
        """Convolution to ``channels`` output channels."""
        c, h, w = self._image(x)
        p, q = window.output((h, w))
        if c % groups or channels % groups:
            raise RefusedError(f"{c} and {channels} channels do not divide into {groups} groups")
        nest = self._window_nest(channels, c, (h, w), (p, q), window, groups)
        weights = channels * (c // groups) * nest.r * nest.s
        return self._add_mac(name, OpKind.CONV, nest, x, out, weights, (channels, p, q))

    def gemm(self, name: str, x: Value, out: str, features: int) -> Value:
        """Fully connected layer over the last axis; the other axes are rows."""
        if not x.shape:
            raise RefusedError("a matrix product needs an input with features; add an axis to it")
        c, rows = x.shape[-1], prod(x.shape[:-1])
        if rows > 1:
            self._check_rows(self._tensors[x.tensor].shape)
        nest = LoopNest(k=features, c=c, p=rows, h=rows)
        shape = (features,) if rows == 1 else (rows, features)
        result = self._add_mac(name, OpKind.GEMM, nest, x, out, features * c, shape)
        return Value(result.tensor, (*x.shape[:-1], features))

    def _check_rows(self, stored: Shape) -> None:
        if len(stored) == 3 and stored[0] > 1 and prod(stored[1:]) > 1:
            raise RefusedError(
                f"a matrix product over the columns of an image {stored} moves data, which the "
                "chip cannot do; use a convolution, or flatten the image"
            )

    def scale(self, name: str, x: Value, out: str) -> Value:
        """Per-channel y = a*x + b: folded into the layer before it, or a 1x1 depthwise conv."""
        c, h, w = self._plane(x)
        nest = LoopNest(k=c, c=c, p=h, q=w, h=h, w=w, groups=c)
        result = self._add_mac(name, OpKind.CONV, nest, x, out, c, x.shape)
        self._scalings.add(self._operators[-1].name)
        return result

    def scale_by(self, name: str, x: Value, out: str, constant: Shape) -> Value:
        """``scale`` by a constant whose shape broadcasts against the batched value."""
        c, _, _ = self._plane(x)
        batched = (1, *x.shape)
        axis = 1 if len(x.shape) == 3 else len(x.shape)
        padded = (1,) * (len(batched) - len(constant)) + constant
        if len(padded) != len(batched) or any(
            n != 1 and (i != axis or n != c) for i, n in enumerate(padded)
        ):
            raise RefusedError(
                f"a constant of shape {constant} does not hold one number for each channel of "
                f"{x.shape}; the chip only scales channels"
            )
        return self.scale(name, x, out)

    # -- windows ---------------------------------------------------------------------------------

    def max_pool(self, name: str, x: Value, out: str, window: Window, ceil: bool) -> Value:
        """Maximum over a window; padding never wins."""
        _, h, w = self._image(x)
        if ceil:
            window = window.ceil((h, w))
        return self._pool(name, OpKind.MAXPOOL, x, out, window)

    def average_pool(
        self, name: str, x: Value, out: str, window: Window, ceil: bool, count_padding: bool
    ) -> Value:
        """Mean over a window; ``count_padding`` divides by the whole window at the borders too."""
        _, h, w = self._image(x)
        padded = any(window.padding)
        if ceil:
            grown = window.ceil((h, w))
            if grown != window and padded and count_padding:
                raise RefusedError(
                    "ceil_mode together with counted padding divides by windows of different "
                    "sizes; set count_include_pad=False or ceil_mode=False"
                )
            window = grown
        if window.kernel == (h, w) and not any(window.padding) and window.dilation == (1, 1):
            return self.global_average(name, x, out)
        counted = 1.0 if padded and count_padding else 0.0
        attributes = (("count_include_pad", counted),)
        return self._pool(name, OpKind.AVGPOOL, x, out, window, attributes)

    def adaptive_average(self, name: str, x: Value, out: str, size: tuple[int, int]) -> Value:
        """PyTorch's adaptive average pooling where it is regular; nothing where it is identity."""
        _, h, w = self._image(x)
        if size == (h, w):
            return x
        window = adaptive_window((h, w), size)
        return self.average_pool(name, x, out, window, ceil=False, count_padding=False)

    def global_average(self, name: str, x: Value, out: str) -> Value:
        """Mean over all rows and columns; the value is (channels, 1, 1)."""
        c, h, w = self._image(x)
        nest = LoopNest(k=c, c=c, r=h, s=w, h=h, w=w, groups=c)
        return self._add(name, OpKind.GLOBALAVG, nest, (x,), out, (c, 1, 1))

    def never_negative(self, x: Value) -> bool:
        """Whether ``x`` comes right from an operator whose results are 0 or more."""
        maker = next((op for op in self._operators if op.output == x.tensor), None)
        if maker is None:
            return False
        return maker.kind is OpKind.RELU or maker.attribute("min", -1.0) >= 0

    # -- element by element ----------------------------------------------------------------------

    def relu(self, name: str, x: Value, out: str) -> Value:
        return self._elementwise(name, OpKind.RELU, (x,), out)

    def clip(self, name: str, x: Value, out: str, low: float, high: float) -> Value:
        """min(max(x, low), high); a relu where only 0 bounds it, nothing where nothing does."""
        low = min(low, high)  # the result is then high; no circuit need know that the order matters
        if low == -inf and high == inf:
            return x
        if low == 0 and high == inf:
            return self.relu(name, x, out)
        attributes = (("max", _decimal(high)), ("min", _decimal(low)))
        return self._elementwise(name, OpKind.CLIP, (x,), out, attributes)

    def add(self, name: str, a: Value, b: Value, out: str) -> Value:
        if a.shape != b.shape:
            raise RefusedError(f"cannot add {a.shape} and {b.shape}: broadcasting is not supported")
        return self._elementwise(name, OpKind.ADD, (a, b), out)

    def lrn(
        self, name: str, x: Value, out: str, size: int, alpha: float, beta: float, bias: float
    ) -> Value:
        """Local response normalisation over ``size`` neighbouring channels."""
        numbers = {"alpha": alpha, "beta": beta, "bias": bias, "size": size}
        attributes = tuple((key, _decimal(value)) for key, value in numbers.items())
        return self._elementwise(name, OpKind.LRN, (x,), out, attributes)

    def softmax(self, name: str, x: Value, out: str, axis: int, log: bool = False) -> Value:
        """Softmax over the feature axis (``axis`` counts without the batch)."""
        feature_axis = 0 if len(x.shape) == 3 else len(x.shape) - 1
        if axis % len(x.shape) != feature_axis:
            raise RefusedError("softmax must run over the channels or features; remove it")
        attributes = (("log", 1.0),) if log else ()
        result = self._elementwise(name, OpKind.SOFTMAX, (x,), out, attributes)
        self._host_tensors.add(result.tensor)
        return result

    def concat(self, name: str, parts: Sequence[Value], out: str, axis: int) -> Value:
        """Concatenation on the channel or feature axis (``axis`` counts without the batch)."""
        first = parts[0].shape
        axis %= len(first)
        if axis != (0 if len(first) == 3 else len(first) - 1):
            raise RefusedError(
                "concatenation must be on the channel axis; the chip keeps channels apart"
            )
        if any(
            p.shape[:axis] + p.shape[axis + 1 :] != first[:axis] + first[axis + 1 :] for p in parts
        ):
            raise RefusedError(f"cannot concatenate {[p.shape for p in parts]} on axis {axis}")
        if len(parts) == 1:
            return parts[0]
        k = sum(part.shape[axis] for part in parts)
        shape = (*first[:axis], k, *first[axis + 1 :])
        _, h, w = self._plane(parts[0])
        nest = LoopNest(k=k, c=k, p=h, q=w, h=h, w=w)
        return self._add(name, OpKind.CONCAT, nest, tuple(parts), out, shape)

    # -- the end ---------------------------------------------------------------------------------

    def finish(self, name: str, outputs: Sequence[Value]) -> DataflowGraph:
        """The graph whose results are ``outputs``, with scalings folded.

        Raises:
            RefusedError: nothing runs on the chip, or an output is an input.
            ModelError: the operators do not make a graph whose shapes agree.
        """
        names = tuple(dict.fromkeys(value.tensor for value in outputs))
        if not self._operators:
            raise RefusedError("the model has no operator to run on the chip; choose another")
        for tensor in names:
            if tensor in self._inputs:
                raise RefusedError(f"input '{tensor}' is also an output; remove that output")
        graph = DataflowGraph(name, self._operators, self._tensors, self._inputs, names)
        graph = fold_scaling(graph, frozenset(self._scalings))
        check_graph(graph, self.virtual)
        return graph

    # -- helpers ---------------------------------------------------------------------------------

    @staticmethod
    def _image(x: Value) -> tuple[int, int, int]:
        if len(x.shape) != 3:
            raise RefusedError(
                f"needs an input of (channels, rows, columns), got {x.shape}; use 2-D layers"
            )
        c, h, w = x.shape
        return c, h, w

    @staticmethod
    def _plane(x: Value) -> tuple[int, int, int]:
        """Channels, rows, columns of an element-wise operator over ``x``."""
        match x.shape:
            case (c, h, w):
                return c, h, w
            case (rows, features):
                return features, rows, 1
            case (features,):
                return features, 1, 1
        raise RefusedError(f"cannot run over shape {x.shape}; use (channels, rows, columns)")

    @staticmethod
    def _window_nest(
        k: int, c: int, size: tuple[int, int], out: tuple[int, int], window: Window, groups: int
    ) -> LoopNest:
        (r, s), (h, w), (p, q) = window.kernel, size, out
        return LoopNest(
            k, c, p, q, r, s, h, w, window.stride, window.padding, window.dilation, groups
        )

    def _pool(
        self,
        name: str,
        kind: OpKind,
        x: Value,
        out: str,
        window: Window,
        attributes: Attributes = (),
    ) -> Value:
        if window == Window((1, 1)):
            return x
        c, h, w = self._image(x)
        p, q = window.output((h, w))
        nest = self._window_nest(c, c, (h, w), (p, q), window, groups=c)
        return self._add(name, kind, nest, (x,), out, (c, p, q), attributes)

    def _elementwise(
        self,
        name: str,
        kind: OpKind,
        inputs: tuple[Value, ...],
        out: str,
        attributes: Attributes = (),
    ) -> Value:
        c, h, w = self._plane(inputs[0])
        nest = LoopNest(k=c, c=c, p=h, q=w, h=h, w=w)
        return self._add(name, kind, nest, inputs, out, inputs[0].shape, attributes)

    def _add_mac(
        self,
        name: str,
        kind: OpKind,
        nest: LoopNest,
        x: Value,
        out: str,
        weights: int,
        shape: Shape,
    ) -> Value:
        op = Operator(self._unique(name), kind, nest, (x.tensor,), out, weights, 4 * nest.k)
        return self._append(op, shape)

    def _add(
        self,
        name: str,
        kind: OpKind,
        nest: LoopNest,
        inputs: tuple[Value, ...],
        out: str,
        shape: Shape,
        attributes: Attributes = (),
    ) -> Value:
        tensors = tuple(value.tensor for value in inputs)
        op = Operator(self._unique(name), kind, nest, tensors, out, attributes=attributes)
        return self._append(op, shape)

    def _append(self, op: Operator, shape: Shape) -> Value:
        if not self._host_tensors.isdisjoint(op.inputs):
            raise RefusedError(
                "it reads the result of a softmax, which the host computes after the chip; "
                "cut the model before the softmax"
            )
        self._operators.append(op)
        self._tensors[op.output] = Tensor(op.output, shape)
        return Value(op.output, shape)

    def _unique(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._names:
            unique, count = f"{name}_{count}", count + 1
        self._names.add(unique)
        return unique
