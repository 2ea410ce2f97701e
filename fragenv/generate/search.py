"""Search for the architecture that is worth most on a chip, with any generator.

A candidate is worth its score times (latency / target) ** exponent (Tan et al.: MnasNet, CVPR
2019). Every few candidates the generator learns from the latest ones and draws more, aimed at the
best reward so far; with the mutation generator that is regularised evolution (Real et al., AAAI
2019). Random numbers and evaluations decide everything, so that a search whose evaluations are kept
can be repeated at no cost and goes on from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fragenv.errors import FragenvError
from fragenv.generate import nb201
from fragenv.generate.architecture import INPUT, OUTPUT, SKIP, Architecture
from fragenv.generate.baselines import mutated
from fragenv.generate.canonical import Distinct
from fragenv.generate.generator import Generator
from fragenv.generate.ranking import MOST_NODES

#: the name of what is aimed at
REWARD = "reward"
#: rounds without anything new after which a generator has no more to say
DRY_ROUNDS = 50
#: changes of the reference that the first candidates have, at most
MOST_CHANGES = 6


@dataclass(frozen=True, slots=True)
class Goal:
    """What a candidate is worth.

    Args:
        target_cycles: the wanted latency.
        below, above: exponents of latency / target where the target is met, and where it is not.
            0 and -5 search for the best score within the target; -0.07 twice, as in the paper, for
            a compromise around it. The paper's other example, 0 and -1, is too weak for scores
            that are shares of a ranking: they rise faster than accuracies, and a network of twice
            the latency and more than twice the score would be preferred.
    """

    target_cycles: float
    below: float = 0.0
    above: float = -5.0

    def __post_init__(self) -> None:
        if not self.target_cycles > 0:
            raise FragenvError(f"the target must be a positive latency, got {self.target_cycles:g}")
        if max(self.below, self.above) > 0:
            raise FragenvError(
                f"exponents {self.below:g} and {self.above:g} must not be positive: slower would "
                "be better"
            )

    def reward(self, score: float, latency_cycles: int) -> float:
        """The worth of a candidate."""
        ratio = latency_cycles / self.target_cycles
        return float(score * ratio ** (self.below if ratio <= 1 else self.above))


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how a search runs.

    Args:
        budget: candidates to evaluate; equal functions count once.
        per_round: candidates between two times that the generator learns.
        population: the latest candidates, from which it learns.
        seed: of everything.
    """

    budget: int
    per_round: int = 10
    population: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.budget, self.per_round, self.population) < 1:
            raise FragenvError("budget, candidates per round and population must be at least 1")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An architecture that was evaluated."""

    architecture: Architecture
    score: float
    latency_cycles: int
    reward: float


#: (score, latency in cycles) of each architecture
Evaluate = Callable[[Sequence[Architecture]], Sequence[tuple[float, int]]]


def smallest() -> Architecture:
    """The cell that hands its input on: every other network does more."""
    return Architecture((INPUT, OUTPUT), ((0, 1),), "empty cell")


def search(
    generator: Generator,
    evaluate: Evaluate,
    goal: Goal,
    plan: Plan,
    reference: Architecture | None = None,
) -> Iterator[Candidate]:
    """Candidates in the order of their evaluation, fewer than the budget where the generator makes
    nothing new any more.

    The first round is drawn from NAS-Bench-201, or near ``reference``, which is itself the first.

    Raises:
        FragenvError: the generator cannot learn from the candidates.
    """
    rng = np.random.default_rng(plan.seed)
    seen, latest = Distinct(), deque[Candidate](maxlen=plan.population)
    wanted = _first(plan, reference, rng)
    count = dry = 0
    while True:
        fresh = [a for a in wanted if len(a) <= MOST_NODES and seen.add(a)]
        fresh = fresh[: plan.budget - count]
        for architecture, (score, cycles) in zip(fresh, evaluate(fresh), strict=True):
            reward = goal.reward(score, cycles)
            latest.append(Candidate(architecture, score, cycles, reward))
            yield latest[-1]
        count += len(fresh)
        dry = 0 if fresh else dry + 1
        if count >= plan.budget or dry >= DRY_ROUNDS:
            return
        if fresh:
            rewards = [{REWARD: candidate.reward} for candidate in latest]
            generator.fit([c.architecture for c in latest], rewards, plan.seed)
        best = {REWARD: max(candidate.reward for candidate in latest)}
        wanted = generator.sample(plan.per_round, best, rng=rng).architectures


def _first(
    plan: Plan, reference: Architecture | None, rng: np.random.Generator
) -> tuple[Architecture, ...]:
    if reference is None:
        cells = nb201.runnable_choices()
        return tuple(
            nb201.from_choices(cells[i]) for i in rng.integers(len(cells), size=plan.per_round)
        )
    return (reference, *(near(reference, rng) for _ in range(plan.per_round - 1)))


def near(reference: Architecture, rng: np.random.Generator) -> Architecture:
    """The reference with some changes. Nodes without edges are added to it first, which changes may
    then connect, so that it can grow."""
    operators = tuple(sorted({*nb201.OPERATORS, *reference.ops} - {INPUT, OUTPUT}))
    last = len(reference) - 1
    more = max(0, MOST_NODES - len(reference))
    ops = (*reference.ops[:-1], *((SKIP,) * more), OUTPUT)
    edges = tuple((a, b + more if b == last else b) for a, b in reference.edges)
    found = Architecture(ops, edges, reference.origin)
    for _ in range(int(rng.integers(1, MOST_CHANGES + 1))):
        found = mutated(found, operators, rng)
    return found


def front(candidates: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (score, latency) that no other exceeds in both, by rising latency."""
    order = sorted(range(len(candidates)), key=lambda i: (candidates[i][1], -candidates[i][0]))
    best, found = -float("inf"), []
    for index in order:
        if candidates[index][0] > best:
            best = candidates[index][0]
            found.append(index)
    return found
