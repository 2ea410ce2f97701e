"""Tensors in a buffer and windows over them, by plain loops; the fields of records that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from cell import pack as pack_words

from fragenv.rtl import isa

Array = npt.NDArray[np.int64]
Pair = tuple[int, int]
RUN_BITS, SOURCE_BITS, RESIDUAL_BITS = (
    64 * isa.field_words(fields)
    for fields in (isa.RUN_FIELDS, isa.SOURCE_FIELDS, isa.RESIDUAL_FIELDS)
)


def record(fields: tuple[isa.Field, ...], values: dict[str, int]) -> int:
    """A record's fields as one wide value; fields without a value are 0."""
    return pack_words(isa.pack(fields, dict.fromkeys((f.name for f in fields), 0) | values), 64)


def sources_record(sources: list[dict[str, int]]) -> int:
    """Source records side by side."""
    return pack_words([record(isa.SOURCE_FIELDS, s) for s in sources], SOURCE_BITS)


@dataclass(frozen=True)
class Ring:
    """Rows of a tensor in a buffer: each frame has a ring of ``rows`` rows, and row 0 would be
    number ``first`` of it. Addresses and sizes in bytes."""

    base: int
    rows: int
    first: int
    row_bytes: int
    pixel_bytes: int
    frame_step: int

    def address(self, frame: int, row: int, col: int, channel: int) -> int:
        place = (
            self.base + frame * self.frame_step + (self.first + row) % self.rows * self.row_bytes
        )
        return place + col * self.pixel_bytes + channel

    def target(self, row: int, channel: int = 0) -> dict[str, int]:
        """Where rows from ``row`` on begin, from ``channel`` on: fields without their prefix."""
        return {
            "base": self.base + channel,
            "ring": self.rows * self.row_bytes,
            "row0": (self.first + row) % self.rows * self.row_bytes,
            "row_step": self.row_bytes % (self.rows * self.row_bytes),
            "col_step": self.pixel_bytes,
            "frame_step": self.frame_step,
        }


class Space:
    """A buffer full of garbage, given out from its beginning."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.memory = rng.integers(0, 256, size).astype(np.uint8)
        self.used = int(rng.integers(0, 20))

    def take(self, count: int) -> int:
        """The address of ``count`` free bytes."""
        base = self.used
        self.used += count + int(self.rng.integers(0, 5))
        assert self.used <= len(self.memory)
        return base

    def put(self, data: bytes) -> int:
        """Keeps the bytes somewhere and says where."""
        base = self.take(len(data))
        self.memory[base : base + len(data)] = np.frombuffer(data, np.uint8)
        return base

    def ring(self, frames: int, rows: int, cols: int, channels: int) -> Ring:
        """Room for ``rows`` rows of each frame, with gaps between pixels and rows."""
        pixel = channels + int(self.rng.integers(0, 3))
        row = cols * pixel + int(self.rng.integers(0, 3))
        step = rows * row + int(self.rng.integers(0, 3))
        first = int(self.rng.integers(0, rows))
        return Ring(self.take(frames * step), rows, first, row, pixel, step)

    def fill(self, ring: Ring, x: Array, rows: Pair) -> None:
        """Writes rows [rows[0], rows[1]) of a tensor (frames, rows, cols, channels)."""
        for frame in range(x.shape[0]):
            for row in range(*rows):
                for col in range(x.shape[2]):
                    at = ring.address(frame, row, col, 0)
                    self.memory[at : at + x.shape[3]] = x[frame, row, col] & 255

    def read(self, ring: Ring, shape: tuple[int, int, int, int], row: int) -> Array:
        """The tensor of int8 that lies in a ring, whose first row is number ``row``."""
        result = np.zeros(shape, np.int64)
        for frame, p, q in np.ndindex(shape[:3]):
            at = ring.address(frame, row + p, q, 0)
            result[frame, p, q] = self.memory[at : at + shape[3]].view(np.int8)
        return result


@dataclass(frozen=True)
class Windows:
    """Windows over an input: some output rows and columns (half open) of all frames."""

    frames: int
    in_rows: int
    in_cols: int
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    rows: Pair
    cols: Pair

    @property
    def height(self) -> int:
        return self.rows[1] - self.rows[0]

    @property
    def width(self) -> int:
        return self.cols[1] - self.cols[0]

    @property
    def pixels(self) -> int:
        return self.frames * self.height * self.width

    def address(self, ring: Ring, index: tuple[int, ...], channel: int) -> int | None:
        """Where element (frame, row, column, kernel row, kernel column) lies; None: padding."""
        f, p, q, r, s = index
        y = (self.rows[0] + p) * self.stride[0] - self.padding[0] + r * self.dilation[0]
        x = (self.cols[0] + q) * self.stride[1] - self.padding[1] + s * self.dilation[1]
        inside = 0 <= y < self.in_rows and 0 <= x < self.in_cols
        return ring.address(f, y, x, channel) if inside else None

    def rows_read(self) -> Pair:
        extent = (self.kernel[0] - 1) * self.dilation[0] + 1
        first = self.rows[0] * self.stride[0] - self.padding[0]
        last = (self.rows[1] - 1) * self.stride[0] - self.padding[0] + extent
        return min(max(0, first), self.in_rows), min(max(0, last), self.in_rows)

    def elements(self, x: Array, pad: int) -> Array:
        """(frames, rows, cols, kernel rows, kernel columns, channels): what each window reads."""
        result = np.full((self.frames, self.height, self.width, *self.kernel, x.shape[3]), pad)
        for f, p, q, r, s in np.ndindex(result.shape[:5]):
            y = (self.rows[0] + p) * self.stride[0] - self.padding[0] + r * self.dilation[0]
            z = (self.cols[0] + q) * self.stride[1] - self.padding[1] + s * self.dilation[1]
            if 0 <= y < self.in_rows and 0 <= z < self.in_cols:
                result[f, p, q, r, s] = x[f, y, z]
        return result

    def run_fields(self) -> dict[str, int]:
        return {
            "in_rows": self.in_rows,
            "in_cols": self.in_cols,
            "y0": self.rows[0] * self.stride[0] - self.padding[0],
            "x0": self.cols[0] * self.stride[1] - self.padding[1],
            "y_step": self.stride[0],
            "x_step": self.stride[1],
            "k_rows": self.kernel[0],
            "k_cols": self.kernel[1],
            "k_y_step": self.dilation[0],
            "k_x_step": self.dilation[1],
            "cols": self.width,
            "rows": self.height,
            "frames": self.frames,
        }

    def source_fields(self, ring: Ring, channel: int = 0) -> dict[str, int]:
        y0 = self.rows[0] * self.stride[0] - self.padding[0]
        x0 = self.cols[0] * self.stride[1] - self.padding[1]
        return ring.target(y0, channel) | {
            "row_step": self.stride[0] % ring.rows * ring.row_bytes,
            "col0": x0 * ring.pixel_bytes,
            "col_step": self.stride[1] * ring.pixel_bytes,
            "k_row_step": self.dilation[0] * ring.row_bytes,
            "k_col_step": self.dilation[1] * ring.pixel_bytes,
        }

    def store(self, space: Space, x: Array) -> Ring:
        """A ring that holds what the windows read, hardly more or much more."""
        first, last = self.rows_read()
        least = max(1, last - first, (self.kernel[0] - 1) * self.dilation[0])
        rows = least + int(space.rng.integers(0, 3))
        ring = space.ring(x.shape[0], rows, x.shape[2], x.shape[3])
        space.fill(ring, x, (first, last))
        return ring


def run_target(ring: Ring, row: int, channel: int = 0) -> dict[str, int]:
    """A run's fields of where its outputs go."""
    return {f"dst_{name}": value for name, value in ring.target(row, channel).items()}


