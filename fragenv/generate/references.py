"""Cells to begin a search near: in NAS-Bench-201's notation, from a file, or a known network's.

The block of a zoo network is the part that it repeats, written as a cell: concatenations become
sums, activations and normalisations belong to the operators, a pool of stride 2 between blocks is
the skeleton's matter.
"""

from __future__ import annotations

from pathlib import Path

from fragenv.errors import FragenvError
from fragenv.generate import nb201
from fragenv.generate.architecture import (
    INPUT,
    OUTPUT,
    Architecture,
    Edge,
    load_architectures,
)


def _block(name: str, operators: tuple[str, ...], *edges: Edge) -> Architecture:
    return Architecture((INPUT, *operators, OUTPUT), edges, f"block of {name}")


#: by name of the zoo
BLOCKS = {
    block.origin.removeprefix("block of "): block
    for block in (
        _block("lenet", ("conv5x5",), (0, 1), (1, 2)),
        _block("alexnet", ("conv3x3", "conv3x3"), (0, 1), (1, 2), (2, 3)),
        _block("vgg16", ("conv3x3", "conv3x3"), (0, 1), (1, 2), (2, 3)),
        # two convolutions beside the identity (He et al., CVPR 2016)
        _block("resnet18", ("conv3x3", "conv3x3"), (0, 1), (1, 2), (2, 3), (0, 3)),
        _block(
            "resnet50", ("conv1x1", "conv3x3", "conv1x1"), (0, 1), (1, 2), (2, 3), (3, 4), (0, 4)
        ),
        # an inception; its two branches of 3x3 are one here
        _block(
            "googlenet",
            ("conv1x1", "conv1x1", "conv3x3", "maxpool3x3", "conv1x1"),
            *((0, 1), (0, 2), (2, 3), (0, 4), (4, 5), (1, 6), (3, 6), (5, 6)),
        ),
        _block(
            "squeezenet",
            ("conv1x1", "conv1x1", "conv3x3"),
            *((0, 1), (1, 2), (1, 3), (2, 4), (3, 4)),
        ),
        _block(
            "mobilenetv2",
            ("conv1x1", "depthwise3x3", "conv1x1"),
            *((0, 1), (1, 2), (2, 3), (3, 4), (0, 4)),
        ),
    )
}


def reference(name: str) -> Architecture:
    """The cell that ``name`` means: a network of ``BLOCKS``, a cell in the notation of
    ``nb201.text``, or a file of ``save_architectures``, of which the first is taken.

    Raises:
        FragenvError: it is none of these, or the file or the notation is damaged.
    """
    if name in BLOCKS:
        return BLOCKS[name]
    if "~" in name:
        return nb201.from_text(name)
    if Path(name).is_file():
        return load_architectures(Path(name))[0]
    raise FragenvError(
        f"unknown reference '{name}'; give a network ({', '.join(BLOCKS)}), a cell such as "
        f"'{nb201.text(('nor_conv_3x3',) * 6)}', or a file of architectures"
    )
