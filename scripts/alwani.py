"""A published fused pipeline beside ours: the head of VGGNet-E, row by row.

Alwani, Chen, Ferdman and Milder, "Fused-layer CNN accelerators", MICRO 2016, fuse the first five
convolutions of VGGNet-E (VGG-19) with the two poolings between them, in 32-bit floating point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fragenv.graph.builder import GraphBuilder, Value
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.windows import Window
from fragenv.schedule.fused import RowPlan, inner_wires
from fragenv.schedule.layers import FusedShape, Wire, split

#: bytes of an element in the paper; ours are int8 everywhere else
ELEMENT_BYTES = 4
#: of the paper's abstract, in binary units (only so its own recurrences give them): feature maps
#: moved per image, fused and by its unfused accelerator, and the storage that fusing takes
PAPER_FUSED_MB, PAPER_UNFUSED_MB, PAPER_BUFFER_KB = 3.6, 77, 362

_CONV = Window((3, 3), (1, 1), (1, 1, 1, 1))
_POOL = Window((2, 2), (2, 2), (0, 0, 0, 0))
#: output channels, and whether a pooling follows
_LAYERS = ((64, False), (64, True), (128, False), (128, True), (256, False))


class Head(NamedTuple):
    """Bytes per image of the fused head, ``ELEMENT_BYTES`` an element."""

    #: the group's input and output
    traffic: int
    #: rows that stay in the buffer from one tile to the next, of the input and between layers
    kept: int
    #: the rings: those rows, and a tile's new ones
    rings: int


@dataclass(frozen=True, slots=True)
class Unfused:
    """Bytes per image where every feature map goes to DRAM and comes back once."""

    #: each pooling in the pass of the convolution before it
    pools_joined: int
    #: each pooling as a pass of its own
    pools_apart: int


def vgg19_head() -> DataflowGraph:
    """The first five convolutions of VGG-19 with two poolings, 224 x 224."""
    builder = GraphBuilder()
    x: Value = builder.input("x", (3, 224, 224))
    for i, (channels, pooled) in enumerate(_LAYERS):
        x = builder.conv(f"conv{i}", x, f"t{i}", channels, _CONV)
        x = builder.relu(f"relu{i}", x, f"r{i}")
        if pooled:
            x = builder.max_pool(f"pool{i}", x, f"p{i}", _POOL, False)
    return builder.finish("vgg19_head", [x])


def head_layers() -> FusedShape:
    """The head as the layers of one task; a chip's tasks have fewer."""
    graph = vgg19_head()
    names = [op.name for op in graph.operators]
    pattern = split(graph, names, {}, max_layers=len(_LAYERS))
    assert pattern is not None
    return pattern.shape


def fused_head(rows: int = 1) -> Head:
    """Our figures, ``rows`` output rows a tile."""
    shape = head_layers()
    plan = RowPlan(shape, rows)
    wires = [Wire(False, i) for i in range(len(shape.inputs))] + inner_wires(shape)
    read = sum(plan.ring(w, 0).frame_rows * plan.ring(w, 0).row_bytes for w in wires[:1])
    written = sum(layer.shape.out_bytes for layer in shape.layers if layer.leaves)
    # a maker that is a tile behind: what the tiles before have left
    kept = sum(plan.ring(w, -1).bytes for w in wires)
    rings = sum(plan.ring(w, 0).bytes for w in wires)
    return Head(*(ELEMENT_BYTES * size for size in (read + written, kept, rings)))


def unfused_head() -> Unfused:
    """What layers one by one move, nothing read twice."""
    graph = vgg19_head()
    sizes = {op.output: graph.tensors[op.output].bytes for op in graph.operators}
    joined = apart = graph.tensors["x"].bytes
    for op in graph.operators:
        pooled = any(graph.op(c).name.startswith("pool") for c in graph.consumers[op.output])
        if op.name.startswith("conv"):
            continue
        # what leaves the pass, and is read again unless it is the last
        size = sizes[op.output] * (2 if graph.consumers[op.output] else 1)
        apart += size
        joined += 0 if pooled else size
    return Unfused(joined * ELEMENT_BYTES, apart * ELEMENT_BYTES)


def report() -> list[str]:
    """The comparison as Markdown."""
    ours, one_by_one = fused_head(), unfused_head()
    mb, kb = 2**20, 2**10
    rows = (
        ("feature maps moved, fused", f"{PAPER_FUSED_MB} MB", f"{ours.traffic / mb:.1f} MB"),
        ("rows kept from tile to tile", f"{PAPER_BUFFER_KB} KB", f"{ours.kept / kb:.0f} KB"),
        ("rings, a tile's new rows included", "", f"{ours.rings / kb:,.0f} KB"),
        ("moved by the paper's unfused accelerator", f"{PAPER_UNFUSED_MB} MB", ""),
        ("moved layer by layer, poolings joined", "", f"{one_by_one.pools_joined / mb:.1f} MB"),
        ("moved layer by layer, poolings apart", "", f"{one_by_one.pools_apart / mb:.1f} MB"),
    )
    return [
        "| per image, float32, MB of 2^20 bytes | paper | ours |",
        "|---|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        "The first five convolutions of VGG-19 and their two poolings as one task, one output",
        "row a tile. The paper's 362 KB agree with what its tiles leave for later ones: two rows",
        "of every map that a 3 x 3 kernel reads (ours are the same rows) and two columns beside",
        "its small square tile. Our tiles are as wide as the map and leave no columns, but their",
        "new rows take more room: most for the first tile, which fills all windows at once. The",
        "paper's 77 MB are those of an accelerator that tiles every layer; every map moved once",
        "takes what the last two lines say.",
    ]
