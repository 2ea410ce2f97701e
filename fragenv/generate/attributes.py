"""The attributes of architectures: those of all cells from the table, those of any by measurement.

``naswot`` and ``log_synflow`` are the means of three initialisations, ``parameters`` and ``macs``
those of the default skeleton's network, ``latency_cycles_<chip>`` the cycles of its quick schedule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fragenv.errors import FragenvError
from fragenv.generate import canonical, nb201
from fragenv.generate.architecture import Architecture
from fragenv.generate.counts import counts
from fragenv.generate.dense import DenseSpace
from fragenv.generate.generator import Attributes
from fragenv.generate.latency import LatencyOracle
from fragenv.generate.latency_table import functions
from fragenv.generate.skeleton import Skeleton
from fragenv.generate.table import cell_scores
from fragenv.generate.zero_cost import ProxyConfig, ZeroCost

_PROXIES = ("naswot", "log_synflow")
_COUNTS = ("parameters", "macs")
#: begins the name of an attribute; the name of a chip ends it
LATENCY = "latency_cycles_"
_SEEDS = 3
#: functions of so few operators are all labelled: they are few, and unlike all others
_FEW_OPERATORS = 2


@lru_cache(maxsize=1)
def cell_attributes() -> dict[nb201.Choices, Attributes]:
    """What the table knows of every runnable cell, with ``parameters`` and ``macs``, by name."""
    return {
        choices: dict(sorted({**scores, **_counted(nb201.from_choices(choices))}.items()))
        for choices, scores in cell_scores().items()
    }


@lru_cache(maxsize=1)
def equal_cells() -> tuple[tuple[nb201.Choices, ...], ...]:
    """All runnable cells, those of one function together."""
    groups: defaultdict[int, list[nb201.Choices]] = defaultdict(list)
    for choices, function in zip(nb201.runnable_choices(), functions()[1].tolist(), strict=True):
        groups[function].append(choices)
    return tuple(tuple(group) for group in groups.values())


def cells_to_label(share: float, seed: int) -> tuple[tuple[nb201.Choices, ...], ...]:
    """A choice of at most ``share`` of all cells, each followed by the cells of the same function.

    All functions of up to two operators are among them, and of those with more one for each number
    of operators of every type; the others are drawn. No label is looked at. Only the first of each
    group needs a label: the others' are equal.
    """
    rng = np.random.default_rng(seed)
    groups = equal_cells()
    operators = [tuple(sorted(_operators(group[0]))) for group in groups]
    drawn = rng.permutation(len(groups)).tolist()
    few = [i for i in drawn if len(operators[i]) <= _FEW_OPERATORS]
    first = {operators[i]: i for i in reversed(drawn) if len(operators[i]) > _FEW_OPERATORS}
    order = dict.fromkeys([*few, *first.values(), *drawn])
    count = int(share * len(nb201.runnable_choices()))
    return tuple(groups[i] for i in list(order)[:count])


def _operators(choices: nb201.Choices) -> tuple[str, ...]:
    """What a cell computes, without input, output and what has no effect."""
    return canonical.reduced(nb201.from_choices(choices))[0][1:-1]


class AttributeOracle:
    """Measures attributes of any architecture of the extended space.

    >>> from fragenv.generate import nb201
    >>> cell = nb201.from_choices(("nor_conv_3x3",) * 6)
    >>> AttributeOracle(("parameters",))(cell)
    {'parameters': 91986.0}

    Args:
        names: what to measure. Latency takes about a second for each chip.

    Raises:
        FragenvError: an unknown name.
        ChipError: an unknown chip.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._latency = {
            name: LatencyOracle(name.removeprefix(LATENCY))
            for name in names
            if name.startswith(LATENCY)
        }
        plain = (*_PROXIES, *_COUNTS)
        for name in self.names:
            if name not in plain and name not in self._latency:
                raise FragenvError(
                    f"cannot measure '{name}'; known are {', '.join(plain)}, {LATENCY}<chip>"
                )

    def __call__(self, architecture: Architecture) -> dict[str, float]:
        found: dict[str, float] = {}
        if any(name in _PROXIES for name in self.names):
            found |= _proxies(architecture)
        if any(name in _COUNTS for name in self.names):
            found |= _counted(architecture)
        for name, oracle in self._latency.items():
            found[name] = float(oracle(architecture))
        return {name: found[name] for name in self.names}


@lru_cache(maxsize=1)
def _scorers() -> tuple[ZeroCost, ...]:
    return tuple(ZeroCost(DenseSpace(), ProxyConfig(seed=seed)) for seed in range(_SEEDS))


def _proxies(architecture: Architecture) -> dict[str, float]:
    scores = [next(scorer.scores([architecture])) for scorer in _scorers()]
    return {
        "naswot": float(np.mean([s.naswot for s in scores])),
        "log_synflow": float(np.mean([s.log_synflow for s in scores])),
    }


def _counted(architecture: Architecture) -> dict[str, float]:
    found = counts(architecture, Skeleton())
    return {"parameters": float(found.parameters), "macs": float(found.macs)}
