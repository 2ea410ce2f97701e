"""A genetic algorithm over whole schedules, with random keys.

A schedule is written as two numbers per operator between 0 and 1: its priority among those that are
ready, and its choice among those that are legal. Every such vector decodes to a schedule. Elite,
mutants and biased crossover are those of Goncalves and Resende's BRKGA (J. Heuristics 17, 2011).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agents.heuristics.sets import first_schedules
from agents.scheduler import Budget, BudgetSpentError, Meter, Partial, Result
from fragenv.schedule.objective import Objective
from fragenv.schedule.problem import MAX_SLOTS, Problem

if TYPE_CHECKING:
    from fragenv.schedule.compiled import Evaluator
    from fragenv.schedule.state import State

#: set by hand, with LeNet, AlexNet and SqueezeNet in sight; ``scripts/tune.py genetic``
#: ranks other values
POPULATION, ELITE, MUTANTS, BIAS = 24, 0.25, 0.15, 0.8
#: share of genes of a child that are drawn anew
GENE_MUTATION = 0.02
#: share of the calls for the first schedules that the population is built around
START_SHARE = 0.25
#: calls from which on schedules are evaluated by compiled code, which takes a machine about a
#: minute to compile when it is used there first
COMPILED_FROM = 10_000

Genes = list[float]


@dataclass(frozen=True, slots=True)
class GeneticSettings:
    """What may be tuned: schedules of a generation, shares of the best that stay and of new ones,
    probability of a gene of the better parent, and of a gene drawn anew."""

    population: int = POPULATION
    elite: float = ELITE
    mutants: float = MUTANTS
    bias: float = BIAS
    gene_mutation: float = GENE_MUTATION


class GeneticScheduler:
    """Random keys, from covers and narrow beams within the promising sets of fragments.

    ``compiled_from``: see ``COMPILED_FROM``; the answer is the same either way.
    """

    name = "genetic"

    def __init__(
        self, settings: GeneticSettings | None = None, compiled_from: int = COMPILED_FROM
    ) -> None:
        self.settings = settings or GeneticSettings()
        self.compiled_from = compiled_from

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        starts = first_schedules(meter, int(budget.apply_calls * START_SHARE))
        if not starts:
            return Result.of(self.name, meter.finish(Partial(problem.initial())), meter)
        evaluator = self._evaluator(problem, budget)
        best = _evolve(meter, starts, self.settings, random.Random(seed), evaluator)
        return Result.of(self.name, best, meter)

    def _evaluator(self, problem: Problem, budget: Budget) -> Evaluator | None:
        """None where the plain transition is used: seconds are not for compiling."""
        long = budget.apply_calls >= self.compiled_from and budget.seconds is None
        if not long or problem.objective is not Objective.LATENCY:
            return None
        from fragenv.schedule.compiled import Evaluator

        return Evaluator(problem)


def _evolve(
    meter: Meter,
    starts: list[Partial],
    settings: GeneticSettings,
    rng: random.Random,
    evaluator: Evaluator | None,
) -> Partial:
    """The best schedule until the meter is spent."""
    problem = meter.problem
    size = settings.population
    length = 2 * len(problem.operators)
    start = min(starts, key=lambda path: problem.cost(path.state))
    least, best = problem.cost(start.state), None
    people = [(problem.cost(p.state), encoded(problem, p)) for p in starts[: size // 2]]
    elite, mutants = max(1, int(size * settings.elite)), int(size * settings.mutants)
    fresh = [[rng.random() for _ in range(length)] for _ in range(size - len(people))]
    try:
        while True:
            for cost, genes in zip(_costs(meter, evaluator, fresh), fresh, strict=True):
                people.append((cost, genes))
                if cost < least:
                    least, best = cost, genes
            people.sort(key=lambda one: one[0])
            del people[size:]
            fresh = [[rng.random() for _ in range(length)] for _ in range(mutants)]
            while len(fresh) < size - elite:
                better, other = rng.choice(people[:elite])[1], rng.choice(people)[1]
                fresh.append(_child(better, other, settings, rng))
            del people[elite:]
    except BudgetSpentError:
        # its calls were counted when it was found
        return start if best is None else decoded(problem, best, problem.apply)


def _costs(meter: Meter, evaluator: Evaluator | None, people: list[Genes]) -> Iterator[float]:
    """What the schedules of genes cost, as long as calls are left.

    Raises:
        BudgetSpentError: no call is left for the next one.
    """
    problem = meter.problem
    if evaluator is None:
        for genes in people:
            yield problem.cost(decoded(problem, genes, meter.apply).state)
        return
    found = evaluator.decoded(np.array(people), meter.left)
    meter.count(found.calls)
    yield from map(evaluator.cost, found.outcomes)
    if len(found.outcomes) < len(people):
        raise BudgetSpentError


def _child(better: Genes, other: Genes, settings: GeneticSettings, rng: random.Random) -> Genes:
    genes = [b if rng.random() < settings.bias else o for b, o in zip(better, other, strict=True)]
    return [rng.random() if rng.random() < settings.gene_mutation else g for g in genes]


def encoded(problem: Problem, path: Partial) -> Genes:
    """Genes that decode to a schedule of RUNs alone."""
    count = len(problem.operators)
    priorities = [0.0] * count
    choices = [0.0] * count
    for position, action in enumerate(path.actions):
        node, index = divmod(action - MAX_SLOTS, problem.num_choices + 1)
        priorities[node] = position / count
        choices[node] = (index + 0.5) / len(problem.choices[node])
    return priorities + choices


def decoded(problem: Problem, genes: Genes, apply: Callable[[State, int], State]) -> Partial:
    """The schedule of a vector of genes, by ``apply``."""
    count, stride = len(problem.operators), problem.num_choices + 1
    path = Partial(problem.initial())
    while not path.state.finished:
        legal: dict[int, list[int]] = {}
        for action in problem.legal_actions(path.state):
            node, index = divmod(action - MAX_SLOTS, stride)
            if action >= MAX_SLOTS and index < problem.num_choices:
                legal.setdefault(node, []).append(index)
        node = min(legal, key=lambda n: (genes[n], n))
        wanted = int(genes[count + node] * len(problem.choices[node]))
        # where fused operators have run, some choices are gone: the nearest that is left
        index = min(legal[node], key=lambda i: (abs(i - wanted), i))
        action = MAX_SLOTS + node * stride + index
        path = path.then(action, apply(path.state, action))
    return path
