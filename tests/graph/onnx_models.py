"""Small ONNX files made by hand, for the tests of the importer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]


def weights(seed: int = 0, **shapes: Sequence[int]) -> list[onnx.TensorProto]:
    """Random float32 initialisers, each uniform in [-1, 1)."""
    rng = np.random.default_rng(seed)
    return [
        numpy_helper.from_array(rng.uniform(-1, 1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]


def constant(name: str, values: object, dtype: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)  # type: ignore[call-overload]


def model(
    nodes: Sequence[onnx.NodeProto],
    initialisers: Sequence[onnx.TensorProto] = (),
    shape: Sequence[int | str] = (1, 3, 8, 8),
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    """A model with one float input ``x`` and float outputs of unknown shapes."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        list(initialisers),
    )
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=10)


def save(folder: Path, made: onnx.ModelProto, name: str = "small.onnx") -> Path:
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path
