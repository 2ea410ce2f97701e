"""The program's records: what the sequencer hands to each unit, field by field.

A program is a list of records of 64-bit little-endian words. A record is a header word (unit number
in bits 7:0, number of payload words in bits 15:8, and in bits 63:32 the CRC-32 of the record with
those bits 0) and the payload: first the waits, one 16-bit count per unit ("start when unit u has
completed at least n commands"), then the unit's fields. A record of the unit number ``END_UNIT``
ends the program; its waits say when the job is over.

The fields below are the only statement of the formats: the SystemVerilog structs in
``cells/fe_*_record.svh`` are written from them and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fragenv.rtl.crc import crc32

END_UNIT = 255
WORD_BYTES = 8
WORD_BITS = 64
#: bits of one wait: commands of a unit per job stay below 2**16
WAIT_BITS = 16


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record; ``signed`` ones are stored in two's complement."""

    name: str
    bits: int
    meaning: str
    signed: bool = False


def _field(name: str, bits: int, meaning: str) -> Field:
    return Field(name, bits, meaning)


def _signed(name: str, bits: int, meaning: str) -> Field:
    return Field(name, bits, meaning, True)


#: operations of a fragment's record
OP_MAC, OP_MAX, OP_SUM, OP_LRN, OP_DEPTHWISE = 0, 1, 2, 3, 4
#: tensors that may lie side by side along the channels of an array's input
MAX_PARTS = 4

RUN_FIELDS = (
    _field("op", 16, "0 multiply-accumulate, 1 maximum, 2 sum, 3 LRN, 4 depthwise"),
    _field("counts", 16, "1 where the end of this record completes its command"),
    _signed("pad_value", 16, "what a window reads outside of its input; LRN: its zero point"),
    _signed("out_zero", 16, "zero point added after requantisation"),
    _signed("clamp_min", 16, "least output"),
    _signed("clamp_max", 16, "largest output"),
    _field("in_rows", 16, "rows of the input"),
    _field("in_cols", 16, "columns of the input"),
    _signed("y0", 16, "input row of the first window's first row"),
    _signed("x0", 16, "input column of the first window's first column"),
    _field("y_step", 16, "input rows from a window to the one below"),
    _field("x_step", 16, "input columns from a window to the next"),
    _field("k_rows", 16, "rows of the kernel"),
    _field("k_cols", 16, "columns of the kernel; LRN: channels of the window"),
    _field("k_y_step", 16, "input rows between rows of the kernel (dilation)"),
    _field("k_x_step", 16, "input columns between columns of the kernel (dilation)"),
    _field("cols", 16, "output columns per row"),
    _field("rows", 16, "output rows per frame"),
    _field("frames", 16, "frames"),
    _field("tile_pixels", 16, "pixels that pass per block of weights"),
    _field("tiles", 16, "pixel tiles"),
    _field("parts", 16, "sources side by side along the input channels"),
    _field("out_channels", 16, "output channels, from the first group on"),
    _field("done_channels", 16, "those of them that are complete at the end and written"),
    _field("group_channels", 16, "output channels of a group of the convolution"),
    _field("first_left", 16, "those that the first group has left"),
    _field("group_step", 16, "input channels of a group of the convolution"),
    _field("first_part", 16, "source of the first weight block"),
    _field("first_group", 16, "input group of the first weight block"),
    _field("first_r", 16, "kernel row of the first weight block"),
    _field("first_s", 16, "kernel column of the first weight block"),
    _field("first_y", 16, "first_r times the dilation"),
    _field("first_x", 16, "first_s times the dilation; LRN: channels before the middle"),
    _field("shift", 16, "window operations: right shift of the requantiser"),
    _signed("first_row", 32, "first_r times the source's k_row_step; LRN: G of fe_lrn"),
    _field("first_col", 32, "first_s times its k_col_step; LRN: bits 39:32 of K"),
    _field("w_base", 32, "buffer address of the first block, constants included; LRN: K"),
    _field("passes", 32, "weight blocks times pixel tiles; LRN: B"),
    _field("dst_base", 32, "buffer address of the first frame's first output row"),
    _field("dst_ring", 32, "bytes of the ring of output rows"),
    _field("dst_row0", 32, "offset in the ring of the first output row"),
    _field("dst_row_step", 32, "bytes from an output row to the next"),
    _field("dst_col_step", 32, "bytes from an output pixel to the next"),
    _field("dst_frame_step", 32, "bytes from an output frame to the next"),
    _signed("bias", 32, "window operations: added before requantisation"),
    _field("multiplier", 32, "window operations: 24-bit multiplier of the requantiser"),
)

#: one per part follows the run's fields
SOURCE_FIELDS = (
    _field("base", 32, "buffer address of the first frame's ring"),
    _field("ring", 32, "bytes of the ring of input rows"),
    _field("row0", 32, "offset in the ring of the first window's first row"),
    _field("row_step", 32, "bytes in the ring from a window to the one below"),
    _signed("col0", 32, "bytes from a row's start to the first window, padding negative"),
    _field("col_step", 32, "bytes from a window to the next in its row"),
    _field("frame_step", 32, "bytes from a frame to the next"),
    _field("k_row_step", 32, "bytes between rows of the kernel"),
    _field("k_col_step", 32, "bytes between columns of the kernel"),
    _field("in_groups", 16, "groups of PI input channels"),
    _field("in_lanes_last", 16, "input channels of the last group"),
)

