"""Export of modules to ONNX files."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from fragenv.errors import ModelError


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that becomes ``path`` if the block succeeds in writing it.

    Raises:
        ModelError: the folder cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise ModelError(
            str(path), f"cannot be written ({error.strerror}); choose another folder"
        ) from error
    with folder:
        temporary = Path(folder.name) / target.name
        yield temporary
        temporary.replace(target)


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
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with whole_file(path) as temporary, warnings.catch_warnings():
        # the exporter warns about its own use of deprecated tracing helpers
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                module.eval(),
                (example,),
                str(temporary),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        finally:
            logger.setLevel(level)
