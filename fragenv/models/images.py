"""Input data from files and from seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fragenv.errors import ModelError


def load_images(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The inputs in a ``.npy`` file, or under 'images' in a ``.npz`` file: (n, *shape), n >= 1.

    Raises:
        ModelError: the file cannot be read, or holds other shapes.
    """
    images = _arrays(path)["images"].astype(np.float32)
    if images.shape[1:] != shape or len(images) == 0:
        wanted = ", ".join(map(str, ("n", *shape)))
        raise ModelError(str(path), f"inputs have shape {images.shape}; give ({wanted})")
    return images


def load_labels(path: Path) -> npt.NDArray[np.int64] | None:
    """The classes under 'labels' in a ``.npz`` file, (n,); None where there are none.

    Raises:
        ModelError: the file cannot be read.
    """
    labels = _arrays(path).get("labels")
    return None if labels is None else labels.astype(np.int64)


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return {"images": stored}
        with stored:
            return {"images": stored["images"], **stored}
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise ModelError(str(path), f"inputs cannot be read: {error}") from None


def random_images(count: int, shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float32]:
    """Normally distributed inputs (count, *shape) of mean 0 and deviation 1."""
    return np.random.default_rng(seed).standard_normal((count, *shape), np.float32)