class _Axis(NamedTuple):
    """Windows along one axis: size of the input and kernel, ..., outputs (half open)."""

    inputs: int
    size: int
    stride: int
    padding: int
    dilation: int
    outputs: Pair


def _windows(frames: int, down: _Axis, across: _Axis) -> Windows:
    return Windows(
        frames,
        down.inputs,
        across.inputs,
        (down.size, across.size),
        (down.stride, across.stride),
        (down.padding, across.padding),
        (down.dilation, across.dilation),
        down.outputs,
        across.outputs,
    )


def random_windows(rng: np.random.Generator, largest: int = 4, kernel: int = 3) -> Windows:
    """Windows with strides, padding and dilation, and a part of the output's rows and columns."""

    def axis() -> _Axis:
        size, stride = int(rng.integers(1, kernel + 1)), int(rng.integers(1, 4))
        dilation, padding = int(rng.integers(1, 3)), int(rng.integers(0, 3))
        extent, outputs = (size - 1) * dilation + 1, int(rng.integers(1, largest + 3))
        inputs = (outputs - 1) * stride + extent - 2 * padding + int(rng.integers(0, stride))
        first = int(rng.integers(0, outputs))
        last = min(outputs, first + int(rng.integers(1, largest + 1)))
        return _Axis(max(1, inputs), size, stride, padding, dilation, (first, last))

    return _windows(int(rng.integers(1, 3)), axis(), axis())


def random_windows_over(rng: np.random.Generator, frames: int, rows: int, cols: int) -> Windows:
    """All windows of some kind over an input of that size."""

    def axis(inputs: int) -> _Axis:
        size = int(rng.integers(1, min(3, inputs) + 1))
        dilation = int(rng.integers(1, 3)) if 2 * (size - 1) <= inputs else 1
        stride, extent = int(rng.integers(1, 3)), (size - 1) * dilation + 1
        padding = int(rng.integers(-((inputs - extent) // 2) if extent > inputs else 0, 2))
        outputs = (inputs + 2 * padding - extent) // stride + 1
        return _Axis(inputs, size, stride, padding, dilation, (0, outputs))

    return _windows(frames, axis(rows), axis(cols))


def random_tensor(rng: np.random.Generator, windows: Windows, channels: int) -> Array:
    return rng.integers(-128, 128, (windows.frames, windows.in_rows, windows.in_cols, channels))
