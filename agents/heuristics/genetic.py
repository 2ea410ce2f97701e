"""A genetic algorithm over whole schedules, with random keys.

A schedule is written as two numbers per operator between 0 and 1: its priority among those that are
ready, and its choice among those that are legal. Every such vector decodes to a schedule. Elite,
mutants and biased crossover are those of Goncalves and Resende's BRKGA (J. Heuristics 17, 2011).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from agents.heuristics.sets import first_schedules
from agents.scheduler import Budget, BudgetSpentError, Meter, Partial, Result
from fragenv.schedule.problem import MAX_SLOTS, Problem

#: set by hand, with LeNet, AlexNet and SqueezeNet in sight; ``scripts/tune.py genetic``
#: ranks other values
POPULATION, ELITE, MUTANTS, BIAS = 24, 0.25, 0.15, 0.8
#: share of genes of a child that are drawn anew
GENE_MUTATION = 0.02
#: share of the calls for the first schedules that the population is built around
START_SHARE = 0.25

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
    """Random keys, from covers and narrow beams within the promising sets of fragments."""

    name = "genetic"

    def __init__(self, settings: GeneticSettings | None = None) -> None:
        self.settings = settings or GeneticSettings()

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        starts = first_schedules(meter, int(budget.apply_calls * START_SHARE))
        if not starts:
            return Result.of(self.name, meter.finish(Partial(problem.initial())), meter)
        best = _evolve(meter, starts, self.settings, random.Random(seed))
        return Result.of(self.name, best, meter)


def _evolve(
    meter: Meter, starts: list[Partial], settings: GeneticSettings, rng: random.Random
) -> Partial:
    problem = meter.problem
    size = settings.population
    length = 2 * len(problem.operators)
    best = min(starts, key=lambda path: problem.cost(path.state))
    people = [(problem.cost(p.state), encoded(problem, p)) for p in starts[: size // 2]]
    elite, mutants = max(1, int(size * settings.elite)), int(size * settings.mutants)
    fresh = [[rng.random() for _ in range(length)] for _ in range(size - len(people))]
    try:
        while True:
            for genes in fresh:
                path = decoded(meter, genes)
                people.append((problem.cost(path.state), genes))
                if people[-1][0] < problem.cost(best.state):
                    best = path
            people.sort(key=lambda one: one[0])
            del people[size:]
            fresh = [[rng.random() for _ in range(length)] for _ in range(mutants)]
            while len(fresh) < size - elite:
                better, other = rng.choice(people[:elite])[1], rng.choice(people)[1]
                fresh.append(_child(better, other, settings, rng))
            del people[elite:]
    except BudgetSpentError:
        return best


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


def decoded(meter: Meter, genes: Genes) -> Partial:
    """The schedule of a vector of genes."""
    problem = meter.problem
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
        path = path.then(action, meter.apply(path.state, action))
    return path
