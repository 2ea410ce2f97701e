"""ONNX's Pad operator: taken in by the convolution or pool after it, where that is exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fragenv.graph.builder import GraphBuilder, Value
from fragenv.graph.onnx_file import Array
from fragenv.graph.onnx_scope import Call, Registry, Scope
from fragenv.graph.refused import RefusedError
from fragenv.graph.windows import Frame, Padding, Window

HANDLERS = Registry()
#: what exporters write for minus infinity: at most float32's or float16's least number
_LOWEST_FLOAT = -65504.0


@HANDLERS.handles("Pad")
def _pad(scope: Scope, call: Call) -> Value:
    """The input with a frame around it; nothing runs on the chip."""
    x, sizes = scope.value(call.inputs[0]), call.setting("pads", 1)
    if sizes is None:
        raise RefusedError("its pads are missing; check the file with onnx.checker")
    padding = _sides(scope, call, [int(n) for n in sizes], len(x.shape) + 1)
    if not any(padding):
        return x
    mode = call.get("mode", "constant")
    if mode != "constant":
        raise RefusedError(f"padding by mode '{mode}' copies data; pad with zeros")
    fill = call.setting("value", 2)
    frame = Frame(padding, *_meaning(scope, x, np.zeros(()) if fill is None else np.asarray(fill)))
    return Value(x.tensor, x.shape, frame)


def _sides(scope: Scope, call: Call, sizes: Sequence[int], rank: int) -> Padding:
    """Top, left, bottom, right."""
    axes = call.setting("axes", 3)
    named = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes]
    before = dict(zip(named, sizes[: len(named)], strict=True))
    after = dict(zip(named, sizes[len(named) :], strict=True))
    if min(sizes) < 0:
        raise RefusedError("negative padding crops, which the chip cannot do; remove it")
    used = {axis for axis in named if before[axis] or after[axis]}
    if used and (rank != 4 or used - {2, 3}):
        raise RefusedError(
            f"it pads axes {sorted(used)}; the chip only pads rows and columns of an image"
        )
    return before.get(2, 0), before.get(3, 0), after.get(2, 0), after.get(3, 0)


def _meaning(scope: Scope, x: Value, fill: Array) -> tuple[bool, bool]:
    """Whether the constant is the real number 0, and whether nothing is below it."""
    if fill.dtype.kind == "f":
        return bool(fill == 0), bool(fill <= _LOWEST_FLOAT)
    zeros = [
        scope.file.array(note.zero_point)
        for note in scope.scales.get(x.tensor, [])
        if note.zero_point and scope.file.is_constant(note.zero_point)
    ]
    zero = bool(zeros) and all(np.array_equal(zero.ravel(), fill.ravel()) for zero in zeros)
    return zero, bool(fill == np.iinfo(fill.dtype).min)


def check_maximum(builder: GraphBuilder, x: Value, window: Window, ceil: bool) -> None:
    """Whether a maximum over ``window`` may leave the frame of ``x`` out.

    Raises:
        RefusedError: the constant could win.
    """
    assert x.frame is not None
    _check_ceil(ceil)
    whole = all(p < window.extent(side % 2) for side, p in enumerate(window.padding))
    harmless = x.frame.lowest or (x.frame.zero and builder.never_negative(x))
    if not harmless or not whole:
        raise RefusedError(
            "the padding before it can be the maximum; pad with minus infinity, or after a relu "
            "and by less than the window"
        )


def check_mean(frame: Frame, window: Window, ceil: bool, counted: bool) -> None:
    """Whether a mean over ``window`` may count ``frame`` as padding.

    Raises:
        RefusedError: it would be another mean.
    """
    _check_ceil(ceil)
    if not frame.zero:
        raise RefusedError("its input is padded with another number than 0; pad with zeros")
    if window.padding != frame.padding and not counted:
        raise RefusedError(
            "the padding before it counts and its own does not; use one of them, or set "
            "count_include_pad=1"
        )


def _check_ceil(ceil: bool) -> None:
    if ceil:
        raise RefusedError("ceil_mode after a padding is not supported; pad in the pool instead")
