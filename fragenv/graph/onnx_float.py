"""What each float operator of ONNX means: one handler per operator."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod

import numpy as np
from onnx import TensorProto

from fragenv.graph.builder import Shape, Value
from fragenv.graph.onnx_padding import check_maximum, check_mean
from fragenv.graph.onnx_scope import Call, Registry, Scaling, Scope, WeightNames
from fragenv.graph.refused import RefusedError

HANDLERS = Registry()


@HANDLERS.handles("Conv")
def _conv(scope: Scope, call: Call) -> Value:
    return convolve(scope, call, WeightNames(call.node, call.inputs[1], call.optional(2)))


def convolve(scope: Scope, call: Call, weights: WeightNames) -> Value:
    """The convolution of the call's first input with ``weights``."""
    x, shape = scope.framed(call.inputs[0]), scope.weight_shape(weights.weight)
    groups = call.get("group", 1)
    if x.frame is not None and not x.frame.zero:
        raise RefusedError("its input is padded with another number than 0; pad with zeros")
    if len(shape) != 4 or len(x.shape) != 3:
        raise RefusedError(f"a weight of shape {shape} is not a 2-D convolution; use 2-D layers")
    if shape[1] * groups != x.shape[0]:
        raise RefusedError(f"weight {shape} x {groups} groups does not fit {x.shape[0]} channels")
    if list(call.get("kernel_shape", shape[2:])) != list(shape[2:]):
        raise RefusedError(f"kernel_shape contradicts the weight's shape {shape}")
    _check_bias(scope, weights.bias, shape[0])
    window = call.window(shape[2:], x)
    result = scope.builder.conv(call.name, x, call.out, shape[0], window, groups)
    scope.weights[result.tensor] = weights
    return result


@HANDLERS.handles("Gemm")
def _gemm(scope: Scope, call: Call) -> Value:
    stored_by_outputs = bool(call.get("transB", 0))
    bias = call.optional(2)
    if call.get("transA", 0):
        raise RefusedError("a transposed first operand is not supported; transpose the weight")
    weights = WeightNames(
        call.node,
        call.inputs[1],
        bias,
        transposed=not stored_by_outputs,
        factor=call.get("alpha", 1.0),
        bias_factor=call.get("beta", 1.0),
    )
    return multiply(scope, call, weights)


@HANDLERS.handles("MatMul")
def _matmul(scope: Scope, call: Call) -> Value:
    return multiply(scope, call, WeightNames(call.node, call.inputs[1], transposed=True))


def multiply(scope: Scope, call: Call, weights: WeightNames) -> Value:
    """The matrix product of the call's first input with ``weights``; its rows may be many."""
    x, stored = scope.value(call.inputs[0]), scope.weight_shape(weights.weight)
    shape = stored[-2:]
    if len(stored) < 2 or prod(stored) != prod(shape):
        raise RefusedError(f"a weight of shape {stored} is not a matrix; split the product")
    inputs, outputs = shape if weights.transposed else shape[::-1]
    if not x.shape or x.shape[-1] != inputs:
        raise RefusedError(f"weight {shape} does not fit an input of {x.shape}")
    _check_bias(scope, weights.bias, outputs)
    result = scope.builder.gemm(call.name, x, call.out, outputs)
    scope.weights[result.tensor] = weights
    return result


def _check_bias(scope: Scope, bias: str, channels: int) -> None:
    if not bias:
        return
    if not scope.file.is_constant(bias):
        raise RefusedError(f"bias '{bias}' is not a constant; only constant biases are added")
    shape = scope.file.constant_shape(bias)
    if prod(shape) not in (1, channels) or prod(shape) != prod(shape[-1:]):
        raise RefusedError(
            f"a bias of shape {shape} is not one number for each of {channels} channels; add it "
            "as one number per channel"
        )


@HANDLERS.handles("BatchNormalization")
def _batch_norm(scope: Scope, call: Call) -> Value:
    if call.get("training_mode", 0):
        raise RefusedError("it normalises by the batch's own statistics; export in evaluation mode")
    x = scope.value(call.inputs[0])
    return _scaling(scope, call, x, scope.builder.scale(call.name, x, call.out))


def _scaling(scope: Scope, call: Call, x: Value, result: Value) -> Value:
    """``result``, noted as y = a*x + b."""
    scope.scalings[result.tensor] = Scaling(x.tensor, call.node)
    return result


@HANDLERS.handles("Relu")
def _relu(scope: Scope, call: Call) -> Value:
    return scope.builder.relu(call.name, scope.value(call.inputs[0]), call.out)


