"""Input files: what is read, and what is refused."""

import numpy as np
import pytest

from fragenv.errors import ModelError
from fragenv.models.images import load_images, load_labels, random_images


def test_load_images__reads_arrays_and_archives(tmp_path):
    images = random_images(3, (1, 4, 5), 0)
    np.save(tmp_path / "a.npy", images.astype(np.float64))
    np.savez(tmp_path / "b.npz", images=images, labels=np.array([2, 0, 1], np.uint8))
    for name in ("a.npy", "b.npz"):
        found = load_images(tmp_path / name, (1, 4, 5))
        assert found.dtype == np.float32 and np.array_equal(found, images)
    assert load_labels(tmp_path / "a.npy") is None
    labels = load_labels(tmp_path / "b.npz")
    assert labels.dtype == np.int64 and labels.tolist() == [2, 0, 1]


def test_load_images__refuses_other_files(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 2, 2)))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", pictures=np.zeros(3))
    (tmp_path / "c.npy").write_bytes(b"\x93NUMPY nothing")
    for name, message in (
        ("a.npy", r"give \(n, 1, 2, 2\)"),
        *((name, "cannot be read") for name in ("objects.npy", "b.npz", "c.npy", "absent.npy")),
    ):
        with pytest.raises(ModelError, match=message):
            load_images(tmp_path / name, (1, 2, 2))
    np.save(tmp_path / "none.npy", np.zeros((0, 1, 2, 2)))
    with pytest.raises(ModelError, match="inputs have shape"):
        load_images(tmp_path / "none.npy", (1, 2, 2))


def test_random_images__are_seeded():
    first, again, other = (random_images(2, (3, 8, 8), seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.dtype == np.float32 and abs(first.mean()) < 0.2
