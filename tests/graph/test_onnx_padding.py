"""Pad operators are taken in by the window after them, where that is exact, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import constant, model, save, weights

from fragenv.errors import ModelError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_onnx import from_onnx

node = helper.make_node
#: 1 row above, 2 columns left, 3 rows below, none right
PADS = [0, 0, 1, 2, 0, 0, 3, 0]


def imported(
    folder: Path,
    *after: onnx.NodeProto,
    before: Sequence[onnx.NodeProto] = (),
    pads: Sequence[int] = PADS,
    fill: float | None = None,
    **attributes: object,
) -> DataflowGraph:
    """x -> ``before`` (which makes "r") -> Pad -> ``after`` (which makes "y" of "p")."""
    source = "r" if before else "x"
    inputs = [source, "pads", *(["fill"] if fill is not None else [])]
    nodes = [*before, node("Pad", inputs, ["p"], "pad", **attributes), *after]
    numbers = [constant("pads", pads, np.int64), *weights(w=(4, 3, 3, 3))]
    if fill is not None:
        numbers.append(constant("fill", fill, np.float32))
    return from_onnx(save(folder, model(nodes, numbers)))


RELU = [node("Relu", ["x"], ["r"])]
CONV = node("Conv", ["p", "w"], ["y"], pads=[0, 1, 0, 0])
MAX = node("MaxPool", ["p"], ["y"], kernel_shape=[4, 3])
MEAN = node("AveragePool", ["p"], ["y"], kernel_shape=[3, 3])


def test_pad__adds_to_the_padding_of_a_convolution(tmp_path: Path) -> None:
    graph = imported(tmp_path, CONV)
    (op,) = graph.operators
    assert op.nest.padding == (1, 3, 3, 0)
    assert (op.nest.h, op.nest.w) == (8, 8)
    assert graph.tensors["y"].shape == (4, 10, 9)


def test_pad__counts_for_auto_pad(tmp_path: Path) -> None:
    same = node("Conv", ["p", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2])
    (op,) = imported(tmp_path, same).operators
    # 12 x 10 padded rows and columns to 6 x 5: one more row below and column right
    assert op.nest.padding == (1, 2, 4, 1)
    assert (op.nest.p, op.nest.q) == (6, 5)


def test_pad__becomes_counted_padding_of_a_mean(tmp_path: Path) -> None:
    (op,) = imported(tmp_path, MEAN).operators
    assert op.nest.padding == (1, 2, 3, 0)
    assert op.attribute("count_include_pad") == 1


@pytest.mark.parametrize(
    ("before", "fill"), [((), -np.inf), ((), np.finfo(np.float32).min), (RELU, None), (RELU, 0.0)]
)
def test_pad__before_a_maximum_where_it_cannot_win(
    before: list[onnx.NodeProto], fill: float | None, tmp_path: Path
) -> None:
    op = imported(tmp_path, MAX, before=before, fill=fill).operators[-1]
    assert op.nest.padding == (1, 2, 3, 0)


def test_pad__of_nothing_is_nothing(tmp_path: Path) -> None:
    graph = imported(tmp_path, node("Relu", ["p"], ["y"]), pads=[0] * 8)
    assert graph.operators[0].inputs == ("x",)


def test_pad__axes_and_old_attributes(tmp_path: Path) -> None:
    numbers = [constant("pads", [2, 1], np.int64), constant("axes", [-1], np.int64)]
    pad = node("Pad", ["x", "pads", "", "axes"], ["p"])
    graph = from_onnx(save(tmp_path, model([pad, MEAN], numbers)))
    assert graph.operators[0].nest.padding == (0, 2, 0, 1)
    old = model([node("Pad", ["x"], ["p"], pads=PADS), MEAN])
    old.opset_import[0].version = 10
    assert from_onnx(save(tmp_path, old)).operators[0].nest.padding == (1, 2, 3, 0)


@pytest.mark.parametrize(
    ("after", "changes", "message"),
    [
        (node("Relu", ["p"], ["y"], "act"), {}, "'act'.*right after the padding"),
        (node("Identity", ["p"], ["y"]), {}, "right after the padding"),
        (CONV, {"fill": 1.0}, "another number than 0"),
        (MEAN, {"fill": 1.0}, "another number than 0"),
        (MAX, {}, "can be the maximum"),
        (MAX, {"before": [node("Clip", ["x"], ["r"], "c")]}, "can be the maximum"),
        (MAX, {"before": RELU, "pads": [0, 0, 1, 3, 0, 0, 1, 0]}, "can be the maximum"),
        (CONV, {"mode": "reflect"}, "'pad'.*mode 'reflect'"),
        (CONV, {"pads": [0, 0, 1, 2, 0, 0, 1, -1]}, "negative padding crops"),
        (CONV, {"pads": [0, 1, 0, 0, 0, 0, 0, 0]}, "pads axes"),
        (
            node("MaxPool", ["p"], ["y"], kernel_shape=[4, 3], ceil_mode=1),
            {"fill": -np.inf},
            "ceil_mode",
        ),
        (
            node("AveragePool", ["p"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            {},
            "count_include_pad",
        ),
    ],
)
def test_pad__is_refused_where_it_is_not_exact(
    after: onnx.NodeProto, changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        imported(tmp_path, after, **changes)  # type: ignore[arg-type]
