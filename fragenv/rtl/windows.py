"""Sliding windows as the circuits walk them: extents, addresses, rectangles of equal windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

from fragenv.graph.operators import Operator, OpKind
from fragenv.rtl.errors import EmitError
from fragenv.rtl.task import Rows
from fragenv.schedule.shape import Window

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of ``op`` for some frames, output rows and output columns (half open).

    ``valid``: elements of each window that count for a mean (all of them for other operators).
    """

    op: Operator
    frames: Span
    rows: Span
    cols: Span
    valid: int = 0

    def rows_read(self) -> Span:
        """Input rows that the windows reach, within the input."""
        nest = self.op.nest
        if not _slides(self.op):
            return self.rows
        extent = (nest.r - 1) * nest.dilation[0] + 1
        first = self.rows[0] * nest.stride[0] - nest.padding[0]
        last = (self.rows[1] - 1) * nest.stride[0] - nest.padding[0] + extent
        return max(0, first), max(0, min(nest.h, last))


def _slides(op: Operator) -> bool:
    """Whether the operator has windows over space; additions and the like have single elements."""
    return op.is_mac or op.kind in (OpKind.MAXPOOL, OpKind.AVGPOOL, OpKind.GLOBALAVG)


def full_windows(rows: int) -> Window:
    """The window of something that reads every row once."""
    return Window(rows, rows)


def geometry(windows: Windows) -> dict[str, int]:
    """The fields of a RUN that say which windows there are."""
    op, nest = windows.op, windows.op.nest
    stride, padding, dilation = nest.stride, nest.padding, nest.dilation
    kernel = (nest.r, nest.s)
    if not _slides(op):
        stride, padding, dilation, kernel = (1, 1), (0, 0, 0, 0), (1, 1), (1, 1)
    return {
        "in_rows": nest.h,
        "in_cols": nest.w,
        "y0": windows.rows[0] * stride[0] - padding[0],
        "x0": windows.cols[0] * stride[1] - padding[1],
        "y_step": stride[0],
        "x_step": stride[1],
        "k_rows": kernel[0],
        "k_cols": kernel[1],
        "k_y_step": dilation[0],
        "k_x_step": dilation[1],
        "cols": windows.cols[1] - windows.cols[0],
        "rows": windows.rows[1] - windows.rows[0],
        "frames": windows.frames[1] - windows.frames[0],
    }


def source_fields(windows: Windows, rows: Rows, pixel: int, channel: int) -> dict[str, int]:
    """The source record of the windows over ``rows``, ``pixel`` bytes per pixel, from ``channel``
    on.

    Raises:
        EmitError: a kernel reaches further than one ring, which the circuit does not follow.
    """
    op = windows.op
    fields = geometry(windows)
    if (fields["k_rows"] - 1) * fields["k_y_step"] > rows.count:
        raise EmitError("its kernel is larger than its input", op.name, op.kind)
    return {
        "base": rows.frame_base(windows.frames[0]) + channel,
        "ring": rows.ring_bytes,
        "row0": rows.offset(windows.frames[0], fields["y0"]),
        "row_step": fields["y_step"] % rows.count * rows.row_bytes,
        "col0": fields["x0"] * pixel,
        "col_step": fields["x_step"] * pixel,
        "frame_step": rows.frame_step,
        "k_row_step": fields["k_y_step"] * rows.row_bytes,
        "k_col_step": fields["k_x_step"] * pixel,
    }


def rectangles(windows: Windows) -> list[Windows]:
    """The windows as rectangles whose windows have equally many elements that count."""
    op = windows.op
    nest = op.nest
    if op.kind is not OpKind.AVGPOOL:
        return [replace(windows, valid=nest.r * nest.s)]
    counted = bool(op.attribute("count_include_pad"))
    top, left, bottom, right = nest.padding
    height = (-top, nest.h + bottom) if counted else (0, nest.h)
    width = (-left, nest.w + right) if counted else (0, nest.w)

    def spans(
        outputs: Span, size: int, axis: int, limits: Span, before: int
    ) -> list[tuple[Span, int]]:
        def count(output: int) -> int:
            first = output * nest.stride[axis] - before
            places = (first + i * nest.dilation[axis] for i in range(size))
            return sum(limits[0] <= place < limits[1] for place in places)

        result = []
        for valid, group in groupby(range(*outputs), key=count):
            members = list(group)
            result.append(((members[0], members[-1] + 1), valid))
        return result

    return [
        replace(windows, rows=rows, cols=cols, valid=down * across)
        for rows, down in spans(windows.rows, nest.r, 0, height, top)
        for cols, across in spans(windows.cols, nest.s, 1, width, left)
    ]
