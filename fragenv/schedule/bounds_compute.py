"""The least time in which a chip's region does all the work: a price for every circuit.

At any time a set of fragments is bound that fits the region, and each of their circuits does one
RUN at a time. Let every circuit have a price per cycle such that no set that fits costs more than
1. A schedule of T cycles then spends at most T, and every operator spends at least its cheapest
cycles x price: T is at least the sum. The best prices are the dual of the linear program that
says how long each set is bound (configuration linear program, Gilmore and Gomory, Operations
Research 9, 1961). Sets are priced out one by one, each by a small integer program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from fragenv.schedule.problem import MAX_SLOTS

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem

#: a circuit: fragment, number of its part
Circuit = tuple[int, int]
#: sets priced out at most; prices are made feasible whatever happens
MAX_SETS = 200


def circuit_prices(
    problem: Problem, cycles: list[Mapping[Circuit, int]]
) -> tuple[dict[Circuit, float], float]:
    """The prices, and what all work costs at them: a lower bound on the latency in cycles.

    Args:
        problem: whose region and fragments they are.
        cycles: per piece of work the cycles on each circuit that can do it, at least.
    """
    circuits = sorted({c for work in cycles for c in work})
    if not circuits:
        return {}, 0.0
    column = {c: i for i, c in enumerate(circuits)}
    fragments = sorted({f for f, _ in circuits})
    # prices are scaled to a sum of about 1; variables: prices, then what each piece costs
    unit = max(sum(min(w.values()) for w in cycles if w), 1)
    count, works = len(circuits), len(cycles)
    rows, limits = [], []
    for number, work in enumerate(cycles):
        for circuit, needed in work.items():
            row = np.zeros(count + works)
            row[count + number], row[column[circuit]] = 1.0, -needed / unit
            rows.append(row)
            limits.append(0.0)
        if not work:
            row = np.zeros(count + works)
            row[count + number] = 1.0
            rows.append(row)
            limits.append(0.0)
    prices = np.zeros(count)
    for _ in range(MAX_SETS):
        goal = np.r_[np.zeros(count), -np.ones(works)]
        bounds = [(0.0, 1.0)] * count + [(0.0, None)] * works
        found = linprog(goal, np.array(rows), np.array(limits), bounds=bounds)
        prices = found.x[:count]
        chosen, cost = _dearest_set(problem, fragments, column, prices)
        if cost <= 1.0 + 1e-9:
            break
        row = np.zeros(count + works)
        for fragment, part in circuits:
            if fragment in chosen:
                row[column[fragment, part]] = 1.0
        rows.append(row)
        limits.append(1.0)
    _, cost = _dearest_set(problem, fragments, column, prices)
    prices = prices / max(1.0, cost) * (1 - 1e-9)
    priced = {c: float(prices[i]) for c, i in column.items()}
    total = sum(min(n * priced[c] for c, n in work.items()) for work in cycles if work)
    return priced, total


def _dearest_set(
    problem: Problem, fragments: list[int], column: Mapping[Circuit, int], prices: np.ndarray
) -> tuple[frozenset[int], float]:
    """The set of fragments that fits the region and costs most, and what it costs."""
    values = np.array(
        [sum(prices[i] for (f, _), i in column.items() if f == one) for one in fragments]
    )
    region = problem.region
    areas = [problem.areas[f] for f in fragments]
    table = np.array(
        [
            [a.multipliers for a in areas],
            [a.lut for a in areas],
            [a.local_bytes for a in areas],
            [1] * len(areas),
        ],
        dtype=float,
    )
    limits = np.array([region.multipliers, region.lut, region.local_bytes, MAX_SLOTS], dtype=float)
    found = milp(
        -values,
        constraints=LinearConstraint(table, -np.inf, limits),
        integrality=np.ones(len(fragments)),
        bounds=Bounds(0, 1),
    )
    chosen = frozenset(f for f, x in zip(fragments, found.x, strict=True) if x > 0.5)
    # the solver's bound, not its solution, so that a tolerance cannot make a price too high
    return chosen, float(max(-found.fun, -found.mip_dual_bound))
