"""A dataflow graph from whatever the user has: a zoo name, an ONNX file, a module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fragenv.errors import ModelError
from fragenv.graph.dataflow import DataflowGraph

if TYPE_CHECKING:
    from torch import nn


def load_graph(
    source: str | Path | nn.Module,
    input_shape: tuple[int, ...] | None = None,
    batch: int = 1,
    dims: Mapping[str, int] | None = None,
    virtual: bool = False,
) -> DataflowGraph:
    """The dataflow graph of ``source``.

    Args:
        source: a name of the zoo, the path of an ONNX file, or a ``torch.nn.Module``.
        input_shape: for a module: (channels, rows, columns) or (features,) of one frame.
        batch, dims: for an ONNX file: see ``from_onnx``.
        virtual: for a graph to be mined, not scheduled: also take what no chip runs.

    Raises:
        ModelError: nothing of that name, a module without ``input_shape``, or a model that cannot
            be imported.
    """
    if not isinstance(source, str | Path):
        from fragenv.graph.from_torch import from_torch

        if input_shape is None:
            raise ModelError(
                type(source).__name__, "a module needs an input shape; give input_shape"
            )
        return from_torch(source, input_shape, virtual=virtual)
    path = Path(source)
    if path.suffix == ".onnx" or path.is_file():
        from fragenv.graph.from_onnx import from_onnx

        return from_onnx(path, batch, dims, virtual)
    from fragenv.models import zoo

    return zoo.graph(str(source))
