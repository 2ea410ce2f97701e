"""Parameters and multiply-accumulates of an architecture's network, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from fragenv.generate.architecture import Architecture
from fragenv.generate.skeleton import Skeleton

#: sides of the kernels of the operators that multiply
KERNELS = {"conv1x1": 1, "conv3x3": 3, "conv5x5": 5, "depthwise3x3": 3}
#: those that keep channels apart
DEPTHWISE = frozenset({"depthwise3x3"})


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one network: weights, biases and normalisations; multiply-accumulates of one frame."""

    parameters: int
    macs: int


def counts(architecture: Architecture, skeleton: Skeleton) -> Counts:
    """What ``build_network`` and ``build_graph`` give, without building anything.

    Multiply-accumulates are those of convolutions and of the head's product. Normalisations are
    folded into convolutions; the head's, where it cannot be, is not counted.
    """
    colours, rows, columns = skeleton.input_shape
    channels, pixels = skeleton.channels, rows * columns
    parameters = colours * channels * 9 + 2 * channels
    macs = colours * channels * 9 * pixels
    live = [architecture.ops[node] for node in architecture.live]
    for stage in range(skeleton.stages):
        if stage:
            pixels //= 4
            # a 3x3 of stride 2, a 3x3, and a 1x1 in the shortcut
            weights = (
                channels * 2 * channels * 9 + (2 * channels) ** 2 * 9 + channels * 2 * channels
            )
            parameters += weights + 2 * 2 * (2 * channels)
            macs += weights * pixels
            channels *= 2
        for op in live:
            if op in KERNELS:
                inputs = 1 if op in DEPTHWISE else channels
                weights = inputs * channels * KERNELS[op] ** 2
                parameters += skeleton.cells_per_stage * (weights + 2 * channels)
                macs += skeleton.cells_per_stage * weights * pixels
    parameters += 2 * channels + (channels + 1) * skeleton.classes
    macs += channels * skeleton.classes
    return Counts(parameters, macs)
