"""The node tests that the ``onnx`` package ships: one operator, its inputs and expected outputs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from fragenv.graph.from_onnx import HANDLERS

Array = npt.NDArray[Any]

#: operator types of ONNX's own domain that the importer knows
SUPPORTED = frozenset(operator for domain, operator in HANDLERS if not domain)


@dataclass(frozen=True, slots=True, eq=False)
class NodeTest:
    """One node test.

    Attributes:
        inputs: value name -> what the test feeds; most weights are inputs, too.
        expected: of the node's outputs, in their order.
    """

    name: str
    model: onnx.ModelProto
    inputs: dict[str, Array]
    expected: tuple[Array, ...]

    @property
    def node(self) -> onnx.NodeProto:
        node: onnx.NodeProto = self.model.graph.node[-1]
        return node

    @property
    def operator(self) -> str:
        return str(self.node.op_type)


@lru_cache(maxsize=1)
def node_tests() -> dict[str, NodeTest]:
    """By name, every node test all of whose nodes have a supported type."""
    from onnx.backend.test.loader import load_node_model_tests

    with warnings.catch_warnings():  # the tests' own arithmetic overflows on purpose
        warnings.simplefilter("ignore")
        found = load_node_model_tests()
    return {
        case.name: _node_test(case)
        for case in sorted(found, key=lambda case: str(case.name))
        if {node.op_type for node in case.model.graph.node} <= SUPPORTED
        and all(node.domain in ("", "ai.onnx") for node in case.model.graph.node)
    }


def _node_test(case: Any) -> NodeTest:
    inputs, outputs = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    values = [_array(value) for value in inputs]
    expected = tuple(_array(value) for value in outputs)
    return NodeTest(case.name, case.model, dict(zip(names, values, strict=True)), expected)


def _array(value: object) -> Array:
    """Some tests hold tensors as ONNX stores them; sequences of tensors are left alone."""
    if isinstance(value, onnx.TensorProto):
        return np.asarray(onnx.numpy_helper.to_array(value))
    return np.asarray(value, None if isinstance(value, np.ndarray | np.generic) else object)
