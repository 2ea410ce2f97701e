"""Records: the fields of transfers, outputs and window operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fragenv.graph.operators import Operator, OpKind
from fragenv.rtl.isa import OP_LRN, OP_MAX, OP_SUM
from fragenv.rtl.task import Rows, Task
from fragenv.rtl.windows import Windows, source_fields

Span = tuple[int, int]
Fields = Mapping[str, int]
#: fields that mean nothing to a window operation
_ARRAY_ONLY = (
    *("tile_pixels", "tiles", "passes", "w_base", "group_step", "first_part"),
    *("first_group", "first_r", "first_s", "first_y", "first_x", "first_row", "first_col"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a unit; a RUN's has sources (one per part) and possibly a residual."""

    fields: Fields
    sources: tuple[Fields, ...] = ()
    residual: Fields | None = None


@dataclass
class Work:
    """What a command becomes: its records, and the buffer bytes that it touches."""

    records: list[Record] = field(default_factory=list)
    reads: list[Span] = field(default_factory=list)
    writes: list[Span] = field(default_factory=list)


def window_records(
    task: Task,
    op: Operator,
    windows: Windows,
    sources: list[tuple[Rows, int]],
    fields: dict[str, int],
    residual: Fields | None,
) -> list[Record]:
    """A pool, or an operation on its own: one record per source, whose channels follow each
    other."""
    zero, low, high = task.numbers.limits(op)
    if op.kind is OpKind.ADD:  # its limits hold after the addition
        zero, low, high = 0, -128, 127
    elif not task.numbers.rescales(op):
        zero = 0
    bias, multiplier, shift = task.numbers.window_constants(op, windows.valid)
    kinds = {OpKind.AVGPOOL: OP_SUM, OpKind.GLOBALAVG: OP_SUM, OpKind.LRN: OP_LRN}
    result = []
    start = 0
    for rows, channels in sources:
        run = {
            **fields,
            **dict.fromkeys(_ARRAY_ONLY, 0),
            "op": kinds.get(op.kind, OP_MAX),
            "pad_value": task.numbers.pad_value(op),
            "out_zero": zero,
            "clamp_min": low,
            "clamp_max": high,
            "parts": 1,
            "out_channels": channels,
            "done_channels": channels,
            "group_channels": channels,
            "first_left": channels,
            "dst_base": fields["dst_base"] + start,
            "bias": bias,
            "multiplier": multiplier,
            "shift": shift,
        }
        source = source_fields(windows, rows, channels, 0)
        if op.kind is OpKind.LRN:
            run |= task.numbers.normalisation(op)
            run |= {"k_rows": 1, "k_cols": int(op.attribute("size", 5)), "k_x_step": 0}
            source |= {"k_col_step": 1, "base": source["base"] - run["first_x"]}
        added = residual and {**residual, "base": residual["base"] + start}
        result.append(Record(run, (source | {"in_groups": 0, "in_lanes_last": 0},), added))
        start += channels
    return result


def dma_fields(
    store: int, pieces: int, size: int, dram: int, dram_step: int, base: int, ring: int
) -> dict[str, int]:
    return {
        "store": store,
        "pieces": pieces,
        "piece_bytes": size,
        "dram_base": dram,
        "dram_step": dram_step,
        "buffer_base": base,
        "buffer_ring": ring,
        "buffer_first": 0,
        "buffer_step": 0,
    }


def target_fields(target: Rows, frame: int, row: int, pixel: int, channel: int) -> dict[str, int]:
    """The fields of where outputs go: ``pixel`` bytes per pixel, from ``channel`` on."""
    return {
        "dst_base": target.frame_base(frame) + channel,
        "dst_ring": target.ring_bytes,
        "dst_row0": target.offset(frame, row),
        "dst_row_step": target.row_bytes,
        "dst_col_step": pixel,
        "dst_frame_step": target.frame_step,
    }
