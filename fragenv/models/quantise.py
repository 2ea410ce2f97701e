"""Quantisation of float ONNX files with ONNX Runtime's static quantiser."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from fragenv.errors import ModelError
from fragenv.graph.onnx_file import OnnxFile
from fragenv.graph.onnx_lrn import fuse_lrn
from fragenv.graph.onnx_scaling import affine
from fragenv.graph.quiet import quiet_logging
from fragenv.models.common_scales import Range, common_ranges
from fragenv.models.export import whole_file

#: everything that the importer knows; the quantiser's own list lacks ReduceMean and LRN
_QUANTISED = (
    *("Conv", "Gemm", "MatMul", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("ReduceMean", "Add", "Concat", "LRN", "Reshape", "Flatten", "Squeeze", "Unsqueeze"),
    "Transpose",
)
_QUANTISED_ALREADY = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QGemm"})


def quantise_onnx(
    float_path: str | Path, calibration: npt.NDArray[np.float32], output_path: str | Path
) -> None:
    """Write the int8 form of a float ONNX file: whole, or not at all.

    QDQ form; weights int8, symmetric, one scale per output channel; activations int8, asymmetric,
    one scale per tensor from the extremes over ``calibration``; biases int32. Batch normalisation
    is folded first, or becomes a 1x1 depthwise convolution where nothing before it can take it, as
    after a sum: what the dataflow graph makes of it too. Tensors that must share a scale do: the
    parts of a concatenation and its result, the input and the output of a maximum, a relu or a clip
    (so that an activation is a clamp and the accumulator before it is rounded once). See
    ``fragenv.models.common_scales``.

    Args:
        float_path: a float model with one input.
        calibration: typical inputs, shape (n, *input_shape), n >= 1.
        output_path: the file to write.

    Raises:
        ModelError: the model cannot be read or quantised, the calibration data does not fit it, or
            the output cannot be written.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source = str(float_path)
    if not Path(float_path).is_file():
        raise ModelError(source, "there is no such file")
    if len(calibration) == 0:
        raise ModelError(source, "calibration data is empty; give at least one typical input")
    with (
        whole_file(output_path) as temporary,
        tempfile.TemporaryDirectory() as folder,
        quiet_logging(),
    ):
        simple, folded = (str(Path(folder) / f"{name}.onnx") for name in ("simple", "folded"))
        try:
            kinds = {
                node.op_type for node in onnx.load(source, load_external_data=False).graph.node
            }
            if not kinds.isdisjoint(_QUANTISED_ALREADY):
                raise ValueError("it is quantised already; give the float model")
            _simplify(source, simple)
            quant_pre_process(simple, folded, skip_symbolic_shape=True)
            _without_normalisations(folded)
            quantize_static(
                folded,
                str(temporary),
                _Calibration(folded, calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QInt8,
                op_types_to_quantize=list(_QUANTISED),
                extra_options=_options(folded, calibration),
            )
        except Exception as error:  # ONNX Runtime raises its own and many built-in types
            raise ModelError(source, f"cannot be quantised: {error}") from error


def _simplify(source: str, target: str) -> None:
    """Write a model in the quantiser's terms: LRN is one node, and constants of a Gemm bear its
    factors, because a quantised bias stands for its value alone."""
    model = onnx.load(source)
    fuse_lrn(model.graph)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Gemm":
            for place, factor in ((1, "alpha"), (2, "beta")):
                _scale_operand(model.graph, constants, node, place, factor)
    onnx.save(model, target)


def _without_normalisations(path: str) -> None:
    """Write the batch normalisations of images that are left in a model as 1x1 depthwise
    convolutions, in place."""
    model = onnx.load(path)
    left = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    if not left:
        return
    file = OnnxFile(path, 1, {})
    shaped = onnx.shape_inference.infer_shapes(model).graph
    rank = {v.name: len(v.type.tensor_type.shape.dim) for v in (*shaped.value_info, *shaped.input)}
    for node in left:
        if rank.get(node.input[0]) != 4:
            continue
        factor, offset = affine(file, node, file.constant_shape(node.input[1]))
        names = f"{node.output[0]}/factor", f"{node.output[0]}/offset"
        for name, value in zip(names, (factor[:, None, None, None], offset), strict=True):
            tensor = numpy_helper.from_array(value.astype(np.float32), name)
            model.graph.initializer.append(tensor)
        x = node.input[0]
        del node.input[:], node.attribute[:]
        node.op_type = "Conv"
        node.input.extend((x, *names))
        node.attribute.append(onnx.helper.make_attribute("group", len(factor)))
    read = {name for node in model.graph.node for name in node.input}
    stored = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(stored)
    onnx.save(model, path)


def _scale_operand(
    graph: onnx.GraphProto,
    constants: dict[str, onnx.TensorProto],
    node: onnx.NodeProto,
    place: int,
    factor: str,
) -> None:
    """Multiply a Gemm's constant by the node's attribute ``factor``, which goes; a bias becomes
    one-dimensional."""
    found = next((a for a in node.attribute if a.name == factor), None)
    stored = constants.get(node.input[place]) if len(node.input) > place else None
    if stored is None:
        return
    value = numpy_helper.to_array(stored)
    scaled = value * np.float32(1.0 if found is None else found.f)
    if place == 2 and scaled.ndim > 1:
        scaled = scaled.reshape(-1)
    if found is not None:
        node.attribute.remove(found)
    if scaled.shape == value.shape and np.array_equal(scaled, value):
        return
    name = f"{node.output[0]}/{factor}"  # the constant may have other readers
    graph.initializer.append(numpy_helper.from_array(scaled, name))
    node.input[place] = name


def _options(path: str, calibration: npt.NDArray[np.float32]) -> dict[str, Any]:
    """ONNX Runtime's options for the float model at ``path``."""
    model = onnx.load(path)
    outputs = {value.name for value in model.graph.output}
    means = [node for node in model.graph.node if node.op_type == "AveragePool"]
    # left alone, the quantiser gives a mean its input's scale, and every other mean of two falls
    # between two units. What reads the mean quantises it, with a scale of its own
    tied_means = any(node.output[0] in outputs for node in means)
    shared = common_ranges(model, _ranges(path, calibration), tied_means)
    return {
        # keep each relu as a node: it is an operator of the graph
        "QDQKeepRemovableActivations": True,
        "OpTypesToExcludeOutputQuantization": [] if tied_means else ["AveragePool"],
        # a maximum or a reshape quantises its input even where the producer did not
        "ForceQuantizeNoInputCheck": True,
        "TensorQuantOverrides": {
            name: [{"rmin": np.array(low, np.float32), "rmax": np.array(high, np.float32)}]
            for name, (low, high) in shared.items()
        },
    }


def _ranges(path: str, calibration: npt.NDArray[np.float32]) -> dict[str, Range]:
    """Least and largest value of every activation over the calibration data."""
    from onnxruntime.quantization import create_calibrator

    calibrator = create_calibrator(
        path, list(_QUANTISED), augmented_model_path=f"{path}.augmented.onnx"
    )
    calibrator.collect_data(_Calibration(path, calibration))
    found = calibrator.compute_data()
    spans = ((name, found[name].range_value) for name in found)
    return {name: (float(np.min(low)), float(np.max(high))) for name, (low, high) in spans}


class _Calibration:
    """ONNX Runtime's protocol for calibration data: one batch at a time, then None."""

    def __init__(self, path: str, data: npt.NDArray[np.float32]) -> None:
        model_input = onnx.load(path, load_external_data=False).graph.input[0]
        first = model_input.type.tensor_type.shape.dim[0]
        size = first.dim_value or 1
        batches = [data[i : i + size] for i in range(0, len(data) - size + 1, size)]
        if not batches:
            raise ValueError(f"{len(data)} calibration inputs do not fill a batch of {size}")
        self._batches: Iterator[dict[str, Any]] = iter(
            [{model_input.name: np.ascontiguousarray(batch, np.float32)} for batch in batches]
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)
