"""The numbers of per-channel operators: y = a*x + b for each channel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx

from fragenv.graph.onnx_file import OnnxFile, attributes

Float64 = npt.NDArray[np.float64]


def affine(
    file: OnnxFile, node: onnx.NodeProto, channels: tuple[int, ...]
) -> tuple[Float64, Float64]:
    """a and b, each (channels,), of a BatchNormalization, or Add, Sub, Mul or Div of a constant."""
    if node.op_type == "BatchNormalization":
        gamma, beta, mean, variance = (
            file.array(name).astype(np.float64) for name in node.input[1:]
        )
        factor = gamma / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        return factor, beta - mean * factor
    first = file.is_constant(node.input[0])
    stored = file.array(node.input[0 if first else 1]).astype(np.float64)
    constant = np.broadcast_to(stored.ravel(), channels)
    zero, one = np.zeros(channels), np.ones(channels)
    match node.op_type:
        case "Add":
            return one, constant
        case "Sub":
            return (-one, constant) if first else (one, -constant)
        case "Mul":
            return constant, zero
    return 1 / constant, zero
