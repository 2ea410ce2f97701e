"""Scores without training, against networks built one by one and PyTorch's own derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import fx, nn

from fragenv.generate import nb201
from fragenv.generate.architecture import Architecture
from fragenv.generate.counts import counts
from fragenv.generate.dense import DenseSpace
from fragenv.generate.skeleton import NAS_BENCH_201, Skeleton, build_graph, build_network
from fragenv.generate.table import cell_scores
from fragenv.generate.zero_cost import ProxyConfig, ZeroCost

CONFIG = ProxyConfig(channels=4, stages=2, image=8, frames=6, chunk=3, seed=1)
SPACE = DenseSpace(6, ("avgpool3x3", "conv1x1", "conv3x3", "depthwise3x3", "skip"))
#: no two convolutions read one sum, so that the built network has a rectifier for each
CELLS = [
    Architecture(("input", "conv3x3", "conv1x1", "output"), ((0, 1), (0, 3), (1, 2), (2, 3))),
    Architecture(
        ("input", "avgpool3x3", "conv3x3", "skip", "conv3x3", "output"),
        ((0, 1), (0, 3), (1, 2), (2, 5), (2, 4), (3, 4), (4, 5)),
    ),
    Architecture(("input", "conv1x1", "conv3x3", "output"), ((0, 1), (1, 3))),
    Architecture(("input", "skip", "output"), ((0, 1), (1, 2))),
    Architecture(("input", "conv1x1", "depthwise3x3", "output"), ((0, 1), (1, 2), (2, 3))),
]


def built(architecture: Architecture, scorer: ZeroCost) -> fx.GraphModule:
    """The network with the scorer's weights."""
    skeleton = Skeleton(CONFIG.channels, 1, CONFIG.stages, (3, CONFIG.image, CONFIG.image), 1)
    network = build_network(architecture, skeleton)
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        path = name.split(".")
        if path[0] == "stem":
            place = "stem"
        elif path[0] == "reduction1":
            place = "reduction1.0" if path[1] == "1" else "reduction1.1"
        elif path[0] == "reduction1_shortcut":
            place = "reduction1.s"
        else:
            stage, _, node, op = path[0].split("_")
            place = f"{stage}.{node}.{op}"
        kernel, outputs = module.kernel_size[0], module.out_channels
        inputs = module.in_channels // module.groups
        module.weight.data = scorer.weight(place, inputs, outputs, kernel).clone()
    return network


def naswot_of(network: fx.GraphModule, images: torch.Tensor) -> float:
    seen: list[torch.Tensor] = []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(1)))
    network.train()(images)
    on = torch.cat(seen, 1) > 0
    agree = [[float((a == b).sum()) for b in on] for a in on]
    return float(np.linalg.slogdet(np.array(agree))[1])


def log_synflow_of(network: fx.GraphModule) -> float:
    network = network.double().eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            network.set_submodule(name, nn.Identity())
        elif isinstance(module, nn.Linear):
            module.weight.data.fill_(1.0)
            module.bias = None
    parameters = list(network.parameters())
    for parameter in parameters:
        parameter.data.abs_()
    network(torch.ones(1, 3, CONFIG.image, CONFIG.image, dtype=torch.float64)).sum().backward()
    products = [(p.detach() * p.grad).sum() for p in parameters if p.grad is not None]
    return float(torch.stack(products).sum().log())


def test_scores__equal_those_of_networks_built_one_by_one() -> None:
    scorer = ZeroCost(SPACE, CONFIG)
    found = list(scorer.scores(CELLS))
    for architecture, scores in zip(CELLS, found, strict=True):
        expected = naswot_of(built(architecture, scorer), scorer.images())
        assert scores.naswot == pytest.approx(expected, rel=1e-3)
        expected = log_synflow_of(built(architecture, scorer))
        assert scores.log_synflow == pytest.approx(expected, rel=1e-9)


def test_scores__do_not_depend_on_the_neighbours() -> None:
    together = list(ZeroCost(SPACE, CONFIG).scores(CELLS))
    alone = [next(iter(ZeroCost(SPACE, CONFIG).scores([a]))) for a in CELLS]
    for a, b in zip(together, alone, strict=True):
        assert a.naswot == pytest.approx(b.naswot, rel=1e-4)
        assert a.log_synflow == pytest.approx(b.log_synflow)


def test_counts__equal_what_is_built() -> None:
    skeleton = Skeleton(channels=4, cells_per_stage=2, input_shape=(1, 8, 8))
    wide = Architecture(
        ("input", "conv5x5", "depthwise3x3", "conv1x1", "output"), ((0, 1), (1, 2), (0, 3), (2, 4))
    )
    for architecture in (CELLS[0], CELLS[2], wide):
        found = counts(architecture, skeleton)
        network = build_network(architecture, skeleton)
        assert found.parameters == sum(p.numel() for p in network.parameters())
        # 16 channels of 2 x 2 pixels where the head's normalisation stands alone
        assert build_graph(architecture, skeleton).macs - found.macs in (0, 16 * 2 * 2)
    best = nb201.from_choices(("nor_conv_3x3",) * 6)
    assert counts(best, NAS_BENCH_201).parameters == 1_531_546  # as published


def test_table__has_every_cell_and_is_what_the_scorer_gives() -> None:
    table = cell_scores()
    assert len(table) == 15_284
    values = np.array([list(scores.values()) for scores in table.values()])
    assert np.isfinite(values).all()
    picked = list(table)[::3000]
    cells = [nb201.from_choices(choices) for choices in picked]
    seeds = [
        list(ZeroCost(DenseSpace(), ProxyConfig(seed=seed)).scores(cells)) for seed in range(3)
    ]
    for number, choices in enumerate(picked):
        naswot = np.mean([scores[number].naswot for scores in seeds])
        synflow = np.mean([scores[number].log_synflow for scores in seeds])
        assert table[choices]["naswot"] == pytest.approx(naswot, rel=0.01)
        assert table[choices]["log_synflow"] == pytest.approx(synflow, rel=1e-5)
