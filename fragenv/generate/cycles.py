"""Cycles of 10 to 20 nodes: the task on which DGMG is judged, with an exact answer.

A cycle is built as a path whose last node also meets the first one, so that there are eleven graphs
to learn, and the probability of a valid graph is the sum of theirs: no sampling needed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fragenv.generate.dgmg_model import Dgmg, DgmgConfig, Graphs, Recorded

SMALLEST, LARGEST = 10, 20
#: one node more than the largest cycle, so that stopping there is the model's own decision
CONFIG = DgmgConfig(max_nodes=LARGEST + 1)


def cycles() -> Graphs:
    """The eleven cycles, one of each size; their probabilities are equal."""
    sizes = torch.arange(SMALLEST, LARGEST + 1)
    most = CONFIG.max_nodes
    edges = torch.zeros(len(sizes), most, most, dtype=torch.bool)
    for row, size in enumerate(sizes.tolist()):
        edges[row, range(1, size), range(size - 1)] = True
        edges[row, size - 1, 0] = True
    types = torch.zeros(len(sizes), most, dtype=torch.long)
    return Graphs(sizes, types, edges, torch.full((len(sizes),), 1 / len(sizes)).log())


def valid_cycles(graphs: Graphs) -> Tensor:
    """(B,) whether a graph is a cycle of 10 to 20 nodes, numbered along it."""
    wanted = cycles()
    inside = (graphs.sizes >= SMALLEST) & (graphs.sizes <= LARGEST)
    row = (graphs.sizes - SMALLEST).clamp(0, LARGEST - SMALLEST)
    return inside & (graphs.edges == wanted.edges[row]).flatten(1).all(1)


@torch.no_grad()
def probability_of_a_cycle(model: Dgmg) -> float:
    """The exact probability that a sample of ``model`` is valid."""
    wanted = cycles()
    chooser = Recorded(wanted.sizes, wanted.types, wanted.edges, model.config.node_types)
    built = model.build(chooser, len(wanted.sizes))
    return float(built.log_probs.double().exp().sum())
