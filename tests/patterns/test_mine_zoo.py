"""Pattern tables of known networks, counted by hand from their published architectures."""

from __future__ import annotations

import time

import pytest

from fragenv.models import zoo
from fragenv.patterns.mine import mine

#: network -> pattern name -> occurrences
TABLES = {
    # Krizhevsky's network as torchvision builds it: pools of 3x3/2 after convolutions 1,
    # 2 and 5; three fully connected layers, the last without an activation
    "alexnet": {
        "conv11x11/4+relu": 1,
        "conv11x11/4+relu+maxpool3x3/2": 1,
        "conv5x5/1+relu": 1,
        "conv5x5/1+relu+maxpool3x3/2": 1,
        "conv3x3/1+relu": 3,
        "conv3x3/1+relu+maxpool3x3/2": 1,
        "maxpool3x3/2": 3,
        "gemm+relu": 2,
        "gemm": 1,
    },
    # 13 convolutions in five blocks, each block ending in a pool
    "vgg16": {
        "conv3x3/1+relu": 13,
        "conv3x3/1+relu+maxpool2x2/2": 5,
        "maxpool2x2/2": 5,
        "gemm+relu": 2,
        "gemm": 1,
    },
    # eight blocks; the first convolution of three has stride 2, beside a 1x1 projection. An
    # addition takes in its block's second convolution or the projection, not both at depth 1
    "resnet18": {
        "conv7x7/2+relu": 1,
        "conv7x7/2+relu+maxpool3x3/2": 1,
        "maxpool3x3/2": 1,
        "conv3x3/1+relu": 5,
        "conv3x3/2+relu": 3,
        "conv3x3/1": 8,
        "conv1x1/2": 3,
        "add+relu": 8,
        "conv3x3/1+add+relu": 8,
        "conv1x1/2+add+relu": 3,
        "add+relu+globalavg": 1,
        "conv3x3/1+add+relu+globalavg": 1,
        "globalavg": 1,
        "gemm": 1,
    },
    # 17 inverted residuals: all but the first expand; 4 have stride 2; 10 have an identity
    "mobilenetv2": {
        "conv3x3/2+clip": 1,
        "conv1x1/1+clip": 17,
        "dwconv3x3/1+clip": 13,
        "dwconv3x3/2+clip": 4,
        "conv1x1/1": 17,
        "conv1x1/1+add": 10,
        "add": 10,
        "conv1x1/1+clip+globalavg": 1,
        "globalavg": 1,
        "gemm": 1,
    },
}


@pytest.mark.parametrize("name", TABLES)
def test_mine__table_of_a_known_network(name: str) -> None:
    mined = mine(zoo.graph(name))
    assert {m.pattern.name: len(m.occurrences) for m in mined} == TABLES[name]
    assert len(mined) == len(TABLES[name])  # no two patterns share a name here


def test_mine__keys_agree_between_networks() -> None:
    """A pattern has the same key wherever it is found, so that fragments can be shared."""
    keys: dict[str, set[str]] = {}
    for name in ("alexnet", "vgg16", "resnet18", "googlenet"):
        for m in mine(zoo.graph(name)):
            keys.setdefault(m.pattern.name, set()).add(m.pattern.key)
    assert all(len(found) == 1 for found in keys.values())
    assert len({key for found in keys.values() for key in found}) == len(keys)


def test_mine__covers_large_networks_quickly() -> None:
    """Prints how long mining takes; gymnasium.make waits for it."""
    for name in ("resnet50", "googlenet"):
        graph = zoo.graph(name)
        start = time.perf_counter()
        mined = mine(graph)
        print(f"{name}: {len(mined)} patterns in {1e3 * (time.perf_counter() - start):.1f} ms")
        covered = {n for m in mined for o in m.occurrences for n in o.operators}
        assert covered == {op.name for op in graph.chip_operators}
