"""The numbers of a task: weight stream, requantisation constants, limits and zero points."""

from __future__ import annotations

from math import floor, frexp, isfinite, log2
from typing import TYPE_CHECKING

import numpy as np

from fragenv.graph.operators import ACTIVATION_KINDS, POOL_KINDS, Operator, OpKind
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.rtl.errors import EmitError
from fragenv.rtl.weights import (
    MULTIPLIER_BITS,
    channel_constants,
    fixed_point,
    grouped_stream,
    weight_stream,
)
from fragenv.schedule.problem import Problem
from fragenv.schedule.shape import TaskShape

if TYPE_CHECKING:
    from fragenv.models.parameters import Quantisation, TensorScale

#: the adder's largest shift
MAX_ADD_SHIFT = 40
_IDENTITY = (0, 1 << (MULTIPLIER_BITS - 1), MULTIPLIER_BITS - 1)


class TaskNumbers:
    """Numbers of the operators of one task; zeros where there is no quantised model.

    Args:
        problem: what the task belongs to.
        operators: the task's, in order.
        shape: the task's.
        numbers: of the quantised model, or None.
    """

    def __init__(
        self,
        problem: Problem,
        operators: list[Operator],
        shape: TaskShape,
        numbers: Quantisation | None,
    ) -> None:
        self.problem, self.operators, self.shape, self.numbers = problem, operators, shape, numbers

    def check_parts(self, op: Operator) -> None:
        """Refuse a concatenation that changes scales: no data moves.

        Raises:
            EmitError: a part of an input of ``op`` has another scale than the whole.
        """
        if self.numbers is None:
            return
        scales = self.numbers.tensors
        for tensor in op.inputs:
            for part in self.problem.parts.get(tensor, ()):
                if scales[part] != scales[tensor]:
                    raise EmitError(
                        f"part '{part}' of its input has another scale than the whole; quantise "
                        "with scripts/quantise.py, which gives all parts one scale",
                        op.name,
                        op.kind,
                    )

    def stream(self, op: Operator, fragment: Fragment) -> bytes:
        """The weight stream of a multiply-accumulate operator."""
        nest, shape = op.nest, self.shape
        if self.numbers is None:
            return bytes(shape.weight_bytes)
        mac = self.numbers.macs[op.name]
        weight = mac.weight
        if op.kind is OpKind.GEMM:
            weight = self._channels_last(op)
        weight = np.ascontiguousarray(weight).reshape(nest.k, nest.c // nest.groups, nest.r, nest.s)
        factors = self._scale(op.inputs[0]).scale * mac.scale / self.output_scale(op).scale
        zero = self._scale(op.inputs[0]).zero_point
        constants = channel_constants(weight, mac.bias, zero, factors, op.name)
        lanes = (fragment.lanes_in, fragment.lanes_out)
        if shape.array is Stage.DEPTHWISE:
            return weight_stream(weight, constants, (1,), 1, fragment.lanes_out)
        if nest.groups > 1:
            return grouped_stream(weight, constants, nest.groups, *lanes)
        return weight_stream(weight, constants, shape.part_channels, *lanes)

    def _channels_last(self, op: Operator) -> np.ndarray:
        """Weights of a matrix product over features that the chip stores rows, columns, channels,
        part by part, and the file channels first."""
        assert self.numbers is not None
        weight = self.numbers.macs[op.name].weight
        k = len(weight)
        columns, start = [], 0
        flat = weight.reshape(k, -1)
        for part in self.problem.parts.get(op.inputs[0], (op.inputs[0],)):
            shape = self.problem.graph.tensors[part].shape
            size = self.problem.graph.tensors[part].bytes
            block = flat[:, start : start + size]
            if len(shape) == 3:
                block = block.reshape(k, *shape).transpose(0, 2, 3, 1).reshape(k, -1)
            columns.append(block)
            start += size
        return np.concatenate(columns, axis=1)

    def activations(self, stage: Operator) -> list[Operator]:
        """The activations right after a stage."""
        result = []
        for op in self.operators[self.operators.index(stage) + 1 :]:
            if op.kind not in ACTIVATION_KINDS:
                break
            result.append(op)
        return result

    def _output(self, stage: Operator) -> str:
        after = self.activations(stage)
        return after[-1].output if after else stage.output

    def _scale(self, tensor: str) -> TensorScale:
        assert self.numbers is not None
        return self.numbers.tensors[tensor]

    def output_scale(self, stage: Operator) -> TensorScale:
        """Of what a stage makes, its activations applied."""
        return self._scale(self._output(stage))

    def limits(self, stage: Operator) -> tuple[int, int, int]:
        """(zero point, least, largest) of what a stage writes, its activations applied.

        Raises:
            EmitError: an activation changes the scale.
        """
        if self.numbers is None:
            return 0, -128, 127
        scale = self.output_scale(stage)
        low, high = -128, 127
        activations = self.activations(stage)
        if stage.kind in ACTIVATION_KINDS:
            activations = [stage, *activations]
        for op in activations:
            if self._scale(op.inputs[0]) != scale:
                raise EmitError(
                    "its input has another scale; quantise both alike", op.name, op.kind
                )
            if op.kind is OpKind.RELU:
                low = max(low, scale.zero_point)
                continue
            for name, lower in (("min", True), ("max", False)):
                value = op.attribute(name, float("-inf") if lower else float("inf"))
                if isfinite(value):
                    bound = min(127, max(-128, round(value / scale.scale) + scale.zero_point))
                    low, high = (max(low, bound), high) if lower else (low, min(high, bound))
        return scale.zero_point, low, high

    def pad_value(self, stage: Operator) -> int:
        """What padding reads as: the zero point, or for a maximum the least number."""
        if stage.kind is OpKind.MAXPOOL:
            return -128
        return self._scale(stage.inputs[0]).zero_point if self.numbers else 0

    def rescales(self, op: Operator) -> bool:
        """Whether a window operation's results go through the requantiser; those of an addition
        or activation on its own pass as they are."""
        return op.kind in POOL_KINDS or op.kind is OpKind.LRN

    def window_constants(self, op: Operator, valid: int) -> tuple[int, int, int]:
        """(bias, multiplier, shift) of a window operation over ``valid`` elements that count; an
        addition or activation on its own passes its input on."""
        count = op.nest.r * op.nest.s
        if op.kind is OpKind.MAXPOOL:
            count = valid = 1
        elif op.kind not in POOL_KINDS:
            return _IDENTITY
        if self.numbers is None:
            return (0, *fixed_point(1 / valid))
        x, y = self._scale(op.inputs[0]), self.output_scale(op)
        return (-count * x.zero_point, *fixed_point(x.scale / (y.scale * valid)))

    def addition(self, op: Operator, before: Operator | None) -> dict[str, int]:
        """The residual record's arithmetic: ``before`` is the stage whose outputs are added to,
        None where the addition reads them from its first input.

        Raises:
            EmitError: the scales are too far apart for the adder.
        """
        zero, low, high = self.limits(op)
        result = {"on": 1, "out_zero": zero, "clamp_min": low, "clamp_max": high}
        if self.numbers is None:
            one = {"zero_a": 0, "zero_b": 0, "shift": 0, "multiplier_a": 1, "multiplier_b": 1}
            return result | one
        if before is None:
            a, other = self._scale(op.inputs[0]), op.inputs[-1]
        else:
            made = self._output(before)
            a = self._scale(made)
            other = next((t for t in op.inputs if t != made), made)
        b, y = self._scale(other), self.output_scale(op)
        _, shift = fixed_point(max(a.scale, b.scale) / y.scale)
        if shift > MAX_ADD_SHIFT:
            raise EmitError("its result has too large a scale; quantise again", op.name, op.kind)
        multipliers = [floor(s / y.scale * 2.0**shift + 0.5) for s in (a.scale, b.scale)]
        return result | {
            "zero_a": a.zero_point,
            "zero_b": b.zero_point,
            "shift": shift,
            "multiplier_a": multipliers[0],
            "multiplier_b": multipliers[1],
        }

    def normalisation(self, op: Operator) -> dict[str, int]:
        """The run record's fields of an LRN: constants of ``fe_lrn`` (see its header).

        Raises:
            EmitError: a constant does not fit its field.
        """
        size, beta = int(op.attribute("size", 5)), op.attribute("beta", 0.75)
        alpha, offset = op.attribute("alpha", 1e-4), op.attribute("bias", 1.0)
        if self.numbers is None:
            x_scale = y_scale = 1.0
        else:
            x_scale = self._scale(op.inputs[0]).scale
            y_scale = self.output_scale(op).scale
        unit = alpha * x_scale**2 / size
        constant = round(offset / unit)
        gain = round(2**20 * log2(x_scale / y_scale * unit**-beta))
        power = round(beta * 2**16)
        # the largest factor, without any squares, must not need a left shift
        mantissa, exponent = frexp(constant)
        most = gain / 2**20 - power / 2**16 * (log2(mantissa) + exponent)
        # it is rounded: below 128, by more than half a unit of the largest result
        if not 128 <= constant < 2**40 or abs(gain) >= 2**31 or power >= 2**18 or most >= 23:
            raise EmitError("its scales are out of range; quantise again", op.name, op.kind)
        return {
            "w_base": constant & 0xFFFFFFFF,
            "first_col": constant >> 32,
            "passes": power,
            "first_row": gain,
            "first_x": (size - 1) // 2,
            "pad_value": self.pad_value(op),
            "bias": -self.pad_value(op),
        }
