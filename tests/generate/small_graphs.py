"""All graphs of a few nodes, as tensors."""

from __future__ import annotations

from itertools import product

import torch

from fragenv.generate.dgmg_model import Graphs


def every_graph(types: int, most: int) -> Graphs:
    """All graphs of up to ``most`` nodes: each type at each node, each set of edges backwards."""
    sizes, kinds, edges = [], [], []
    for size in range(most + 1):
        pairs = [(i, j) for i in range(size) for j in range(i)]
        for chosen in product(range(types), repeat=size):
            for bits in product((False, True), repeat=len(pairs)):
                matrix = torch.zeros(most, most, dtype=torch.bool)
                for (i, j), bit in zip(pairs, bits, strict=True):
                    matrix[i, j] = bit
                sizes.append(size)
                kinds.append([*chosen, *[0] * (most - size)])
                edges.append(matrix)
    return Graphs(
        torch.tensor(sizes), torch.tensor(kinds), torch.stack(edges), torch.zeros(len(sizes))
    )
