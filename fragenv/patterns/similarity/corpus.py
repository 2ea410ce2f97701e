"""Typed graphs of networks: what similarity is trained on and judged by."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fragenv.graph.dataflow import DataflowGraph
from fragenv.patterns.discover import discover
from fragenv.patterns.similarity.generate import mutated, random_graph, random_piece
from fragenv.patterns.similarity.typed import TypedGraph, typed_graph

#: networks of the zoo that the encoder is trained on; its judges are of other families (ResNet,
#: Inception, DenseNet)
TRAINING_NETWORKS = (
    *("alexnet", "alexnet_lrn", "vgg16", "squeezenet", "mobilenetv2", "lenet", "lenet_avg"),
)
#: operators of the largest graphs, so that their distances can be computed exactly
MOST_OPERATORS = 7
_DEPTH = 3
#: graphs of a block, by origin: mutations of the first, others of networks, pieces of random
#: modules, random ones
_MUTATIONS, _OTHERS, _PIECES, _RANDOM = 4, 4, 5, 2
BLOCK = 1 + _MUTATIONS + _OTHERS + _PIECES + _RANDOM


def network_graphs(
    graph: DataflowGraph, most: int = MOST_OPERATORS, places: int = 3, depth: int = _DEPTH
) -> list[TypedGraph]:
    """The patterns of a network, each with the loop bounds of up to ``places`` occurrences, spread
    evenly; equal ones once."""
    found: dict[object, TypedGraph] = {}
    for mined in discover(graph, depth, min_occurrences=1, max_operators=most):
        count = len(mined.occurrences)
        for number in range(min(places, count)):
            typed = typed_graph(graph, mined.occurrences[number * count // min(places, count)])
            kinds = tuple((op.kind, op.nest) for op in typed.operators)
            found.setdefault((kinds, typed.edges), typed)
    return list(found.values())


def training_blocks(
    networks: Sequence[TypedGraph], count: int, seed: int, most: int = MOST_OPERATORS
) -> list[list[TypedGraph]]:
    """``count`` lists of ``BLOCK`` graphs: a first one and mutations of it, some of networks, some
    of random modules, and random ones, so that the pairs of a block are at all distances. The first
    is of a network and of a random module in turns."""
    chance = random.Random(seed)
    blocks = []
    for number in range(count):
        first = random_piece(chance, most) if number % 2 else chance.choice(networks)
        block = [first]
        block += [mutated(chance, first, chance.randint(1, 4), most) for _ in range(_MUTATIONS)]
        block += [chance.choice(networks) for _ in range(_OTHERS)]
        block += [random_piece(chance, most) for _ in range(_PIECES)]
        block += [random_graph(chance, most) for _ in range(_RANDOM)]
        blocks.append(block)
    return blocks
