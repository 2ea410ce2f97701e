"""Cells as networks: published sizes, ONNX Runtime, dataflow graphs, schedules."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import fx, nn

from agents.heuristics import SCHEDULERS
from agents.scheduler import Budget
from fragenv.errors import FragenvError, ModelError
from fragenv.generate import nb201
from fragenv.generate.architecture import OPERATORS, Architecture
from fragenv.generate.dense import DenseSpace
from fragenv.generate.latency import LatencyOracle, quick_schedule
from fragenv.generate.read_network import read_network
from fragenv.generate.skeleton import (
    NAS_BENCH_201,
    Skeleton,
    build_graph,
    build_network,
    write_onnx,
)
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.from_onnx import from_onnx
from fragenv.graph.from_torch import from_torch

SMALL = Skeleton(channels=4, stages=2, input_shape=(1, 8, 8))
MIXED = Architecture(
    ("input", *OPERATORS, "output"),
    (
        *((0, n) for n in range(1, 5)),
        *((n, n + 3) for n in (1, 2, 3, 4)),
        *((n, 8) for n in range(5, 8)),
    ),
)


def cell(*edges: str) -> Architecture:
    names = {"3": "nor_conv_3x3", "1": "nor_conv_1x1", "s": "skip_connect", "p": "avg_pool_3x3"}
    return nb201.from_choices(tuple(names[e] for e in edges[0]))  # type: ignore[arg-type]


# parameters as the benchmark publishes them for CIFAR-10, in millions, and its MACs of convolutions
@pytest.mark.parametrize(
    ("edges", "parameters"), [("333333", 1_531_546), ("331s33", 1_073_466), ("ssssss", 73_306)]
)
def test_network__has_the_published_parameters(edges: str, parameters: int) -> None:
    network = build_network(cell(edges), NAS_BENCH_201)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_graph__has_the_published_multiplications() -> None:
    # 220.12 million for six 3x3 convolutions
    assert build_graph(cell("333333"), NAS_BENCH_201).macs == pytest.approx(220.12e6, rel=1e-4)


def shapes(graph: DataflowGraph) -> Counter[object]:
    return Counter((op.kind, op.nest) for op in graph.operators)


def test_onnx__computes_what_torch_computes_and_imports_as_the_same_graph(tmp_path: Path) -> None:
    path = tmp_path / "cell.onnx"
    write_onnx(MIXED, path, SMALL, seed=5)
    image = torch.randn(1, *SMALL.input_shape, generator=torch.Generator().manual_seed(0))
    expected = build_network(MIXED, SMALL, seed=5)(image).detach().numpy()
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(expected).max() > 1e-3
    assert shapes(from_onnx(path)) == shapes(build_graph(MIXED, SMALL))


@pytest.mark.parametrize("seed", range(3))
def test_graph__is_the_one_that_export_gives(seed: int) -> None:
    drawn = DenseSpace(7, OPERATORS).random(np.random.default_rng(seed))
    doubled = Architecture(("input", "skip", "skip", "output"), ((0, 1), (0, 2), (1, 3), (2, 3)))
    for architecture in (drawn, MIXED, doubled):
        expected = from_torch(build_network(architecture, SMALL), SMALL.input_shape, "cell")
        found = build_graph(architecture, SMALL, "cell")
        assert found.operators == expected.operators
        assert dict(found.tensors) == dict(expected.tensors)
        assert (found.inputs, found.outputs) == (expected.inputs, expected.outputs)


def test_graph__refuses_layers_that_cells_have_not() -> None:
    network = fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid()))
    with pytest.raises(ModelError, match=r"'1' \(Sigmoid\): networks of cells have no such layer"):
        read_network(network, network.graph, (1, 8, 8), "odd")


def test_network__adds_what_a_node_reads() -> None:
    """A cell of skips multiplies by the number of paths: here input + (input + input)."""
    doubled = Architecture(("input", "skip", "skip", "output"), ((0, 1), (0, 2), (1, 2), (2, 3)))
    plain = Architecture(("input", "output"), ((0, 1),))
    skeleton = Skeleton(channels=4, stages=1, input_shape=(1, 4, 4))
    image = torch.ones(1, 1, 4, 4)
    seen: list[torch.Tensor] = []
    for architecture in (plain, doubled):
        network = build_network(architecture, skeleton, seed=1)
        network.get_submodule("head").register_forward_pre_hook(lambda _, args: seen.append(*args))
        network(image)
    assert torch.allclose(2 * seen[0], seen[1])


def test_network__leaves_out_what_has_no_effect() -> None:
    dead = Architecture(("input", "conv3x3", "conv5x5", "output"), ((0, 1), (0, 2), (1, 3)))
    assert "conv5x5" not in str(build_network(dead, SMALL))
    same_again = build_network(dead, SMALL, seed=0), build_network(dead, SMALL, seed=0)
    first, second = (torch.cat([p.flatten() for p in n.parameters()]) for n in same_again)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"channels": 0}, "at least 1"), ({"input_shape": (3, 10, 16)}, "multiples of 4")],
)
def test_skeleton__refuses_sizes(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(FragenvError, match=message):
        Skeleton(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("chip", ["cgra512", "xc7z020"])
def test_schedulers__take_a_random_cell(chip: str) -> None:
    architecture = DenseSpace().random(np.random.default_rng(7))
    oracle = LatencyOracle(chip, SMALL)
    problem = oracle.problem(architecture)
    for name in SCHEDULERS:
        state = SCHEDULERS.get(name).solve(problem, Budget(60), seed=0).state
        assert state.finished
    quick = quick_schedule(problem)
    assert quick.finished
    assert problem.bound.latency_cycles <= quick.latency_cycles == oracle(architecture)


def test_latency__is_asked_once_for_equal_architectures() -> None:
    oracle = LatencyOracle("cgra512", SMALL)
    plain = Architecture(("input", "conv1x1", "output"), ((0, 1), (1, 2)))
    spun_out = Architecture(("input", "conv1x1", "skip", "output"), ((0, 1), (1, 2), (2, 3)))
    assert oracle(plain) == oracle(spun_out)
    assert len(oracle._known) == 1
