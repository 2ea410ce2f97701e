"""Durations of the four commands, in cycles. Everything that takes time on the chip is here.

The array is weight-stationary: PI x PO weights sit in registers while the pixels of a tile pass at
one per cycle; the next block of weights is shifted in meanwhile, PO bytes per cycle, which takes
PI cycles. Accumulators hold ``ACC_PIXELS`` pixels of PO outputs, twice, so that one half drains
through the requantiser while the other fills.
"""

from __future__ import annotations

from fragenv.hardware.chip import Chip

#: pixels that one half of the accumulators holds
ACC_PIXELS = 256
#: requantisation constants of an output channel (int32 bias, 24-bit multiplier, shift), which
#: precede the weights of its group in DRAM
CONSTANT_BYTES = 8
#: cycles from the release of an array's RUN to its first row of weights, and from the last sum to
#: the end; a RUN that begins an output group reads ``CONSTANT_BYTES`` rows of constants first
RUN_OVERHEAD_CYCLES = 11
#: from the last sum to the last byte written, where a RUN ends with an output group
DRAIN_OVERHEAD_CYCLES = 8
#: of a pool, which follows the array or stands alone, and of every other vector operation
POOL_OVERHEAD_CYCLES = 15
#: what an addition adds to either, what its first fetch adds to a vector operation, and what a
#: normalisation adds
RESIDUAL_OVERHEAD_CYCLES = 5
FETCH_OVERHEAD_CYCLES = 5
LRN_OVERHEAD_CYCLES = 15
#: cycles from the sequencer's release of a transfer to its first beat, beside the DRAM's latency
DMA_OVERHEAD_CYCLES = 2


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


def pixel_tiles(rows: int, cols: int) -> tuple[int, int, int]:
    """How ``rows`` x ``cols`` pixels split over the accumulators: (full tiles, pixels of each,
    pixels of the last one, 0 where there is no remainder). Tiles are whole rows where one fits."""
    if cols <= ACC_PIXELS:
        pixels = (ACC_PIXELS // cols) * cols
        full, rest = divmod(rows * cols, pixels)
        return full, pixels, rest
    parts = ceil_div(cols, ACC_PIXELS)
    # rows are split evenly; the remainder of each row is rounded up to the even part
    return rows * parts, ceil_div(cols, parts), 0


def array_cycles(
    blocks: int, rows: int, cols: int, lanes_in: int, drains: bool = True, groups: int = 1
) -> int:
    """Cycles of the array for ``blocks`` PI x PO weight blocks over rows x cols pixels.

    Each block takes a cycle per pixel, or PI cycles where there are fewer pixels than it takes to
    shift in the next block; the first block's weights come before. The last pixel tile drains
    after, unless the RUN ends inside an output group and leaves its sums in the accumulators.
    The constants of each further one of ``groups`` output groups take ``CONSTANT_BYTES`` cycles
    before its first block, which show where the pixels are few.
    """
    full, pixels, rest = pixel_tiles(rows, cols)
    beats = full * max(pixels, lanes_in) + (max(rest, lanes_in) if rest else 0)
    last = rest or pixels
    stall = max(0, CONSTANT_BYTES - max(0, last - lanes_in))
    # nothing is shifted in behind the last block
    cycles = lanes_in + blocks * beats - max(0, lanes_in - last) + (groups - 1) * stall
    return cycles + (last if drains else 0)


def vector_cycles(elements: int, window: int) -> int:
    """Cycles of a vector stage (pool, addition, activation): one window element of a lane group
    per cycle; ``elements`` is pixels x ceil(channels / lanes) already."""
    return elements * window
