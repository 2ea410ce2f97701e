"""Dataflow graphs: operators as loop nests, tensors as edges.

The importers need PyTorch or ONNX and are therefore imported by their own names:
``fragenv.graph.from_torch.from_torch`` and ``fragenv.graph.from_onnx.from_onnx``.
"""

from fragenv.graph.dataflow import DataflowGraph, Tensor
from fragenv.graph.operators import (
    ACTIVATION_KINDS,
    MAC_KINDS,
    POOL_KINDS,
    LoopNest,
    Operator,
    OpKind,
)

__all__ = [
    "ACTIVATION_KINDS",
    "MAC_KINDS",
    "POOL_KINDS",
    "DataflowGraph",
    "LoopNest",
    "OpKind",
    "Operator",
    "Tensor",
]
