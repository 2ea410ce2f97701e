"""A quantised ONNX file in ONNX Runtime, with every int8 tensor that it computes on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from fragenv.errors import ModelError
from fragenv.graph.from_onnx import OnnxImport, import_onnx
from fragenv.verify.integers import Int8


class QuantisedModel:
    """Runs the file with ONNX Runtime's own integer kernels and scales in floating point.

    On x86 processors without VNNI some of those kernels saturate between products, and results are
    off by more than rounding.

    Raises:
        ModelError: the file cannot be imported or run.
    """

    def __init__(self, path: str | Path) -> None:
        import onnxruntime

        found = import_onnx(path)
        self.graph = found.graph
        #: tensor of the graph -> the file's value that holds its integers
        self.values = _integer_values(found)
        model = onnx.load(path)
        present = {value.name for value in model.graph.output}
        for name in self.values.values():
            if name not in present:
                model.graph.output.append(onnx.ValueInfoProto(name=name))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, ["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises many types of its own
            raise ModelError(str(path), f"ONNX Runtime refuses it: {error}") from error
        #: frames that the file takes at a time
        self.batch = found.scope.batch

    def tensors(
        self,
        inputs: Mapping[str, npt.NDArray[np.float32]],
        wanted: Iterable[str] | None = None,
    ) -> dict[str, Int8]:
        """The integers of tensors, (n, *shape), for inputs (n, *shape).

        Args:
            inputs: by name; n must be a multiple of the batch that is built into the file.
            wanted: names of tensors; all that the file quantises by default.

        Raises:
            ModelError: the file does not quantise one of ``wanted``.
        """
        names = list(self.values if wanted is None else wanted)
        for name in names:
            if name not in self.values:
                raise ModelError(self.graph.name, f"its tensor '{name}' is not quantised")
        frames = len(next(iter(inputs.values())))
        parts = []
        for first in range(0, frames, self.batch):
            feeds = {
                k: np.ascontiguousarray(v[first : first + self.batch]) for k, v in inputs.items()
            }
            parts.append(self._session.run([self.values[name] for name in names], feeds))
        result = {}
        for index, name in enumerate(names):
            stored = np.concatenate([part[index] for part in parts])
            if stored.dtype == np.uint8:
                stored = (stored.astype(np.int16) - 128).astype(np.int8)
            result[name] = stored.reshape(frames, *self.graph.tensors[name].shape)
        return result


def _integer_values(found: OnnxImport) -> dict[str, str]:
    result: dict[str, str] = {}
    for tensor, notes in found.scope.scales.items():
        made = found.scope.file.producer.get(tensor)
        if made is not None and made.op_type.startswith(("QLinear", "QGemm")):
            result[tensor] = tensor
            continue
        for note in notes:
            if note.node.op_type == "QuantizeLinear":
                result[tensor] = note.node.output[0]
                break
    return {name: value for name, value in result.items() if name in found.graph.tensors}
