"""Local response normalisation in integers: logarithm and power from two tables of 257 entries.

y = x / (k + alpha/n * S)**beta over S, the squares of n neighbouring channels, becomes with
u = k*n/(alpha*sx**2) + S in units of the input's scale

    y/sy = (x - zx) * 2**(log2(sx/sy * (alpha*sx**2/n)**-beta) - beta * log2(u))

where both the logarithm and the power of two are interpolated between table entries.
"""

from __future__ import annotations

from math import log2

import numpy as np

from fragenv.graph.operators import Operator
from fragenv.models.parameters import TensorScale
from fragenv.verify.integers import Int8, Int64, ReferenceError, saturate, shift_rounded

#: bits after the binary point of a logarithm, and of those the bits between two table entries
_FRACTION, _BETWEEN = 20, 12
_ENTRIES = 1 << (_FRACTION - _BETWEEN)
_STEPS = np.arange(_ENTRIES + 1) / _ENTRIES
_LOG = np.rint(2.0**_FRACTION * np.log2(1 + _STEPS)).astype(np.int64)
_EXP = np.rint(2.0**23 * np.exp2(_STEPS)).astype(np.int64)


def normalise(op: Operator, x: Int8, before: TensorScale, after: TensorScale) -> Int8:
    """The response normalisation ``op`` of x (n, channels, rows, columns).

    Raises:
        ReferenceError: the scales are beyond what the integers hold.
    """
    size = int(op.attribute("size"))
    alpha, beta = op.attribute("alpha"), op.attribute("beta")
    unit = alpha * before.scale**2 / size  # of the sum of squares
    if not unit > 0 or not 1 <= round(op.attribute("bias") / unit) < 2**40:
        raise ReferenceError(
            f"node '{op.name}' ({op.kind}): bias {op.attribute('bias')} is not within 1 to 2**40 "
            f"units of {unit}; quantise its input with another scale"
        )
    offset = round(op.attribute("bias") / unit)
    gain = round(2**_FRACTION * (log2(before.scale / after.scale) - beta * log2(unit)))
    centred = x.astype(np.int64) - before.zero_point
    logarithm = _log2(offset + _neighbours(centred**2, size))
    exponent = gain - ((round(beta * 2**16) * logarithm) >> 16)
    shift = 23 - (exponent >> _FRACTION)
    if np.any(shift < 0):
        raise ReferenceError(
            f"node '{op.name}' ({op.kind}): its output scale is too small; quantise again"
        )
    multiplier = _interpolate(_EXP, exponent & ((1 << _FRACTION) - 1))
    return saturate(shift_rounded(centred * multiplier, shift) + after.zero_point)


def _neighbours(squares: Int64, size: int) -> Int64:
    """Sums over channels c - floor((size-1)/2) to c + ceil((size-1)/2), cut at the ends."""
    channels = squares.shape[1]
    total = np.zeros_like(squares)
    for distance in range(-((size - 1) // 2), size // 2 + 1):
        here = slice(max(0, -distance), channels - max(0, distance))
        there = slice(max(0, distance), channels + min(0, distance))
        if abs(distance) < channels:
            total[:, here] += squares[:, there]
    return total


def _log2(values: Int64) -> Int64:
    """log2 of values in [1, 2**53) with 20 bits after the binary point."""
    power = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1
    # exact: values are below 2**43, so nothing is lost at the top
    fraction = ((values << _FRACTION) >> power) - (1 << _FRACTION)
    result: Int64 = (power << _FRACTION) + _interpolate(_LOG, fraction)
    return result


def _interpolate(table: Int64, fraction: Int64) -> Int64:
    """The table's function between its entries; ``fraction`` has 20 bits."""
    index, rest = fraction >> _BETWEEN, fraction & ((1 << _BETWEEN) - 1)
    low, high = table[index], table[index + 1]
    result: Int64 = low + (((high - low) * rest) >> _BETWEEN)
    return result
