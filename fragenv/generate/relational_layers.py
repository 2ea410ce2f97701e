"""Layers with the weights of a relational graph: what is not an edge is zero, and stays zero."""

from __future__ import annotations

import networkx as nx
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fragenv.generate.relational import channel_groups, channel_mask, group_mask


class RelationalLinear(nn.Linear):
    """``nn.Linear`` whose groups of features talk as a graph says; with the complete graph exactly
    ``nn.Linear``.

    Weights start larger where fewer of them feed an output, so that the outputs vary alike.
    """

    mask: Tensor

    def __init__(self, graph: nx.Graph, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        mask = torch.from_numpy(channel_mask(graph, outputs, inputs)).to(self.weight.dtype)
        self.register_buffer("mask", mask)
        _scale_to_fan_in(self.weight, mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one input."""
        return int(self.mask.sum())


class RelationalConv2d(nn.Conv2d):
    """``nn.Conv2d`` whose groups of channels talk as a graph says; with the complete graph exactly
    ``nn.Conv2d``."""

    mask: Tensor

    def __init__(
        self,
        graph: nx.Graph,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias)
        mask = torch.from_numpy(channel_mask(graph, outputs, inputs)).to(self.weight.dtype)
        self.register_buffer("mask", mask[:, :, None, None])
        _scale_to_fan_in(self.weight, self.mask)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.mask
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)

    def macs(self, pixels: int) -> int:
        """Multiply-accumulates of one input, for ``pixels`` outputs per channel."""
        return int(self.mask.sum()) * self.kernel_size[0] * self.kernel_size[1] * pixels


@torch.no_grad()
def _scale_to_fan_in(weight: Tensor, mask: Tensor) -> None:
    """Multiply the weights of each output by the root of inputs to inputs that are used."""
    used = mask.flatten(1).sum(1)
    scale = (mask.shape[1] / used).sqrt()
    weight.mul_(scale.reshape(-1, *(1,) * (weight.dim() - 1)))


class BlockLinear(nn.Module):
    """The same function as a ``RelationalLinear``, as the products of its non-zero blocks.

    Every edge of the graph is a matrix product of its own, so that blocks of equal size are one
    pattern of the dataflow graph, and one fragment runs them all. Sums are additions; the bias is
    part of each group's own block.
    """

    def __init__(self, dense: RelationalLinear, graph: nx.Graph) -> None:
        super().__init__()
        reads = group_mask(graph)
        self._sources = [[int(s) for s in row.nonzero()[0]] for row in reads]
        into = _slices(dense.in_features, len(reads))
        outof = _slices(dense.out_features, len(reads))
        self.blocks = nn.ModuleDict()
        for group, sources in enumerate(self._sources):
            for source in sources:
                own = source == group and dense.bias is not None
                rows, columns = outof[group], into[source]
                block = nn.Linear(columns.stop - columns.start, rows.stop - rows.start, own)
                with torch.no_grad():
                    block.weight.copy_(dense.weight[rows, columns])
                    if own:
                        block.bias.copy_(dense.bias[rows])
                self.blocks[f"{group}_{source}"] = block

    def forward(self, parts: list[Tensor]) -> list[Tensor]:
        """Groups of input features to groups of output features."""
        results = []
        for group, sources in enumerate(self._sources):
            total = self.blocks[f"{group}_{sources[0]}"](parts[sources[0]])
            for source in sources[1:]:
                total = total + self.blocks[f"{group}_{source}"](parts[source])
            results.append(total)
        return results


class BlockNetwork(nn.Module):
    """Relational layers in blocks between a dense stem and a dense head.

    A matrix product gives each group its inputs, so that no tensor is ever cut; the groups are
    joined by a concatenation before the head.
    """

    def __init__(self, graph: nx.Graph, inputs: int, width: int, layers: int, classes: int) -> None:
        super().__init__()
        sizes = [s.stop - s.start for s in _slices(width, len(graph))]
        self.stem = nn.ModuleList(nn.Linear(inputs, size) for size in sizes)
        self.layers = nn.ModuleList(
            BlockLinear(RelationalLinear(graph, width, width), graph) for _ in range(layers)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        parts = [F.relu(stem(x)) for stem in self.stem]
        for layer in self.layers:
            parts = [F.relu(part) for part in layer(parts)]
        result: Tensor = self.head(torch.cat(parts, 1))
        return result


def _slices(channels: int, groups: int) -> list[slice]:
    """The channels of every group; they lie together."""
    sizes = np.bincount(channel_groups(channels, groups)).tolist()
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