@HANDLERS.handles("Clip")
def _clip(scope: Scope, call: Call) -> Value:
    x, low, high = scope.value(call.inputs[0]), call.setting("min", 1), call.setting("max", 2)
    given = [np.asarray(bound) for bound in (low, high) if bound is not None]
    if x.tensor in scope.scales and any(bound.dtype.kind in "iu" for bound in given):
        raise RefusedError("it clips integers of another scale; clip real values before quantising")
    return scope.builder.clip(
        call.name,
        x,
        call.out,
        -inf if low is None else float(low),
        inf if high is None else float(high),
    )


@HANDLERS.handles("MaxPool")
def _max_pool(scope: Scope, call: Call) -> Value:
    x, ceil = scope.framed(call.inputs[0]), bool(call.get("ceil_mode", 0))
    window = call.window(tuple(call.attributes["kernel_shape"]), x)
    if x.frame is not None:
        check_maximum(scope.builder, x, window, ceil)
    return scope.builder.max_pool(call.name, x, call.out, window, ceil)


@HANDLERS.handles("AveragePool")
def average_pool(scope: Scope, call: Call) -> Value:
    """Average pooling of the call's first input."""
    x, ceil = scope.framed(call.inputs[0]), bool(call.get("ceil_mode", 0))
    window = call.window(tuple(call.attributes["kernel_shape"]), x)
    counted = bool(call.get("count_include_pad", 0))
    if x.frame is not None:
        check_mean(x.frame, window, ceil, counted)
        counted = True
    return scope.builder.average_pool(call.name, x, call.out, window, ceil, counted)


@HANDLERS.handles("GlobalAveragePool")
def global_average(scope: Scope, call: Call) -> Value:
    """Mean over rows and columns of the call's first input."""
    return scope.builder.global_average(call.name, scope.value(call.inputs[0]), call.out)


@HANDLERS.handles("ReduceMean")
def _reduce_mean(scope: Scope, call: Call) -> Value:
    x, given = scope.value(call.inputs[0]), call.setting("axes", 1)
    rank = len(x.shape) + 1
    axes = [] if given is None else sorted(int(axis) % rank for axis in given)
    if len(x.shape) != 3 or axes != [2, 3]:
        raise RefusedError("only means over all rows and columns are supported; use axes [2, 3]")
    y = scope.builder.global_average(call.name, x, call.out)
    return y if call.get("keepdims", 1) else scope.builder.reshape(y, x.shape[:1])


@HANDLERS.handles("Add", "Sub", "Mul", "Div")
def _arithmetic(scope: Scope, call: Call) -> Value:
    a, b = call.inputs
    operator = call.node.op_type
    if scope.is_activation(a) and scope.is_activation(b):
        if operator != "Add":
            raise RefusedError("two activations may only be added; replace this operator")
        return scope.builder.add(call.name, scope.value(a), scope.value(b), call.out)
    x, constant = (a, b) if scope.is_activation(a) else (b, a)
    if operator == "Div" and constant == a:
        raise RefusedError("dividing by an activation is not supported; replace this operator")
    shape = scope.weight_shape(constant)
    value = scope.value(x)
    result = scope.builder.scale_by(call.name, value, call.out, shape)
    return _scaling(scope, call, value, result)


@HANDLERS.handles("Sum")
def _sum(scope: Scope, call: Call) -> Value:
    parts = [scope.value(name) for name in call.inputs]
    if len(parts) > 2:
        raise RefusedError(f"a sum of {len(parts)} values needs a scale for each part; add by twos")
    if len(parts) == 1:
        return parts[0]
    return scope.builder.add(call.name, parts[0], parts[1], call.out)


@HANDLERS.handles("Concat")
def _concat(scope: Scope, call: Call) -> Value:
    return concatenate(scope, call, call.inputs)


def concatenate(scope: Scope, call: Call, names: Sequence[str]) -> Value:
    """The values ``names`` one after the other on the call's axis."""
    parts = [scope.value(name) for name in names]
    axis = _without_batch(call.attributes["axis"], len(parts[0].shape))
    return scope.builder.concat(call.name, parts, call.out, axis)


@HANDLERS.handles("LRN")
def _lrn(scope: Scope, call: Call) -> Value:
    return scope.builder.lrn(
        call.name,
        scope.value(call.inputs[0]),
        call.out,
        call.attributes["size"],
        call.get("alpha", 1e-4),
        call.get("beta", 0.75),
        call.get("bias", 1.0),
    )


