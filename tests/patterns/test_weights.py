"""Files of encoders: what is written is read, and everything else is refused with a way out."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import spearmanr
from test_encoder import encoder

from fragenv.models import zoo
from fragenv.patterns.similarity import weights as weights_module
from fragenv.patterns.similarity import wl
from fragenv.patterns.similarity.corpus import TRAINING_NETWORKS, network_graphs
from fragenv.patterns.similarity.edit_distance import edit_distance
from fragenv.patterns.similarity.encoder import point_distances
from fragenv.patterns.similarity.weights import (
    WEIGHTS,
    WeightsError,
    load_encoder,
    read_tensors,
    save_encoder,
    write_tensors,
)


def test_encoder__is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    model = encoder()
    save_encoder(path, model, "make it")
    again = load_encoder(path)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)
    assert read_tensors(path)[1]["command"] == "make it"


def test_shipped__ranks_patterns_of_networks_it_was_not_trained_on() -> None:
    graphs = [g for name in ("resnet18", "resnet50") for g in network_graphs(zoo.graph(name), 5)]
    assert not {"resnet18", "resnet50"} & set(TRAINING_NETWORKS)
    chance = random.Random(0)
    pairs = [tuple(chance.sample(range(len(graphs)), 2)) for _ in range(400)]
    exact = [edit_distance(graphs[i], graphs[j]) for i, j in pairs]
    points = load_encoder().embed(graphs)
    learned = [point_distances(points[i], points[j]).item() for i, j in pairs]
    histograms = [wl.histogram(graph) for graph in graphs]
    kernel = [wl.cosine_distance(histograms[i], histograms[j]) for i, j in pairs]
    assert spearmanr(learned, exact).statistic > 0.9
    assert spearmanr(learned, exact).statistic > spearmanr(kernel, exact).statistic
    assert np.abs(np.array(learned) - np.array(exact)).mean() < 0.6


def test_shipped__is_small_and_says_how_it_was_made() -> None:
    path = Path(weights_module.__file__).parent / WEIGHTS
    assert path.stat().st_size < 1 << 20
    assert "train_similarity.py" in read_tensors(path)[1]["command"]


def test_load__refuses_what_is_no_encoder(tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    with pytest.raises(WeightsError, match=r"there is no file .*train_similarity"):
        load_encoder(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(WeightsError, match="is damaged"):
        load_encoder(path)
    save_encoder(path, encoder(), "")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match="is damaged"):
        load_encoder(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="is not a fragenv-similarity file"):
        load_encoder(path)


def test_load__refuses_other_features_and_sizes(tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    save_encoder(path, encoder(), "")
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {**metadata, "features": "[]"})
    with pytest.raises(WeightsError, match="other features"):
        load_encoder(path)
    write_tensors(path, tensors, {**metadata, "config": '{"hidden": 8}'})
    with pytest.raises(WeightsError, match="do not fit their header"):
        load_encoder(path)
    write_tensors(path, tensors, {**metadata, "config": "broken"})
    with pytest.raises(WeightsError, match="do not fit their header"):
        load_encoder(path)
