"""One measurement for all generators."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from fragenv.generate.architecture import Architecture
from fragenv.generate.canonical import Distinct
from fragenv.generate.generator import Attributes, Generator

#: attributes of an architecture, measured
Measure = Callable[[Architecture], Attributes]


@dataclass(frozen=True, slots=True)
class Control:
    """How well one attribute follows its condition: mean distances of requested to obtained, and of
    the same numbers paired at random."""

    error: float
    random_error: float

    @property
    def relative(self) -> float:
        """1 is no control at all, 0 exact control."""
        return self.error / self.random_error if self.random_error else 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Shares are of what stands before them: valid of attempts, unique of valid, novel of unique.

    ``control`` has the attributes of the conditions; ``mean_latency_cycles`` is None where no
    oracle was given.
    """

    attempts: int
    valid: float
    unique: float
    novel: float
    samples_per_s: float
    control: dict[str, Control]
    mean_latency_cycles: float | None


def evaluate(
    generator: Generator,
    n: int,
    seed: int,
    known: Collection[Architecture] | Distinct = (),
    conditions: Sequence[Attributes] = (),
    measure: Measure | None = None,
    latency: Callable[[Architecture], float] | None = None,
) -> Evaluation:
    """Sample and measure.

    Args:
        generator: a fitted one.
        n: attempts without a condition, from which the shares and the rate come.
        seed: of all sampling.
        known: what is not novel.
        conditions: one attempt is made for each; ``measure`` says what came of it.
        latency: cycles of an architecture, taken for every distinct one.
    """
    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    sample = generator.sample(n, rng=rng)
    seconds = time.perf_counter() - start
    distinct = Distinct()
    for architecture in sample.architectures:
        distinct.add(architecture)
    old = known if isinstance(known, Distinct) else _distinct(known)
    novel = sum(architecture not in old for architecture in distinct)
    cycles = [latency(a) for a in distinct] if latency else []
    return Evaluation(
        attempts=sample.attempts,
        valid=_share(len(sample.architectures), sample.attempts),
        unique=_share(len(distinct), len(sample.architectures)),
        novel=_share(novel, len(distinct)),
        samples_per_s=sample.attempts / max(seconds, 1e-9),
        control=control(generator, conditions, measure, rng) if measure else {},
        mean_latency_cycles=float(np.mean(cycles)) if cycles else None,
    )


def control(
    generator: Generator,
    conditions: Sequence[Attributes],
    measure: Measure,
    rng: np.random.Generator,
) -> dict[str, Control]:
    """Requested against obtained attributes; attempts that gave nothing are left out."""
    wanted, found = [], []
    for condition in conditions:
        sample = generator.sample(1, condition, rng=rng)
        if sample.architectures:
            wanted.append(sample.condition)
            found.append(measure(sample.architectures[0]))
    result = {}
    for name in wanted[0] if wanted else ():
        asked = np.array([w[name] for w in wanted])
        got = np.array([f[name] for f in found])
        every_pair = np.abs(asked[:, None] - got[None, :])
        result[name] = Control(float(np.abs(asked - got).mean()), float(every_pair.mean()))
    return result


def _distinct(architectures: Collection[Architecture]) -> Distinct:
    held = Distinct()
    for architecture in architectures:
        held.add(architecture)
    return held


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