#: follows the sources where a circuit of the chip adds
RESIDUAL_FIELDS = (
    _field("on", 16, "1 where a tensor is added to the outputs"),
    _signed("zero_a", 16, "zero point of the outputs before the addition"),
    _signed("zero_b", 16, "zero point of the tensor that is added"),
    _field("shift", 16, "right shift of the sum"),
    _signed("out_zero", 16, "zero point added after the shift"),
    _signed("clamp_min", 16, "least result"),
    _signed("clamp_max", 16, "largest result"),
    _field("multiplier_a", 32, "24-bit multiplier of the outputs"),
    _field("multiplier_b", 32, "24-bit multiplier of the tensor"),
    _field("base", 32, "buffer address of the tensor's first frame"),
    _field("ring", 32, "bytes of the ring of its rows"),
    _field("row0", 32, "offset in the ring of its first row"),
    _field("row_step", 32, "bytes from a row to the next"),
    _field("col_step", 32, "bytes from a pixel to the next"),
    _field("frame_step", 32, "bytes from a frame to the next"),
)

DMA_FIELDS = (
    _field("store", 16, "0 DRAM to buffer, 1 buffer to DRAM"),
    _field("counts", 16, "1 where the end of this record completes its command"),
    _field("pieces", 32, "contiguous pieces"),
    _field("piece_bytes", 32, "bytes of each"),
    _field("dram_base", 32, "DRAM address of the first piece"),
    _field("dram_step", 32, "bytes from a piece to the next in DRAM"),
    _field("buffer_base", 32, "buffer address of the ring"),
    _field("buffer_ring", 32, "bytes of the ring"),
    _field("buffer_first", 32, "offset in the ring of the first piece"),
    _field("buffer_step", 32, "bytes from a piece to the next in the ring"),
)

CONFIG_FIELDS = (
    _field("fragment", 16, "fragment that is bound"),
    _field("evicted", 16, "fragments that give their area back, one bit each"),
    _field("address", 32, "where its configuration begins in the configuration memory"),
    _field("bytes", 32, "bytes of the configuration"),
)

RECORDS: Mapping[str, tuple[Field, ...]] = {
    "run": RUN_FIELDS,
    "source": SOURCE_FIELDS,
    "residual": RESIDUAL_FIELDS,
    "dma": DMA_FIELDS,
    "config": CONFIG_FIELDS,
}


def field_words(fields: Iterable[Field]) -> int:
    """64-bit words that the fields take."""
    return -(-sum(f.bits for f in fields) // WORD_BITS)


def run_words(parts: int, adds: bool) -> int:
    """64-bit words of a RUN's record with ``parts`` sources, and a residual where ``adds``."""
    words = field_words(RUN_FIELDS) + parts * field_words(SOURCE_FIELDS)
    return words + (field_words(RESIDUAL_FIELDS) if adds else 0)


def wait_words(units: int) -> int:
    """64-bit words of the waits of a chip with ``units`` units."""
    return -(-units * WAIT_BITS // WORD_BITS)


def pack(fields: Iterable[Field], values: Mapping[str, int]) -> list[int]:
    """The words of one record's fields, first field in the lowest bits.

    Raises:
        ValueError: a value does not fit its field, is missing, or there is no such field.
    """
    fields = tuple(fields)
    unknown = set(values) - {f.name for f in fields}
    if unknown:
        raise ValueError(f"no field is called '{min(unknown)}'")
    packed = position = 0
    for field in fields:
        value = values.get(field.name)
        if value is None:
            raise ValueError(f"field '{field.name}' has no value")
        low = -(1 << (field.bits - 1)) if field.signed else 0
        high = (1 << (field.bits - 1 if field.signed else field.bits)) - 1
        if not low <= value <= high:
            raise ValueError(f"field '{field.name}' cannot hold {value}: {low} to {high}")
        packed |= (value & ((1 << field.bits) - 1)) << position
        position += field.bits
    return words_of(packed, field_words(fields))


def words_of(packed: int, count: int) -> list[int]:
    """An integer as ``count`` 64-bit words, lowest first."""
    mask = (1 << WORD_BITS) - 1
    return [(packed >> (WORD_BITS * i)) & mask for i in range(count)]


def pack_waits(waits: Mapping[int, int], units: int) -> list[int]:
    """The wait words: for each unit, how many of its commands must be complete."""
    packed = 0
    for unit, count in waits.items():
        if not 0 <= count < 1 << WAIT_BITS:
            raise ValueError(f"a wait cannot count to {count}")
        packed |= count << (WAIT_BITS * unit)
    return words_of(packed, wait_words(units))


def header(unit: int, payload: Sequence[int]) -> int:
    """The first word of a record, which the chip checks before it uses the record."""
    low = unit | len(payload) << 8
    return low | crc32([low, *payload]) << 32


def record_struct(name: str) -> str:
    """The SystemVerilog typedef of a record, highest field first as packed structs are."""
    fields = RECORDS[name]
    spare = field_words(fields) * WORD_BITS - sum(f.bits for f in fields)
    lines = [
        f"// Fields of the {name} record, written from fragenv/rtl/isa.py: change them there.",
        "typedef struct packed {",
    ]
    if spare:
        lines.append(f"  logic        [{spare - 1}:0] spare;")
    for f in reversed(fields):
        kind = "logic signed" if f.signed else "logic       "
        lines.append(f"  {kind} [{f.bits - 1}:0] {f.name};  // {f.meaning}")
    lines.append(f"}} {name}_record_t;")
    return "\n".join(lines) + "\n"
