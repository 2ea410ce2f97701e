"""Corpora to learn from: the cells of NAS-Bench-201, and randomly wired architectures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from fragenv.generate import nb201
from fragenv.generate.architecture import INPUT, OUTPUT, Architecture
from fragenv.generate.canonical import Distinct
from fragenv.generate.dense import DenseSpace
from fragenv.generate.generator import Attributes
from fragenv.generate.table import cell_scores
from fragenv.generate.ws_flex import WsFlexGenerator
from fragenv.generate.zero_cost import ProxyConfig, ZeroCost

#: architectures in ``wired``
WIRED = 3000
#: how many operators they have
_OPERATORS = (5, 6, 7)


def pruned(architecture: Architecture) -> Architecture:
    """The architecture without the nodes that have no effect."""
    held = sorted(architecture.live)
    place = {node: i for i, node in enumerate(held)}
    edges = tuple(
        (place[src], place[dst]) for src, dst in architecture.edges if src in place and dst in place
    )
    return Architecture(tuple(architecture.ops[node] for node in held), edges, architecture.origin)


@lru_cache(maxsize=1)
def cells() -> tuple[tuple[Architecture, ...], tuple[Attributes, ...]]:
    """One cell for each of the 5,424 functions of NAS-Bench-201, pruned, and its scores."""
    scores, distinct = cell_scores(), Distinct()
    found, known = [], []
    for choices in nb201.runnable_choices():
        cell = nb201.from_choices(choices)
        if distinct.add(cell):
            found.append(pruned(cell))
            known.append(scores[choices])
    return tuple(found), tuple(known)


@lru_cache(maxsize=4)
def wired(count: int = WIRED, seed: int = 0) -> tuple[Architecture, ...]:
    """Different functions of five to seven operators of NAS-Bench-201, wired at random (WS-flex).

    There are far more of them than anyone draws: what is drawn anew is new.
    """
    source, rng, distinct = WsFlexGenerator(), np.random.default_rng(seed), Distinct()
    source.fit([_chain((nb201.OPERATORS * 2)[:size]) for size in _OPERATORS], None, seed)
    found: list[Architecture] = []
    while len(found) < count:
        drawn = source.sample(count - len(found), rng=rng).architectures
        found += [architecture for architecture in drawn if distinct.add(architecture)]
    return tuple(found)


def _chain(operators: Sequence[str]) -> Architecture:
    edges = tuple((node, node + 1) for node in range(len(operators) + 1))
    return Architecture((INPUT, *operators, OUTPUT), edges)


def naswot(architectures: Sequence[Architecture], seeds: int = 1) -> list[float]:
    """NASWOT of architectures of the extended space, the mean over initialisations as in the table
    (which has three)."""
    total = np.zeros(len(architectures))
    for seed in range(seeds):
        config = ProxyConfig()
        scorer = ZeroCost(DenseSpace(), replace(config, seed=config.seed + seed))
        total += [scores.naswot for scores in scorer.scores(architectures)]
    return [float(score) for score in total / seeds]
