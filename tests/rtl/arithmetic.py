"""What follows every stage, in plain integers: requantisation and addition."""

from __future__ import annotations

import numpy as np


def random_addition(rng: np.random.Generator, shift: int | None = None) -> dict[str, int]:
    """The arithmetic of a residual record; ``shift`` between 0 and 40."""
    shift = int(rng.integers(0, 41)) if shift is None else shift
    low = int(rng.integers(-128, 100))
    # multipliers such that some of the results are between the limits
    most = min(2**24, max(2, 1 << shift))
    return {
        "on": 1,
        "zero_a": int(rng.integers(-128, 128)),
        "zero_b": int(rng.integers(-128, 128)),
        "shift": shift,
        "out_zero": int(rng.integers(-128, 128)),
        "clamp_min": low,
        "clamp_max": int(rng.integers(low, 128)),
        "multiplier_a": int(rng.integers(most // 2, most)),
        "multiplier_b": int(rng.integers(0, most)),
    }


def added(fields: dict[str, int], a: int, b: int) -> int:
    """One element: halves round towards plus infinity, then the limits."""
    total = (a - fields["zero_a"]) * fields["multiplier_a"]
    total += (b - fields["zero_b"]) * fields["multiplier_b"]
    shift = fields["shift"]
    rounded = (total + (1 << shift >> 1)) >> shift
    return max(fields["clamp_min"], min(fields["clamp_max"], rounded + fields["out_zero"]))


def requantised(total: int, constants: int, fields: dict[str, int]) -> int:
    """One output of the requantiser, from its sum, its 64 bits of constants and the run's zero
    point and limits."""
    bias = (constants & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
    multiplier, shift = constants >> 32 & 0xFFFFFF, constants >> 56
    rounded = ((total + bias) * multiplier + (1 << shift >> 1)) >> shift
    return max(fields["clamp_min"], min(fields["clamp_max"], rounded + fields["out_zero"]))


def random_limits(rng: np.random.Generator) -> dict[str, int]:
    """Zero point and limits of a run."""
    return {
        "clamp_min": int(rng.integers(-128, 0)),
        "clamp_max": int(rng.integers(0, 128)),
        "out_zero": int(rng.integers(-50, 50)),
    }
