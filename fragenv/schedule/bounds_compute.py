"""The least time in which a chip's region does all the work: a price for every circuit.

At any time the circuits that are bound, configured or still running after their eviction fit the
region together, and each does one RUN at a time. One circuit may be there more than once, evicted
and bound again beside itself. Let every circuit have a price per cycle such that no collection that
fits costs more than 1. A schedule of T cycles then spends at most T, and every operator spends at
least its cheapest cycles x price: T is at least the sum. The best prices are the dual of the linear
program that says how long each collection is there (Gilmore and Gomory's linear program for cutting
stock, Operations Research 9, 1961). Collections are priced out one by one, each by a small integer
program, a knapsack of three resources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

if TYPE_CHECKING:
    from fragenv.schedule.problem import Problem

#: a circuit: fragment, number of its part
Circuit = tuple[int, int]
#: sets priced out at most; prices are made feasible whatever happens
MAX_SETS = 200


def circuit_prices(
    problem: Problem, cycles: Sequence[Mapping[Circuit, int]]
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
        counts, cost = _dearest(problem, circuits, prices)
        if cost <= 1.0 + 1e-9:
            break
        rows.append(np.r_[counts, np.zeros(works)])
        limits.append(1.0)
    _, cost = _dearest(problem, circuits, prices)
    prices = prices / max(1.0, cost) * (1 - 1e-9)
    priced = {c: float(prices[i]) for c, i in column.items()}
    total = sum(min(n * priced[c] for c, n in work.items()) for work in cycles if work)
    return priced, total


def _dearest(
    problem: Problem, circuits: list[Circuit], prices: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], float]:
    """How many of each circuit fit the region and cost most together, and what they cost."""
    region = problem.region
    areas = [problem.part_areas[fragment][part] for fragment, part in circuits]
    table = np.array(
        [
            [a.multipliers for a in areas],
            [a.lut for a in areas],
            [a.local_bytes for a in areas],
        ],
        dtype=float,
    )
    limits = np.array([region.multipliers, region.lut, region.local_bytes], dtype=float)
    found = milp(
        -prices,
        constraints=LinearConstraint(table, -np.inf, limits),
        integrality=np.ones(len(circuits)),
        bounds=Bounds(0, np.inf),
    )
    # the solver's bound, not its solution, so that a tolerance cannot make a price too high
    return np.round(found.x), float(max(-found.fun, -found.mip_dual_bound))
