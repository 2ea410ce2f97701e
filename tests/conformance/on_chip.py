"""An equivalent of a node test as the chip runs it: graph, integers, int8 inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from equivalents import Equivalent
from node_tests import Array
from onnx import helper, numpy_helper

from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_onnx import from_onnx
from fragenv.models.parameters import Quantisation, load_parameters
from fragenv.models.quantise import quantise_onnx
from fragenv.verify.integers import quantise

#: what the static quantiser quantises where nothing quantised stands before it
_STATIC = frozenset({"Conv", "Gemm", "MatMul", "BatchNormalization", "LRN", "GlobalAveragePool"})
#: operators whose inputs and output each have a scale of their own
_OWN_SCALES = frozenset({"Add", "Sum", "AveragePool"})


@dataclass(frozen=True, slots=True, eq=False)
class OnChip:
    """``inputs``: per tensor (n, *shape) int8, as many frames as the test has."""

    case: Equivalent
    graph: DataflowGraph
    numbers: Quantisation
    inputs: dict[str, Array]

    @property
    def output(self) -> str:
        (name,) = self.graph.outputs
        return name

    @property
    def frames(self) -> int:
        return len(next(iter(self.inputs.values())))


def on_chip(case: Equivalent, folder: Path) -> OnChip:
    """Import ``case``, quantised with its own inputs as calibration where it is of floats."""
    path = folder / "node.onnx"
    if case.quantised:
        onnx.save(case.model(), path)
    elif case.operator in _STATIC:
        onnx.save(case.model(), folder / "float.onnx")
        ((_, calibration),) = case.data.items()
        quantise_onnx(folder / "float.onnx", calibration, path)
    else:
        onnx.save(_with_scales(case), path)
    graph = from_onnx(path)
    numbers = load_parameters(path, graph)
    inputs = {name: _int8(values, numbers, name) for name, values in case.data.items()}
    return OnChip(case, graph, numbers, inputs)


def _int8(values: Array, numbers: Quantisation, name: str) -> Array:
    if values.dtype == np.float32:
        return quantise(values, numbers.tensors[name])
    if values.dtype == np.uint8:
        return (values.astype(np.int16) - 128).astype(np.int8)
    return values


def _with_scales(case: Equivalent) -> onnx.ModelProto:
    """QDQ form by hand: scales from the extremes, each value's own or those of all together."""
    model = case.model()
    result = case.nodes[-1].output[0]
    values = {**case.data, result: case.expected}
    together = np.concatenate([v.ravel() for v in values.values()])
    before: list[onnx.NodeProto] = []
    after: list[onnx.NodeProto] = []
    for name, each in values.items():
        scale, zero = _scale_of(each if case.operator in _OWN_SCALES else together)
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(scale, f"{name}_s"),
                numpy_helper.from_array(zero, f"{name}_z"),
            ]
        )
        end = "_made" if name == result else ""
        numbers = [f"{name}_s", f"{name}_z"]
        pair = [
            helper.make_node("QuantizeLinear", [f"{name}{end}", *numbers], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", *numbers], [f"{name}_dq"]),
        ]
        (after if name == result else before).extend(pair)
    nodes = list(model.graph.node)
    for node in nodes:
        node.input[:] = [f"{n}_dq" if n in case.data else n for n in node.input]
        node.output[:] = [f"{n}_made" if n == result else n for n in node.output]
    after[-1].output[0] = result
    del model.graph.node[:]
    model.graph.node.extend([*before, *nodes, *after])
    return model


def _scale_of(values: Array) -> tuple[Array, Array]:
    """int8 scale and zero point of the range of ``values`` with 0."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = np.float32((high - low) / 255 or 1.0)
    return np.asarray(scale), np.asarray(round(-128 - low / float(scale)), np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """Many cases as one network of separate parts; tensors are called ``case/tensor``."""

    graph: DataflowGraph
    numbers: Quantisation
    inputs: Mapping[str, Array]


def together(chips: Iterable[OnChip]) -> Together:
    """All graphs side by side in one, so that one emission runs them all.

    Every input has as many frames as the longest; the shorter ones repeat theirs.
    """
    chips = list(chips)
    frames = max(chip.frames for chip in chips)
    operators, tensors, scales, macs, inputs = [], {}, {}, {}, {}
    outputs: list[str] = []
    for chip in chips:
        prefix, graph = _prefix(chip), chip.graph
        for op in graph.operators:
            reads = tuple(prefix + name for name in op.inputs)
            names = {"name": prefix + op.name, "inputs": reads, "output": prefix + op.output}
            operators.append(replace(op, **names))
        for name, tensor in graph.tensors.items():
            tensors[prefix + name] = replace(tensor, name=prefix + name)
        outputs += [prefix + name for name in graph.outputs]
        scales |= {prefix + name: scale for name, scale in chip.numbers.tensors.items()}
        macs |= {prefix + name: mac for name, mac in chip.numbers.macs.items()}
        for name, values in chip.inputs.items():
            inputs[prefix + name] = np.resize(values, (frames, *values.shape[1:]))
    graph = DataflowGraph("node_tests", operators, tensors, inputs, outputs)
    return Together(graph, Quantisation(scales, macs), inputs)


def output_of(chip: OnChip, results: Mapping[str, Array]) -> Array:
    """The case's own frames of its output; a concatenation lies in the memory as its parts."""

    def read(tensor: str) -> Array:
        if _prefix(chip) + tensor in results:
            return results[_prefix(chip) + tensor]
        op = chip.graph.op(chip.graph.producer[tensor])
        axis = 1 if len(chip.graph.tensors[tensor].shape) == 3 else -1
        return np.concatenate([read(part) for part in op.inputs], axis)

    return read(chip.output)[: chip.frames]


def _prefix(chip: OnChip) -> str:
    return f"{chip.case.name}/"
