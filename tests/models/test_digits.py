"""LeNet-5 on scikit-learn's digits, as float and as int8, by the script a user runs."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import typer
from typer.testing import CliRunner

from fragenv.graph.from_onnx import from_onnx
from fragenv.models import zoo
from fragenv.models.digits import accuracy, load_split
from fragenv.models.parameters import load_parameters

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_lenet.py"


def train(folder, *arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--output", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lenet")
    done = train(folder, "--seed", "3")
    assert done.returncode == 0, done.stderr
    return folder


def logits(path, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])


@pytest.mark.parametrize("name", ["lenet.onnx", "lenet_int8.onnx"])
def test_train_lenet__recognises_digits_it_has_not_seen(trained, name):
    data = np.load(trained / "test_images.npz")
    assert accuracy(logits(trained / name, data["images"]), data["labels"]) >= 0.95


def test_train_lenet__writes_the_zoos_lenet(trained):
    graph = from_onnx(trained / "lenet_int8.onnx")
    expected = zoo.graph("lenet").operators
    assert [(o.kind, o.nest) for o in graph.operators] == [(o.kind, o.nest) for o in expected]
    assert len(load_parameters(trained / "lenet_int8.onnx", graph).macs) == 5


def test_train_lenet__bad_options_exit_with_2_and_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    spec = importlib.util.spec_from_file_location("train_lenet", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = typer.Typer()
    app.command()(module.main)
    wrong_pool = CliRunner().invoke(app, ["--output", str(tmp_path), "--pool", "median"])
    assert wrong_pool.exit_code == 2
    no_folder = CliRunner().invoke(app, ["--output", str(tmp_path / "file")])
    assert no_folder.exit_code == 2
    assert "cannot be written" in no_folder.output
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_load_split__is_seeded_and_splits_every_image_once():
    first, again, other = load_split(1), load_split(1), load_split(2)
    np.testing.assert_array_equal(first.test_images, again.test_images)
    assert not np.array_equal(first.test_labels, other.test_labels)
    assert first.train_images.shape == (1438, 1, 32, 32)
    assert first.test_images.shape == (359, 1, 32, 32)
    together = np.concatenate([first.train_labels, first.test_labels])
    everything = np.concatenate([other.train_labels, other.test_labels])
    np.testing.assert_array_equal(np.bincount(together), np.bincount(everything))
    assert first.train_images.min() >= 0 and first.train_images.max() <= 1
