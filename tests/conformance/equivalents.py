"""From a node test to models that the chip runs, with the test's own inputs and outputs.

A node test feeds weights as graph inputs and is mostly of floating point. Its equivalents have the
test's weights as initialisers and differ from it only by what changes no result:

* 1-D tests, and concatenations over the batch, get a batch axis of 1 in front;
* a product of stacks of matrices becomes a product for each pair (the chip's weights are constant,
  so one product has one right operand);
* quantised weights that, less their zero point, exceed int8 are split in two addends over a doubled
  inner dimension;
* integer sums (int32) are multiplied by a constant and quantised, as files of this form do;
* a bias becomes one number for each output, times beta, as exporters write it (ONNX Runtime's
  quantiser takes other shapes for a mistake and leaves beta out);
* what is no operator on the chip (views, concatenation, an absent bound, conversions to and from
  integers) stands before or behind a clip that clips nothing, a batch normalisation behind a 1x1
  convolution by the unit matrix;
* further outputs (indices of maxima, masks) are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx
from node_tests import Array, NodeTest
from onnx import helper, numpy_helper

VIEWS = frozenset(
    {"Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"}
)
#: operators all of whose inputs are activations
_ALL_INPUTS = frozenset({"Add", "Sum", "Concat", "Sub", "Mul", "Div"})
INTEGER_SUMS = frozenset({"ConvInteger", "MatMulInteger"})
QLINEAR = frozenset({"QLinearConv", "QLinearMatMul"})
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_MATRICES = frozenset({"MatMul", "MatMulInteger", "QLinearMatMul"})
#: operators for which a 1-D value is as good as a row
_ANY_RANK = frozenset({"Relu", "Clip", "Add", "Sum", "Concat", "Identity", "Dropout"})
_MICROSOFT = "com.microsoft"
_WIDE = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Equivalent:
    """A model of one operator of the chip.

    Attributes:
        name: the test's name, with a number where the test has several equivalents.
        node: the operator under test, as it stands in ``nodes``.
        data: activations by input name.
        constants: all other inputs of ``nodes``.
        expected: the first output, as the test gives it.
        opset: of ONNX's own domain.
        quantised: the model has its scales already.
    """

    name: str
    node: onnx.NodeProto
    nodes: tuple[onnx.NodeProto, ...]
    data: dict[str, Array]
    constants: dict[str, Array]
    expected: Array
    opset: int
    quantised: bool = False

    @property
    def operator(self) -> str:
        return str(self.node.op_type)

    @property
    def is_view(self) -> bool:
        """Whether the result is an input seen with another shape."""
        return self.operator in VIEWS

    def constant(self, index: int) -> Array | None:
        """The constant input number ``index`` of the node; None where it is left out."""
        names = self.node.input
        return self.constants.get(names[index]) if index < len(names) else None

    def model(self) -> onnx.ModelProto:
        def info(name: str, values: Array) -> onnx.ValueInfoProto:
            kind = helper.np_dtype_to_tensor_dtype(values.dtype)
            return helper.make_tensor_value_info(name, kind, values.shape)

        last = self.nodes[-1].output[0]
        stored = [numpy_helper.from_array(v, name) for name, v in self.constants.items()]
        inputs = [info(name, values) for name, values in self.data.items()]
        graph = helper.make_graph(self.nodes, "test", inputs, [info(last, self.expected)], stored)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(_MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def as_given(test: NodeTest) -> Equivalent:
    """The test with its weights as initialisers, and nothing else changed."""
    names = [name for name in test.node.input if name]
    count = len(names) if test.operator in _ALL_INPUTS else 1
    values = {name: np.asarray(test.inputs[name]) for name in names}
    node = onnx.NodeProto()
    node.CopyFrom(test.node)
    del node.output[1:]
    return Equivalent(
        test.name,
        node,
        (node,),
        {name: values[name] for name in names[:count]},
        {name: values[name] for name in names[count:]},
        np.asarray(test.expected[0]),
        max(o.version for o in test.model.opset_import if o.domain in ("", "ai.onnx")),
        any(each.dtype in (np.int8, np.uint8) for each in values.values()),
    )


def equivalents(test: NodeTest) -> list[Equivalent]:
    """What the chip is asked to compute for ``test``."""
    given = as_given(test)
    parts = list(_pairs(given)) if given.operator in _MATRICES else [given]
    for step in _steps(given):
        parts = [step(part) for part in parts]
    return parts


def _steps(case: Equivalent) -> Iterator[Callable[[Equivalent], Equivalent]]:
    """What has to be done to a test of this operator, in order."""
    if case.operator in _ANY_RANK:
        yield _with_batch_axis
    if case.operator == "Gemm" and len(case.constants) > 1:
        yield _flat_bias
    if case.operator in QLINEAR:
        yield _split_weights
    if case.operator in INTEGER_SUMS:
        yield _quantised_sums
    if case.operator in _CONVERSIONS:
        yield _before_clip
    if case.operator == "Add" and case.quantised:
        yield _quantised_addition
    if case.operator == "BatchNormalization":
        yield _behind_unit_convolution
    lone = case.operator in ("Clip", "Sum") and len(list(filter(None, case.node.input))) == 1
    if case.is_view or case.operator == "Concat" or lone:
        yield _behind_clip


def _pairs(case: Equivalent) -> Iterator[Equivalent]:
    """A product of two matrices for each pair of the stacks that the test multiplies."""
    (left, x), right = next(iter(case.data.items())), _right_operand(case)
    w = case.constants[right]
    x, w = (x if x.ndim > 1 else x[None]), (w if w.ndim > 1 else w[:, None])
    stack = np.broadcast_shapes(x.shape[:-2], w.shape[:-2])
    xs = np.broadcast_to(x, (*stack, *x.shape[-2:]))
    ws = np.broadcast_to(w, (*stack, *w.shape[-2:]))
    ys = case.expected.reshape(*stack, x.shape[-2], w.shape[-1])
    for number, index in enumerate(np.ndindex(stack)):
        frame = slice(None) if not stack else None  # a lone matrix: its rows are frames
        yield replace(
            case,
            name=f"{case.name}_{number}" if stack else case.name,
            data={left: np.ascontiguousarray(xs[index][frame])},
            constants={**case.constants, right: np.ascontiguousarray(ws[index])},
            expected=np.ascontiguousarray(ys[index][frame]),
        )


def _right_operand(case: Equivalent) -> str:
    return str(case.node.input[3 if case.operator in QLINEAR else 1])


def _with_batch_axis(case: Equivalent) -> Equivalent:
    rank = case.expected.ndim
    axis = next((a.i % rank for a in case.node.attribute if a.name == "axis"), None)
    if rank > 1 and axis != 0:
        return case
    node = onnx.NodeProto()
    node.CopyFrom(case.node)
    for attribute in node.attribute:
        if attribute.name == "axis":
            attribute.i = attribute.i % rank + 1
    data = {name: values[None] for name, values in case.data.items()}
    return replace(case, node=node, nodes=(node,), data=data, expected=case.expected[None])


def _flat_bias(case: Equivalent) -> Equivalent:
    node = onnx.NodeProto()
    node.CopyFrom(case.node)
    name = node.input[2]
    beta = next((a.f for a in node.attribute if a.name == "beta"), 1.0)
    kept = [a for a in case.node.attribute if a.name != "beta"]
    del node.attribute[:]
    node.attribute.extend(kept)
    bias = beta * np.broadcast_to(case.constants[name].ravel(), case.expected.shape[-1:])
    constants = {**case.constants, name: bias.astype(np.float32)}
    return replace(case, node=node, nodes=(node,), constants=constants)


def _split_weights(case: Equivalent) -> Equivalent:
    """w - z = a + b with int8 addends: x*w becomes (x, x) * (a, b) where w - z exceeds int8."""
    (name, x), right = next(iter(case.data.items())), _right_operand(case)
    zero, matrix = str(case.node.input[5]), case.operator == "QLinearMatMul"
    zeros = case.constants[zero].astype(np.int64)
    centred = case.constants[right].astype(np.int64)
    centred -= zeros if matrix else zeros.reshape(-1, 1, 1, 1)
    if centred.min() >= -128 and centred.max() <= 127:
        return case
    first = np.clip(centred, -128, 127)
    inner = 0 if matrix else 1
    weight = np.concatenate([first, centred - first], inner).astype(np.int8)
    doubled = np.concatenate([x, x], -1 if matrix else 1)
    changed = {right: weight, zero: np.zeros_like(case.constants[zero], np.int8)}
    return replace(case, data={name: doubled}, constants={**case.constants, **changed})


def _quantised_sums(case: Equivalent) -> Equivalent:
    """sum -> Cast -> Mul -> QuantizeLinear, with a step of one sum where all sums fit int8."""
    low, high = int(case.expected.min()), int(case.expected.max())
    step = 1.0 if high - low < 256 else (high - low) / 255
    zero = int(np.clip(round(-128 - low / step), -128, 127)) if low < -128 or high > 127 else 0
    factor = 0.25
    sums = case.node.output[0]
    after = (
        helper.make_node("Cast", [sums], ["float_sums"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["float_sums", "factor"], ["real"]),
        helper.make_node("QuantizeLinear", ["real", "step", "zero"], ["quantised"]),
    )
    added = {
        "factor": np.float32(factor),
        "step": np.float32(factor * step),
        "zero": np.int8(zero),
    }
    constants = {**case.constants, **{name: np.asarray(v) for name, v in added.items()}}
    return replace(case, nodes=(*case.nodes, *after), constants=constants)


def _quantised_addition(case: Equivalent) -> Equivalent:
    """The sum of integers that stand for themselves: QLinearAdd with scales of 1."""
    (a, b), kind = case.data, case.expected.dtype
    names = [a, "one", "zero", b, "one", "zero", "one", "zero"]
    node = helper.make_node("QLinearAdd", names, case.node.output, domain=_MICROSOFT)
    constants = {"one": np.float32(1), "zero": np.zeros((), kind)}
    return replace(
        case,
        nodes=(node,),
        constants={name: np.asarray(values) for name, values in constants.items()},
    )


def _behind_unit_convolution(case: Equivalent) -> Equivalent:
    ((name, x),) = case.data.items()
    unit = np.eye(x.shape[1], dtype=np.float32)[:, :, None, None]
    node = onnx.NodeProto()
    node.CopyFrom(case.node)
    node.input[0] = "convolved"
    convolution = helper.make_node("Conv", [name, "unit"], ["convolved"])
    constants = {**case.constants, "unit": unit}
    return replace(case, node=node, nodes=(convolution, node), constants=constants)


def _behind_clip(case: Equivalent) -> Equivalent:
    bounds = _no_bounds(case.expected)
    node = onnx.NodeProto()
    node.CopyFrom(case.node)
    clips = []
    for index, name in enumerate(case.node.input):
        if name in case.data:
            node.input[index] = f"{name}_clipped"
            clips.append(helper.make_node("Clip", [name, *bounds], [node.input[index]]))
    return replace(case, node=node, nodes=(*clips, node), constants={**case.constants, **bounds})


def _before_clip(case: Equivalent) -> Equivalent:
    """QuantizeLinear -> DequantizeLinear -> Clip, or the last two: real numbers in the end."""
    scale, zero = (np.asarray(case.constant(index)) for index in (1, 2))
    nodes, last, expected = [case.node], case.node.output[0], case.expected
    if case.operator == "QuantizeLinear":
        nodes.append(helper.make_node("DequantizeLinear", [last, *case.node.input[1:]], ["real"]))
        last = "real"
        expected = ((expected.astype(np.int32) - zero.astype(np.int32)) * scale).astype(np.float32)
    bounds = _no_bounds(expected)
    nodes.append(helper.make_node("Clip", [last, *bounds], ["clipped"]))
    return replace(
        case,
        nodes=tuple(nodes),
        constants={**case.constants, **bounds},
        data={name: values[None] for name, values in case.data.items()},
        expected=expected[None],
        quantised=True,
    )


def _no_bounds(values: Array) -> dict[str, Array]:
    """Bounds of a clip that no value of the type, or no float of a test, goes beyond."""
    kind = values.dtype
    if kind.kind in "iu":
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        return {"low": np.asarray(low, kind), "high": np.asarray(high, kind)}
    return {"low": np.asarray(-_WIDE, kind), "high": np.asarray(_WIDE, kind)}
