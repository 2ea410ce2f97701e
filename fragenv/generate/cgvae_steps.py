"""The decisions by which CGVAE wires nodes, and which of them are legal.

The graph is written from the output backwards: a queue holds the nodes whose sources are still to
be chosen, in the order in which they were reached. Its first node, the focus, takes one source
after the other, then stops, and its sources are final. A source that is reached for the first time
joins the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fragenv.generate.dgmg_model import Graphs


@dataclass(frozen=True, slots=True)
class Steps:
    """K decisions on graphs of N nodes.

    ``graph``: (K,) the row of the graph. ``edges``: (K, N, N) what is wired so far [reader,
    source]. ``focus``: (K,) nodes. ``choice``: (K,) the source that is taken, or N to stop.
    """

    graph: Tensor
    edges: Tensor
    focus: Tensor
    choice: Tensor


def steps_of(graphs: Graphs, seed: int) -> list[Steps]:
    """The decisions that wire each graph, sources in an order drawn from ``seed``. Every node of
    the graphs must be on a path from the first node to the last."""
    generator = torch.Generator().manual_seed(seed)
    return [
        _steps_of(row, int(size), graphs.edges[row], generator)
        for row, size in enumerate(graphs.sizes.tolist())
    ]


def _steps_of(row: int, size: int, edges: Tensor, generator: torch.Generator) -> Steps:
    most = len(edges)
    wired = torch.zeros_like(edges)
    before, focuses, choices = [], [], []
    queue = [size - 1]
    for focus in queue:  # grows while it is walked
        sources = edges[focus].nonzero()[:, 0]
        shuffled = sources[torch.randperm(len(sources), generator=generator)].tolist()
        for choice in (*shuffled, most):
            before.append(wired.clone())
            focuses.append(focus)
            choices.append(choice)
            if choice < most:
                wired[focus, choice] = True
        queue += [source for source in shuffled if source and source not in queue]
    return Steps(
        torch.full((len(focuses),), row),
        torch.stack(before),
        torch.tensor(focuses),
        torch.tensor(choices),
    )


def joined(parts: Sequence[Steps]) -> Steps:
    """The decisions of several graphs, whose rows become 0, 1, ..."""
    rows = [torch.full_like(part.graph, row) for row, part in enumerate(parts)]
    return Steps(
        torch.cat(rows),
        torch.cat([part.edges for part in parts]),
        torch.cat([part.focus for part in parts]),
        torch.cat([part.choice for part in parts]),
    )


def legal(edges: Tensor, focus: Tensor, sizes: Tensor, arity: Tensor) -> Tensor:
    """(K, N + 1) which sources the focus may take, and whether it may stop.

    A source is a node of the graph but the last (the output), not one the focus has already, and
    not one that the focus feeds, which would close a cycle. The focus takes no more than ``arity``,
    (K,), and stops with one source at least: so that whatever is reached lies on a path from the
    input (node 0, which is always a legal source) to the output.
    """
    count, most, _ = edges.shape
    rows, nodes = torch.arange(count), torch.arange(most)
    fed = edges | torch.eye(most, dtype=torch.bool)
    for _ in range(max(1, (most - 1).bit_length())):  # paths of 2, 4, 8 ... edges
        fed = (fed.float() @ fed.float()) > 0
    taken = edges[rows, focus]
    sources = (nodes < sizes[:, None] - 1) & ~taken & ~fed[rows, :, focus]
    sources &= (taken.sum(1) < arity)[:, None]
    return torch.cat([sources, taken.any(1)[:, None]], 1)
