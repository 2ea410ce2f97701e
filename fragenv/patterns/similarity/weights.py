"""Encoders as files: safetensors with the configuration in their header. Loading runs no code."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from torch import Tensor

from fragenv import tensor_file
from fragenv.errors import FragenvError
from fragenv.patterns.similarity.encoder import FEATURES, EncoderConfig, PatternEncoder

FORMAT = "fragenv-similarity"
WEIGHTS = "encoder.safetensors"
_AGAIN = "train it again with scripts/train_similarity.py"


class WeightsError(FragenvError):
    """A file of weights is missing, damaged or of another version."""


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors whole or not at all, with text beside them."""
    tensor_file.write_tensors(path, tensors, {"format": FORMAT, **metadata})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What ``write_tensors`` wrote.

    Raises:
        WeightsError: the file is missing, damaged or of another kind.
    """
    tensors, metadata = tensor_file.read_tensors(path, WeightsError, _AGAIN)
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"'{path}' is not a {FORMAT} file; {_AGAIN}")
    return tensors, metadata


def save_encoder(path: Path, model: PatternEncoder, command: str) -> None:
    """Write an encoder with the command that made it."""
    metadata = {
        "config": json.dumps(asdict(model.config)),
        "features": json.dumps(FEATURES),
        "command": command,
    }
    write_tensors(path, model.state_dict(), metadata)


def load_encoder(path: Path | None = None) -> PatternEncoder:
    """Read an encoder; without a path the one that ships with the package.

    Raises:
        WeightsError: the file is missing, damaged, or was made for other features.
    """
    if path is None:
        return _shipped()
    return _read(path)


@lru_cache(maxsize=1)
def _shipped() -> PatternEncoder:
    return _read(Path(str(files("fragenv.patterns.similarity") / WEIGHTS)))


def _read(path: Path) -> PatternEncoder:
    tensors, metadata = read_tensors(path)
    if metadata.get("features") != json.dumps(FEATURES):
        raise WeightsError(f"'{path}' was trained on other features than this version's; {_AGAIN}")
    try:
        model = PatternEncoder(EncoderConfig(**json.loads(metadata["config"])))
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise WeightsError(f"the weights in '{path}' do not fit their header; {_AGAIN}") from None
    return model.eval()
