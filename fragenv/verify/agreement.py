"""How far the integer reference is from ONNX Runtime on the same quantised file.

ONNX Runtime multiplies by scales in floating point and rounds halves to even; the chip multiplies
by 24-bit integers and rounds halves up. Both round once per tensor, so that an element can differ
by one unit where a sum falls (nearly) between two units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import Operator, OpKind
from fragenv.models.parameters import load_parameters
from fragenv.verify.integers import Int8
from fragenv.verify.onnx_runtime import QuantisedModel
from fragenv.verify.reference import evaluate, evaluate_operator


@dataclass(frozen=True, slots=True)
class Difference:
    """``different`` of ``elements`` int8 numbers differ, by at most ``largest`` units."""

    elements: int = 0
    different: int = 0
    largest: int = 0

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.elements + other.elements,
            self.different + other.different,
            max(self.largest, other.largest),
        )

    @property
    def share(self) -> float:
        """``different`` of ``elements``, from 0 to 1."""
        return self.different / self.elements if self.elements else 0.0


def difference(found: Int8, expected: Int8) -> Difference:
    """Of two arrays with equally many elements."""
    distance = np.abs(found.ravel().astype(np.int16) - expected.ravel())
    return Difference(distance.size, int(np.count_nonzero(distance)), int(distance.max(initial=0)))


@dataclass(frozen=True, slots=True)
class TensorAgreement:
    """``operator`` made ``tensor``; both sides got ONNX Runtime's inputs of it."""

    tensor: str
    operator: str
    kind: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class Agreement:
    """Per operator, and from the images to the results."""

    frames: int
    tensors: tuple[TensorAgreement, ...]
    end_to_end: Difference
    #: frames whose largest result is at the same place, by the first output
    same_class: int


def compare(
    path: Path,
    images: npt.NDArray[np.float32],
    progress: Callable[[int], None] = lambda frame: None,
) -> Agreement:
    """Run images (n, *input_shape) through both.

    Operator by operator: the reference gets ONNX Runtime's integers as inputs, and its result is
    compared where ONNX Runtime has integers. End to end: the reference gets the image's integers.

    Args:
        path: a quantised file of one input.
        images: real numbers.
        progress: called with the number of finished frames.

    Raises:
        ModelError: the file is no quantised model.
        ReferenceError: an operator has no integer reference.
    """
    model = QuantisedModel(path)
    graph, numbers = model.graph, load_parameters(path, model.graph)
    outputs = [op.output for op in graph.chip_operators if _ends(graph, op)]
    per_tensor: dict[str, Difference] = {}
    total, same = Difference(), 0
    frames = len(images) // model.batch * model.batch
    for first in range(0, frames, model.batch):
        theirs = model.tensors({graph.inputs[0]: images[first : first + model.batch]})
        known = {name: theirs[name] for name in graph.inputs}
        ours = evaluate(graph, numbers, known)
        for op in graph.chip_operators:
            result = evaluate_operator(op, numbers, [known[name] for name in op.inputs])
            known[op.output] = theirs.get(op.output, result)
            if op.output in theirs:
                found = difference(result, theirs[op.output])
                per_tensor[op.output] = per_tensor.get(op.output, Difference()) + found
        for name in outputs:
            total += difference(ours[name], theirs[name])
        same += int(np.sum(_classes(ours[outputs[0]]) == _classes(theirs[outputs[0]])))
        progress(first + model.batch)
    tensors = tuple(
        TensorAgreement(op.output, op.name, op.kind, per_tensor[op.output])
        for op in graph.chip_operators
        if op.output in per_tensor
    )
    return Agreement(frames, tensors, total, same)


def _ends(graph: DataflowGraph, op: Operator) -> bool:
    """Whether the chip's part of the graph ends here."""
    readers = [graph.op(name).kind for name in graph.consumers[op.output]]
    return op.output in graph.outputs or OpKind.SOFTMAX in readers


def _classes(results: Int8) -> npt.NDArray[np.int64]:
    """Per frame the place of the largest result."""
    result: npt.NDArray[np.int64] = np.argmax(results.reshape(len(results), -1), axis=1)
    return result
