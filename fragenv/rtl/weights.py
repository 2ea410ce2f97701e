"""The weight stream of a task: requantisation constants and weight blocks in the order of reading.

Per group of PO output channels: 8 rows of constants, then the blocks in the order part, input
group, kernel row, kernel column; a block has a row per valid input lane, a row has a byte per valid
output lane. A depthwise convolution is the case of one input channel. A channel's 8 bytes of
constants are, from the lowest: int32 bias, 24-bit multiplier, shift.
The zero point of the input is folded into the bias: sum (x - zx) w + b = sum x w + (b - zx sum w).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

import numpy as np
import numpy.typing as npt

from fragenv.rtl.errors import EmitError

#: bytes of constants per output channel
CONSTANT_BYTES = 8
MULTIPLIER_BITS = 24
MAX_SHIFT = 62


def fixed_point(factor: float) -> tuple[int, int]:
    """(multiplier, shift) with factor = multiplier / 2**shift, the multiplier rounded to 24 bits.

    Raises:
        EmitError: the factor is not positive, or 2**24 or more.
    """
    if not 0 < factor < 2**MULTIPLIER_BITS:
        raise EmitError(
            f"the scale ratio {factor} cannot be a fixed-point multiplier; quantise again"
        )
    mantissa, exponent = frexp(factor)
    multiplier, shift = round(mantissa * 2**MULTIPLIER_BITS), MULTIPLIER_BITS - exponent
    if multiplier == 2**MULTIPLIER_BITS:
        multiplier, shift = multiplier // 2, shift - 1
    if shift > MAX_SHIFT:
        multiplier, shift = multiplier >> (shift - MAX_SHIFT), MAX_SHIFT
    if shift < 0:
        raise EmitError(
            f"the scale ratio {factor} cannot be a fixed-point multiplier; quantise again"
        )
    return multiplier, shift


@dataclass(frozen=True, slots=True, eq=False)
class ChannelConstants:
    """What the requantiser needs per output channel, all of shape (k,)."""

    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.uint32]
    shift: npt.NDArray[np.uint8]

    def channels(self, first: int, last: int) -> ChannelConstants:
        """Those of output channels [first, last)."""
        span = slice(first, last)
        return ChannelConstants(self.bias[span], self.multiplier[span], self.shift[span])

    def planes(self) -> npt.NDArray[np.uint8]:
        """(8, k): byte i of every channel's constants."""
        words = self.multiplier.astype(np.uint32) | self.shift.astype(np.uint32) << 24
        both = np.stack([self.bias.view(np.uint32), words], axis=1)  # (k, 2)
        return np.ascontiguousarray(both).view(np.uint8).reshape(-1, CONSTANT_BYTES).T.copy()


def channel_constants(
    weight: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32],
    zero_in: int,
    factors: npt.NDArray[np.float64],
    node: str,
) -> ChannelConstants:
    """Constants of a MAC operator.

    Args:
        weight: (k, c, r, s).
        bias: (k,), in units of input scale x weight scale.
        zero_in: zero point of the input.
        factors: (k,): input scale x weight scale / output scale.
        node: the operator's name, for errors.

    Raises:
        EmitError: a sum could exceed int32, or a factor is no fixed-point number.
    """
    wide = weight.astype(np.int64).reshape(len(weight), -1)
    folded = bias.astype(np.int64) - zero_in * wide.sum(axis=1)
    worst = np.abs(folded) + 128 * np.abs(wide).sum(axis=1)
    if worst.max() >= 2**31:
        raise EmitError(
            "its sums can exceed int32; quantise with larger scales", node, "conv or gemm"
        )
    pairs = [fixed_point(float(f)) for f in factors]
    return ChannelConstants(
        folded.astype(np.int32),
        np.array([m for m, _ in pairs], np.uint32),
        np.array([s for _, s in pairs], np.uint8),
    )


def weight_stream(
    weight: npt.NDArray[np.int8],
    constants: ChannelConstants,
    part_channels: tuple[int, ...],
    lanes_in: int,
    lanes_out: int,
) -> bytes:
    """The stream of a convolution or matrix product for ``lanes_in`` x ``lanes_out``.

    Args:
        weight: (k, c/groups, r, s).
        constants: of the k output channels.
        part_channels: input channels of each part, which a block does not leave; c/groups in all.
        lanes_in, lanes_out: of the array.
    """
    planes = constants.planes()
    k, depth = weight.shape[:2]
    parts: list[bytes] = []
    for first in range(0, k, lanes_out):
        columns = slice(first, min(k, first + lanes_out))
        parts.append(np.ascontiguousarray(planes[:, columns]).tobytes())
        start = 0
        for channels in part_channels:
            for lane in range(start, start + channels, lanes_in):
                block = weight[columns, lane : min(start + channels, lane + lanes_in)]
                parts.append(np.ascontiguousarray(block.transpose(2, 3, 1, 0)).tobytes())
            start += channels
        assert start == depth
    return b"".join(parts)


def grouped_stream(
    weight: npt.NDArray[np.int8],
    constants: ChannelConstants,
    groups: int,
    lanes_in: int,
    lanes_out: int,
) -> bytes:
    """The streams of a convolution's groups, one after the other; weight: (k, c/groups, r, s)."""
    size = len(weight) // groups
    return b"".join(
        weight_stream(
            weight[first : first + size],
            constants.channels(first, first + size),
            (weight.shape[1],),
            lanes_in,
            lanes_out,
        )
        for first in range(0, len(weight), size)
    )
