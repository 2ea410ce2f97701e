"""Sliding-window arithmetic: output sizes, paddings, adaptive pooling as regular pooling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from fragenv.graph.refused import RefusedError

Pair = tuple[int, int]
#: top, left, bottom, right
Padding = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows and columns of one constant around an image, as ONNX's Pad operator adds them.

    Nothing on the chip writes them: the window operator that reads them takes them in as padding.

    Attributes:
        padding: how many.
        zero: the constant is the real number 0, as the padding of a convolution or mean.
        lowest: the constant is below every other value, as the padding of a maximum.
    """

    padding: Padding
    zero: bool
    lowest: bool


@dataclass(frozen=True, slots=True)
class Window:
    """A kernel that slides over rows and columns."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    def __post_init__(self) -> None:
        if min(*self.kernel, *self.stride, *self.dilation) < 1 or min(self.padding) < 0:
            raise RefusedError(
                f"kernel {self.kernel}, stride {self.stride} and dilation {self.dilation} must be "
                f"positive, padding {self.padding} not negative"
            )

    def extent(self, axis: int) -> int:
        """Rows (axis 0) or columns (axis 1) between the window's first and last element."""
        return self.dilation[axis] * (self.kernel[axis] - 1) + 1

    def slack(self, axis: int, size: int) -> int:
        """How far the window travels over a padded input of ``size``; negative: it does not fit."""
        return size + self.padding[axis] + self.padding[axis + 2] - self.extent(axis)

    def output(self, size: Pair) -> Pair:
        """Output rows and columns for an input of ``size`` (rounded down).

        Raises:
            RefusedError: the window is larger than the padded input.
        """
        slacks = [self.slack(axis, size[axis]) for axis in (0, 1)]
        for axis in (0, 1):
            if slacks[axis] < 0:
                raise RefusedError(
                    f"a window of {self.extent(axis)} does not fit into {size[axis]} rows or "
                    f"columns with padding {self.padding[axis]} + {self.padding[axis + 2]}; give "
                    "a larger input"
                )
        return slacks[0] // self.stride[0] + 1, slacks[1] // self.stride[1] + 1

    def ceil(self, size: Pair) -> Window:
        """The window whose rounded-down output is this one's rounded-up output.

        Bottom and right padding grow until the last window fits. A window that would start in the
        bottom or right padding is dropped, as in PyTorch and in ONNX since opset 19.
        """
        after = [self.padding[2], self.padding[3]]
        for axis in (0, 1):
            stride, before = self.stride[axis], self.padding[axis]
            count = -(-self.slack(axis, size[axis]) // stride) + 1
            if (count - 1) * stride >= size[axis] + before:
                count -= 1
            if count < 1:
                continue
            after[axis] = max(
                after[axis], (count - 1) * stride + self.extent(axis) - size[axis] - before
            )
        return replace(self, padding=(*self.padding[:2], after[0], after[1]))


def widened(window: Window, padding: Padding) -> Window:
    """``window`` with ``padding`` added to its own."""
    top, left, bottom, right = (a + b for a, b in zip(window.padding, padding, strict=True))
    return replace(window, padding=(top, left, bottom, right))


def same_padding(size: Pair, window: Window, upper: bool) -> Window:
    """``window`` padded as ONNX's auto_pad SAME_UPPER or SAME_LOWER: output = ceil(size/stride)."""
    before, after = [0, 0], [0, 0]
    for axis in (0, 1):
        count = -(-size[axis] // window.stride[axis])
        total = max(0, (count - 1) * window.stride[axis] + window.extent(axis) - size[axis])
        small = total // 2
        before[axis], after[axis] = (small, total - small) if upper else (total - small, small)
    return replace(window, padding=(before[0], before[1], after[0], after[1]))


def adaptive_window(size: Pair, output: Pair) -> Window:
    """The regular window that averages ``size`` down to ``output`` as adaptive pooling does.

    PyTorch: output i covers input floor(i*size/output) to ceil((i+1)*size/output).

    Raises:
        RefusedError: the windows differ in size or distance.
    """
    kernel, stride = [1, 1], [1, 1]
    for axis in (0, 1):
        n, m = size[axis], output[axis]
        starts = [i * n // m for i in range(m)]
        lengths = {-(-(i + 1) * n // m) - starts[i] for i in range(m)}
        steps = {b - a for a, b in pairwise(starts)} or {1}
        if len(lengths) > 1 or len(steps) > 1 or min(steps) < 1:
            raise RefusedError(
                f"adaptive pooling of {n} to {m} needs windows of different sizes; choose an input "
                f"size for which {m} divides {n}"
            )
        kernel[axis], stride[axis] = lengths.pop(), steps.pop()
    return Window((kernel[0], kernel[1]), (stride[0], stride[1]))
