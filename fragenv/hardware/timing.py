"""Durations of the four commands, in cycles. Everything that takes time on the chip is here.

The array is weight-stationary: PI x PO weights sit in registers while the pixels of a tile pass at
one per cycle; the next block of weights is shifted in meanwhile, PO bytes per cycle, which takes
PI cycles. Accumulators hold ``ACC_PIXELS`` pixels of PO outputs, twice, so that one half drains
through the requantiser while the other fills.
"""

from __future__ import annotations

from fragenv.hardware.array_timing import CONSTANT_ROWS
from fragenv.hardware.chip import Chip

#: pixels that one half of the accumulators holds
ACC_PIXELS = 256
#: requantisation constants of an output channel (int32 bias, 24-bit multiplier, shift), which
#: precede the weights of its group in DRAM
CONSTANT_BYTES = CONSTANT_ROWS
#: cycles from the release of a vector operation to its first element, and from the last to the end
POOL_OVERHEAD_CYCLES = 21
#: what an addition adds to either, what its first fetch adds to a vector operation, and what a
#: normalisation adds
RESIDUAL_OVERHEAD_CYCLES = 6
FETCH_OVERHEAD_CYCLES = 9
LRN_OVERHEAD_CYCLES = 15
#: cycles from the sequencer's release of a transfer to its first beat, beside the DRAM's latency
DMA_OVERHEAD_CYCLES = 5


def ceil_div(a: int, b: int) -> int:
    """The least integer not below a / b, for positive b."""
    return -(-a // b)


def dma_cycles(run_bytes: int, runs: int, bytes_per_cycle: int, latency_cycles: int) -> int:
    """Cycles of a LOAD or STORE of ``runs`` pieces of ``run_bytes`` contiguous bytes each.

    The port is in order: the fixed latency is paid once, each piece takes whole beats.
    """
    beats = runs * ceil_div(run_bytes, bytes_per_cycle)
    return DMA_OVERHEAD_CYCLES + latency_cycles + beats


def bind_cycles(config_bytes: int, chip: Chip) -> int:
    """Cycles of a BIND: the fragment's bytes through the configuration port."""
    return max(1, round(config_bytes / chip.config_bytes_per_cycle))


def pixel_tiles(pixels: int) -> tuple[int, int, int]:
    """How pixels split over the accumulators: (full tiles, pixels of each, pixels of the last one,
    0 where there is no remainder). As few tiles as there can be, as even as they can be: a short
    one would wait for the long one before it to leave the accumulators."""
    size = ceil_div(pixels, ceil_div(pixels, ACC_PIXELS))
    full, rest = divmod(pixels, size)
    return full, size, rest


def vector_cycles(elements: int, window: int) -> int:
    """Cycles of a vector stage (pool, addition, activation): one window element of a lane group
    per cycle; ``elements`` is pixels x ceil(channels / lanes) already."""
    return elements * window
