"""Scores that need no training, of many architectures at once.

* NASWOT (Mellor et al.: Neural Architecture Search without Training, ICML 2021): how differently
  the rectifiers of an untrained network answer to different images, as the logarithm of a
  determinant.
* log-synflow (Tanaka et al., NeurIPS 2020; as a score: Abdelfattah et al., ICLR 2021): the
  logarithm of the sum over all weights of |w * dR/dw|, where R is the sum of the outputs for an
  image of ones, weights made positive and without normalisation.

All architectures share one set of random weights, a tensor for each place (stage, node, operator),
and are an axis of the tensors: (frames, architectures, channels, rows, columns). A node's operator
runs once on all architectures that have it there. What the papers leave open is ours: the proxy
network (``ProxyConfig``), random images, every convolution's rectifier counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fragenv.generate.architecture import SKIP, Architecture
from fragenv.generate.counts import DEPTHWISE, KERNELS
from fragenv.generate.dense import NONE, DenseSpace

_COLOURS = 3


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """The network that is scored: one cell per stage. ``chunk`` architectures run at once."""

    channels: int = 8
    stages: int = 3
    image: int = 8
    frames: int = 16
    chunk: int = 48
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ZeroCostScores:
    """Both are larger for what is expected to be better."""

    naswot: float
    log_synflow: float


@dataclass(frozen=True, slots=True)
class Convolution:
    """Channels out, side of the kernel, stride, groups of channels, and whether a rectifier comes
    before and a normalisation after."""

    out: int
    kernel: int
    stride: int = 1
    groups: int = 1
    rectified: bool = True
    normalised: bool = True


class _Arithmetic(Protocol):
    """What the two scores do differently at a convolution."""

    def convolution(self, place: str, x: Tensor, rows: Tensor, shape: Convolution) -> Tensor:
        """Of (f, r, c, h, w) values of the architectures ``rows``, with the weights of a place."""
        ...


class ZeroCost:
    """Scores of architectures of one extended space.

    >>> from fragenv.generate import nb201
    >>> cells = [nb201.from_choices(c) for c in nb201.runnable_choices()[:2]]
    >>> len(list(ZeroCost(DenseSpace()).scores(cells)))
    2
    """

    def __init__(self, space: DenseSpace, config: ProxyConfig | None = None) -> None:
        self.space, self.config = space, config or ProxyConfig()
        self._weight = cache(self._drawn_weight)

    @torch.no_grad()
    def scores(self, architectures: Sequence[Architecture]) -> Iterator[ZeroCostScores]:
        """One after the other; a chunk is computed when its first is asked for.

        Raises:
            ArchitectureError: an architecture that the space has no place for.
        """
        for start in range(0, len(architectures), self.config.chunk):
            types, edges = self._encoded(architectures[start : start + self.config.chunk])
            naswot = self._naswot(types, edges)
            synflow = self._log_synflow(types, edges)
            for pair in zip(naswot.tolist(), synflow.tolist(), strict=True):
                yield ZeroCostScores(*pair)

    def weight(self, place: str, inputs: int, outputs: int, kernel: int) -> Tensor:
        """The weights at a place, (outputs, inputs, kernel, kernel), of variance 2 / fan in (He et
        al., ICCV 2015)."""
        return self._weight(place, inputs, outputs, kernel)

    def images(self) -> Tensor:
        """(frames, 3, image, image) standard normal."""
        config = self.config
        generator = torch.Generator().manual_seed(config.seed)
        shape = (config.frames, _COLOURS, config.image, config.image)
        return torch.randn(shape, generator=generator)

    def _drawn_weight(self, place: str, inputs: int, outputs: int, kernel: int) -> Tensor:
        digits = np.frombuffer(place.encode(), np.uint8).tolist()
        rng = np.random.default_rng([self.config.seed, *digits])
        drawn = rng.standard_normal((outputs, inputs, kernel, kernel))
        return torch.from_numpy(drawn * (2 / (inputs * kernel**2)) ** 0.5).float()

    def _encoded(self, architectures: Sequence[Architecture]) -> tuple[Tensor, Tensor]:
        """(K, nodes) types and (K, nodes, nodes) edges, without what has no effect."""
        types = np.zeros((len(architectures), self.space.nodes), np.int64)
        edges = np.zeros((len(architectures), self.space.nodes, self.space.nodes), np.bool_)
        for row, architecture in enumerate(architectures):
            types[row], edges[row] = self.space.encode(architecture)
            for node in range(1, len(architecture) - 1):
                if node not in architecture.live:
                    types[row, node] = self.space.node_types.index(NONE)
                    edges[row, node], edges[row, :, node] = False, False
        return torch.from_numpy(types), torch.from_numpy(edges)

    def _naswot(self, types: Tensor, edges: Tensor) -> Tensor:
        config, count = self.config, len(types)
        arithmetic = _Codes(self.weight, torch.zeros(count, config.frames, config.frames))
        images = self.images()[:, None].expand(-1, count, -1, -1, -1)
        last = self._network(arithmetic, images, types, edges)
        arithmetic.note(_normalised(last), torch.arange(count))
        result: Tensor = torch.linalg.slogdet(arithmetic.kernels.double()).logabsdet
        return result

    def _log_synflow(self, types: Tensor, edges: Tensor) -> Tensor:
        config, count = self.config, len(types)
        ones = torch.ones(1, count, _COLOURS, config.image, config.image, dtype=torch.float64)
        start = torch.cat([ones, torch.zeros_like(ones)])
        last = self._network(_Derivatives(self.weight), start, types, edges)
        # a head of one class with all weights 1: its own weights count once more
        value, derivative = last.mean((3, 4)).sum(2)
        result: Tensor = (value + derivative).log()
        return result

    def _network(self, do: _Arithmetic, x: Tensor, types: Tensor, edges: Tensor) -> Tensor:
        everyone = torch.arange(len(types))
        channels = self.config.channels
        x = do.convolution("stem", x, everyone, Convolution(channels, 3, rectified=False))
        for stage in range(self.config.stages):
            if stage:
                channels *= 2
                place = f"reduction{stage}"
                inner = do.convolution(f"{place}.0", x, everyone, Convolution(channels, 3, 2))
                inner = do.convolution(f"{place}.1", inner, everyone, Convolution(channels, 3))
                shortcut = _split(F.avg_pool2d(x.flatten(0, 1), 2), x)
                straight = Convolution(channels, 1, rectified=False, normalised=False)
                x = inner + do.convolution(f"{place}.s", shortcut, everyone, straight)
            x = self._cell(do, f"stage{stage}", x, types, edges)
        return x

    def _cell(self, do: _Arithmetic, place: str, x: Tensor, types: Tensor, edges: Tensor) -> Tensor:
        values = [x]
        for node in range(1, self.space.nodes):
            total = torch.zeros_like(x)
            for source in range(node):
                rows = edges[:, source, node].nonzero()[:, 0]
                if len(rows):
                    total.index_add_(1, rows, values[source][:, rows])
            if node == self.space.nodes - 1:
                break
            result = torch.zeros_like(x)
            for number, op in enumerate(self.space.node_types):
                rows = (types[:, node] == number).nonzero()[:, 0]
                if op in self.space.operators and len(rows):
                    result[:, rows] = _operate(do, f"{place}.{node}.{op}", op, total, rows)
            values.append(result)
        return total


def _operate(do: _Arithmetic, place: str, op: str, total: Tensor, rows: Tensor) -> Tensor:
    """An operator on the architectures ``rows`` of (f, K, c, h, w) sums."""
    x = total[:, rows]
    if op == SKIP:
        return x
    if op in KERNELS:
        channels = x.shape[2]
        groups = channels if op in DEPTHWISE else 1
        return do.convolution(place, x, rows, Convolution(channels, KERNELS[op], groups=groups))
    flat = x.flatten(0, 1)
    if op == "avgpool3x3":
        flat = F.avg_pool2d(flat, 3, 1, 1, count_include_pad=False)
    else:
        flat = F.max_pool2d(flat, 3, 1, 1)
    return _split(flat, x)


def _convolved(x: Tensor, weight: Tensor, shape: Convolution) -> Tensor:
    """(f, r, c, h, w) by a shared weight."""
    flat = F.conv2d(
        x.flatten(0, 1), weight, None, shape.stride, shape.kernel // 2, groups=shape.groups
    )
    return _split(flat, x)


def _normalised(x: Tensor) -> Tensor:
    """Batch normalisation of each architecture by itself."""
    flat = F.batch_norm(x.flatten(1, 2), None, None, training=True)
    return flat.reshape(x.shape)


def _split(flat: Tensor, like: Tensor) -> Tensor:
    """(f * r, c, h, w) as (f, r, c, h, w), with f and r of ``like``."""
    return flat.reshape(*like.shape[:2], *flat.shape[1:])


Weights = Callable[[str, int, int, int], Tensor]


class _Codes:
    """Convolutions with normalisation that note which rectifiers are on."""

    def __init__(self, weight: Weights, kernels: Tensor) -> None:
        self._weight = weight
        self.kernels = kernels  # (K, frames, frames): for each pair, rectifiers that agree

    def note(self, x: Tensor, rows: Tensor) -> None:
        """``x`` is what a rectifier reads, (f, r, c, h, w)."""
        signs = torch.where(x > 0, 1.0, -1.0).transpose(0, 1).flatten(2)
        self.kernels.index_add_(0, rows, (signs.shape[2] + signs @ signs.transpose(1, 2)) / 2)

    def convolution(self, place: str, x: Tensor, rows: Tensor, shape: Convolution) -> Tensor:
        weight = self._weight(place, x.shape[2] // shape.groups, shape.out, shape.kernel)
        if shape.rectified:
            self.note(x, rows)
            x = x.relu()
        result = _convolved(x, weight, shape)
        return _normalised(result) if shape.normalised else result


class _Derivatives:
    """Values and their derivatives by a common factor t of all weights, at t = 1.

    R(t * w) is a polynomial in every weight of degree one, so that the sum of w * dR/dw is dR/dt;
    of a product W x it is W x + W x', and rectifiers of positive sums change nothing.
    """

    def __init__(self, weight: Weights) -> None:
        self._weight = weight

    def convolution(self, place: str, x: Tensor, rows: Tensor, shape: Convolution) -> Tensor:
        weight = (
            self._weight(place, x.shape[2] // shape.groups, shape.out, shape.kernel).double().abs()
        )
        return _convolved(torch.stack([x[0], x[0] + x[1]]), weight, shape)
