"""Export of modules to ONNX files."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import nn

from fragenv.errors import ModelError
from fragenv.graph.quiet import quiet_logging


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that becomes ``path`` if the block succeeds in writing it.

    Raises:
        ModelError: the folder cannot be made or written.
    """
    target = Path(path)
    with temporary_folder(target.parent) as folder:
        temporary = folder / target.name
        yield temporary
        temporary.replace(target)


@contextmanager
def temporary_folder(parent: str | Path) -> Iterator[Path]:
    """A folder inside ``parent`` (made if missing) for the time of the block.

    Raises:
        ModelError: ``parent`` cannot be made or written.
    """
    try:
        Path(parent).mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".writing-", dir=parent)
    except OSError as error:
        raise ModelError(
            str(parent), f"cannot be written ({error.strerror}); choose another folder"
        ) from error
    with folder:
        yield Path(folder.name)


def export_onnx(
    module: nn.Module, input_shape: tuple[int, ...], path: str | Path, batch: int = 1
) -> None:
    """Write ``module`` in evaluation mode as one ONNX file, weights inside, or nothing.

    Args:
        module: any exportable module with one input (batch, *input_shape).
        input_shape: without the batch.
        path: the file to write; folders above it are made.
        batch: the fixed size of the batch axis.

    Raises:
        ModelError: the file cannot be written.
    """
    example = torch.zeros(batch, *input_shape)
    with (
        whole_file(path) as temporary,
        warnings.catch_warnings(),
        quiet_logging(),
        _whole_response_norms(module),
    ):
        # the exporter warns about its own use of deprecated tracing helpers
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (example,),
            str(temporary),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextmanager
def _whole_response_norms(module: nn.Module) -> Iterator[None]:
    """While the block runs, a LocalResponseNorm is exported as one LRN node, not as a dozen."""
    # ONNX places a window of an even size one channel off: those are spelt out
    found = [m for m in module.modules() if isinstance(m, nn.LocalResponseNorm) and m.size % 2]
    for norm in found:
        norm.forward = partial(_response_norm_node, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in found:
            del norm.forward  # the class's own again


def _response_norm_node(norm: nn.LocalResponseNorm, x: torch.Tensor) -> torch.Tensor:
    return torch.onnx.ops.symbolic(
        "LRN",
        (x,),
        {"size": norm.size, "alpha": norm.alpha, "beta": norm.beta, "bias": float(norm.k)},
        dtype=x.dtype,
        shape=x.shape,
    )
