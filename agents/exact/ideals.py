"""Dynamic programming over order ideals: the best cover of a network by tasks whose costs add up.

An ideal is a set of operators with all that they depend on; a schedule walks from the empty one to
the whole network, a task at a time. Where a task costs the same wherever it stands, the cheapest
walk is found exactly (Tarnawski et al., "Efficient algorithms for device placement of DNN graph
operators", NeurIPS 2020). Here tasks cost what they cost alone, inputs and outputs in DRAM: an
additive relaxation, no bound on the true cost (tensors kept on chip and overlap make that smaller),
but a cover to start from, and the reference for what decisions that do not add up are worth.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

from fragenv.schedule.choices import Choice
from fragenv.schedule.problem import Problem

#: ideals looked at; beyond it the cover is that of one topological order
MAX_IDEALS = 20_000

Price = Callable[[Choice], float]


class Cover(NamedTuple):
    """Tasks in an order in which each comes after those that it reads, and what they cost."""

    tasks: tuple[Choice, ...]
    cost: float
    #: whether every ideal was looked at
    exact: bool


def best_cover(problem: Problem, price: Price, fragments: frozenset[int]) -> Cover | None:
    """The cheapest cover on some fragments; None where they cannot run the network.

    Args:
        problem: what is covered.
        price: of a choice, not negative.
        fragments: that may be used.
    """
    cheapest = _cheapest(problem, price, fragments)
    for limit, chain in ((MAX_IDEALS, False), (None, True)):
        found = _walk(problem, cheapest, limit, chain)
        if found is not None:
            tasks, cost = found
            return Cover(tasks, cost, not chain) if tasks else None
    return None


def _cheapest(
    problem: Problem, price: Price, fragments: frozenset[int]
) -> list[list[tuple[float, int, int, Choice]]]:
    """Per node the cheapest choice for each set of operators: (price, operators and those that
    must have run before as bits, choice)."""
    result: list[list[tuple[float, int, int, Choice]]] = []
    for options in problem.choices:
        best: dict[tuple[int, ...], tuple[float, Choice]] = {}
        for choice in options:
            if choice.fragment in fragments:
                cost = price(choice)
                if choice.operators not in best or cost < best[choice.operators][0]:
                    best[choice.operators] = cost, choice
        result.append(
            [
                (cost, _bits(choice.operators), _bits(_makers(problem, choice)), choice)
                for cost, choice in best.values()
            ]
        )
    return result


def _bits(nodes: tuple[int, ...]) -> int:
    return sum(1 << n for n in nodes)


def _makers(problem: Problem, choice: Choice) -> tuple[int, ...]:
    """Nodes whose outputs a choice reads."""
    made = (t - problem.num_inputs for t in dict.fromkeys(choice.sources))
    return tuple(n for n in made if n >= 0)


def _walk(
    problem: Problem,
    cheapest: list[list[tuple[float, int, int, Choice]]],
    limit: int | None,
    chain: bool,
) -> tuple[tuple[Choice, ...], float] | None:
    """The cheapest walk (Dijkstra: ideals only grow); None beyond ``limit`` ideals, no tasks where
    there is none. ``chain``: each task begins at the first operator that has not run."""
    count = len(problem.operators)
    whole = (1 << count) - 1
    best: dict[int, float] = {0: 0.0}
    before: dict[int, tuple[int, Choice]] = {}
    queue = [(0.0, 0)]
    while queue:
        cost, done = heapq.heappop(queue)
        if cost > best[done]:
            continue
        if done == whole:
            return _tasks(before, whole), cost
        for node in range(count):
            if done >> node & 1:
                continue
            for price, operators, makers, choice in cheapest[node]:
                if operators & done or makers & ~done:
                    continue
                after = done | operators
                if cost + price < best.get(after, float("inf")):
                    best[after] = cost + price
                    before[after] = done, choice
                    heapq.heappush(queue, (cost + price, after))
            if chain:
                break
        if limit is not None and len(best) > limit:
            return None
    return (), 0.0


def _tasks(before: dict[int, tuple[int, Choice]], done: int) -> tuple[Choice, ...]:
    tasks: list[Choice] = []
    while done:
        done, choice = before[done]
        tasks.append(choice)
    return tuple(reversed(tasks))


def alone(problem: Problem) -> Price:
    """What a task costs alone, everything in DRAM: its cycles and its bytes, each over the bound of
    all. Choices that keep their outputs cost as those that do not."""
    known: dict[tuple[int, int], float] = {}

    def price(choice: Choice) -> float:
        key = choice.shape_index, choice.fragment
        if key not in known:
            plan = problem.plan(choice, 0, problem.chip.buffer_bytes)
            if plan is None or choice.keep:
                return float("inf")
            moved = plan.dram_read_bytes + plan.dram_write_bytes
            known[key] = (
                plan.tiling.latency_cycles / problem.bound.latency_cycles
                + moved / problem.bound.traffic_bytes
            )
        return known[key]

    return price
