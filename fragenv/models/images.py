"""Input data from files and from seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fragenv.errors import ModelError


def load_images(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The inputs in a ``.npy`` file, or under 'images' in a ``.npz`` file: (n, *shape), n >= 1.

    Raises:
        ModelError: the file cannot be read, or holds other shapes.
    """
    try:
        stored = np.load(path, allow_pickle=False)
        data = np.asarray(stored if isinstance(stored, np.ndarray) else stored["images"])
        images = data.astype(np.float32)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise ModelError(str(path), f"inputs cannot be read: {error}") from None
    if images.shape[1:] != shape or len(images) == 0:
        raise ModelError(str(path), f"inputs have shape {images.shape}; give (n, {shape})")
    return images


def random_images(count: int, shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float32]:
    """Normally distributed inputs (count, *shape) of mean 0 and deviation 1."""
    return np.random.default_rng(seed).standard_normal((count, *shape), np.float32)