@HANDLERS.handles("Softmax", "LogSoftmax")
def _softmax(scope: Scope, call: Call) -> Value:
    x = scope.value(call.inputs[0])
    default = -1 if scope.file.opset >= 13 else 1
    axis = _without_batch(call.get("axis", default), len(x.shape))
    if scope.file.opset < 13 and prod(x.shape[axis + 1 :]) != 1:
        raise RefusedError("before opset 13 it runs over all axes together; flatten before it")
    log = call.node.op_type == "LogSoftmax"
    return scope.builder.softmax(call.name, x, call.out, axis, log)


def _without_batch(axis: int, rank: int) -> int:
    axis %= rank + 1
    if axis == 0:
        raise RefusedError("this operator runs over the batch; frames must stay independent")
    return axis - 1


# -- operators that move no data -----------------------------------------------------------------


@HANDLERS.handles("Identity")
def _nothing(scope: Scope, call: Call) -> Value:
    return scope.framed(call.inputs[0])


@HANDLERS.handles("Dropout")
def _dropout(scope: Scope, call: Call) -> Value:
    training, ratio = call.setting("training_mode", 2), call.setting("ratio", 1)
    if training is not None and np.any(training) and (ratio is None or np.any(ratio)):
        raise RefusedError("it drops values at random (training_mode); export in evaluation mode")
    return scope.framed(call.inputs[0])


@HANDLERS.handles("Cast")
def _cast(scope: Scope, call: Call) -> Value:
    kind = TensorProto.DataType.Name(call.attributes["to"])
    if kind not in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"):
        raise RefusedError(f"a cast to {kind} changes values; quantise with QuantizeLinear instead")
    return scope.framed(call.inputs[0])


@HANDLERS.handles("Flatten")
def _flatten(scope: Scope, call: Call) -> Value:
    x = scope.value(call.inputs[0])
    full = (scope.batch, *x.shape)
    axis = call.get("axis", 1)
    return _see(scope, x, (prod(full[:axis]), prod(full[axis:])))


@HANDLERS.handles("Reshape")
def _reshape(scope: Scope, call: Call) -> Value:
    x = scope.value(call.inputs[0])
    full = (scope.batch, *x.shape)
    if "shape" in call.attributes or scope.file.is_constant(call.inputs[1]):
        target = call.setting("shape", 1)
        assert target is not None
        return _see(scope, x, _reshaped(full, [int(n) for n in target], call.get("allowzero", 0)))
    if call.out not in scope.file.inferred:
        raise RefusedError("its shape is computed at run time; export with fixed sizes")
    return _see(scope, x, scope.file.inferred[call.out])


def _reshaped(full: Shape, target: Sequence[int], allow_zero: int) -> Shape:
    sizes = [full[i] if n == 0 and not allow_zero else n for i, n in enumerate(target)]
    known = prod(n for n in sizes if n != -1)
    return tuple(prod(full) // known if n == -1 else n for n in sizes)


@HANDLERS.handles("Squeeze")
def _squeeze(scope: Scope, call: Call) -> Value:
    x, given = scope.value(call.inputs[0]), call.setting("axes", 1)
    full = (scope.batch, *x.shape)
    if given is None:
        raise RefusedError("squeezing every axis may drop the batch; name the axes")
    axes = {int(axis) % len(full) for axis in given}
    return _see(scope, x, tuple(n for i, n in enumerate(full) if i not in axes))


@HANDLERS.handles("Unsqueeze")
def _unsqueeze(scope: Scope, call: Call) -> Value:
    x, given = scope.value(call.inputs[0]), call.setting("axes", 1)
    if given is None:
        raise RefusedError("its axes are missing; check the file with onnx.checker")
    rank = len(x.shape) + 1 + len(given)
    axes = {int(axis) % rank for axis in given}
    rest = iter((scope.batch, *x.shape))
    return _see(scope, x, tuple(1 if i in axes else next(rest) for i in range(rank)))


@HANDLERS.handles("Transpose")
def _transpose(scope: Scope, call: Call) -> Value:
    x = scope.value(call.inputs[0])
    order = list(call.get("perm", range(len(x.shape), -1, -1)))
    if order[0] != 0:
        raise RefusedError("moving the batch axis is not supported; frames must stay independent")
    return scope.builder.permute(x, [axis - 1 for axis in order[1:]])


def _see(scope: Scope, x: Value, full: Shape) -> Value:
    """``x`` seen with a shape that includes the batch."""
    if not full or full[0] != scope.batch:
        raise RefusedError(
            f"a shape of {full} mixes frames of a batch of {scope.batch}; keep the batch axis "
            "first (files with a fixed batch built in need it as batch)"
        )
    return scope.builder.reshape(x, full[1:])
