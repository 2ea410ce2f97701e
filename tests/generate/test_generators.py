"""One conformance test for every registered generator, and what the baselines promise."""

from __future__ import annotations

from inspect import signature
from math import isinf

import numpy as np
import pytest
from small_corpus import convolutions, corpus

import fragenv.generate.systems  # noqa: F401 - registers the generators
from fragenv.errors import FragenvError
from fragenv.generate.architecture import Architecture
from fragenv.generate.baselines import RandomGenerator, mutated
from fragenv.generate.canonical import same
from fragenv.generate.dense import DenseSpace
from fragenv.generate.evaluate import evaluate
from fragenv.generate.generator import GENERATORS, Attributes, Generator, NotFittedError, Sample
from fragenv.generate.training import TrainingConfig

CORPUS = corpus()
SCORES = [convolutions(a) for a in CORPUS]


def make(name: str) -> Generator:
    """A generator that trains for a second."""
    system = GENERATORS.get(name)
    brief = {"training": TrainingConfig(steps=15, learning_rate=1e-2)}
    return system(**(brief if "training" in signature(system).parameters else {}))


@pytest.mark.parametrize("name", list(GENERATORS))
def test_generator__keeps_the_contract(name: str) -> None:
    generator = make(name)
    assert generator.name == name
    with pytest.raises(NotFittedError, match="call fit first"):
        generator.sample(1, rng=np.random.default_rng(0))
    with pytest.raises(FragenvError, match="empty corpus"):
        generator.fit([], None, 0)
    generator.fit(CORPUS, SCORES, seed=1)

    # impossible conditions become the nearest feasible ones, and it is said
    most = max(score["convolutions"] for score in SCORES)
    sample = generator.sample(20, {"convolutions": 99.0}, rng=np.random.default_rng(2))
    assert sample.attempts == 20 and len(sample.architectures) <= 20
    assert sample.condition == {"convolutions": most}
    assert "99 is out of reach" in sample.notice and f"{most:g} is the nearest" in sample.notice
    with pytest.raises(FragenvError, match="unknown attribute 'colour'; known are convolutions"):
        generator.sample(1, {"colour": 1.0}, rng=np.random.default_rng(0))

    # the same generator state gives the same samples; fitting again changes nothing
    plain = generator.sample(20, rng=np.random.default_rng(3))
    assert plain.notice == "" and plain.condition == {}
    again = make(name)
    again.fit(CORPUS, SCORES, seed=1)
    assert again.sample(20, rng=np.random.default_rng(3)) == plain
    near = generator.sample(5, reference=CORPUS[0], rng=np.random.default_rng(4))
    assert near.attempts == 5

    for architecture in (*plain.architectures[:3], CORPUS[0]):
        log_p = generator.log_prob(architecture)
        assert log_p is None or log_p <= 0
    foreign = Architecture(("input", "conv5x5", "output"), ((0, 1), (1, 2)))
    impossible = generator.log_prob(foreign)
    assert impossible is None or isinf(impossible)


@pytest.mark.parametrize("name", list(GENERATORS))
def test_generator__without_scores_takes_no_condition(name: str) -> None:
    generator = make(name)
    generator.fit(CORPUS[:5], None, seed=0)
    assert generator.sample(3, rng=np.random.default_rng(0)).attempts == 3
    with pytest.raises(FragenvError, match="give scores to fit"):
        generator.sample(1, {"convolutions": 1.0}, rng=np.random.default_rng(0))


def test_scores__must_name_the_same_attributes() -> None:
    with pytest.raises(FragenvError, match="same attributes: convolutions"):
        RandomGenerator().fit(CORPUS[:2], [{"convolutions": 1.0}, {"macs": 2.0}], 0)


def test_registry__unknown_name_is_refused() -> None:
    with pytest.raises(FragenvError, match="did you mean 'random'"):
        GENERATORS.get("randon")


def test_mutated__changes_one_thing() -> None:
    rng = np.random.default_rng(0)
    for architecture in CORPUS[:20]:
        child = mutated(architecture, ("conv1x1", "conv3x3", "skip"), rng)
        changed = sum(a != b for a, b in zip(architecture.ops, child.ops, strict=True))
        assert changed + len(set(architecture.edges) ^ set(child.edges)) == 1


def test_mutation__follows_a_condition_and_random_does_not() -> None:
    conditions = [{"convolutions": float(n)} for n in (0, 1, 2, 3)] * 25
    relative = {}
    for name in ("random", "mutation"):
        generator = make(name)
        generator.fit(CORPUS, SCORES, seed=0)
        found = evaluate(generator, 50, 0, CORPUS, conditions, convolutions)
        relative[name] = found.control["convolutions"].relative
    assert relative["mutation"] < 0.8
    assert 0.85 < relative["random"] < 1.15


class Fixed:
    """A generator whose samples are known: of six attempts two fail, two are the same function."""

    name = "fixed"

    def fit(self, corpus: object, scores: object, seed: int) -> None: ...

    def sample(
        self,
        n: int,
        condition: Attributes | None = None,
        reference: Architecture | None = None,
        *,
        rng: np.random.Generator,
    ) -> Sample:
        chain = Architecture(("input", "conv3x3", "output"), ((0, 1), (1, 2)))
        longer = Architecture(("input", "skip", "conv3x3", "output"), ((0, 1), (1, 2), (2, 3)))
        made = (chain, longer, CORPUS[0], CORPUS[1])
        assert same(chain, longer)
        return Sample(made if n > 1 else made[2:3], n, condition or {})

    def log_prob(self, architecture: Architecture) -> float | None:
        return None


def test_evaluate__counts_by_hand() -> None:
    found = evaluate(
        Fixed(),
        6,
        seed=0,
        known=CORPUS[:1],
        conditions=[{"convolutions": 0.0}, {"convolutions": 2.0}],
        measure=lambda _: {"convolutions": 2.0},
        latency=lambda a: 100.0 * len(a),
    )
    assert found.valid == pytest.approx(4 / 6)
    assert found.unique == pytest.approx(3 / 4)
    assert found.novel == pytest.approx(2 / 3)
    assert found.mean_latency_cycles == pytest.approx(100 * (3 + 2 * len(CORPUS[0])) / 3)
    control = found.control["convolutions"]
    assert (control.error, control.random_error) == (1.0, 1.0)


def test_dense__round_trip_and_refusals() -> None:
    space = DenseSpace()
    for architecture in corpus(20, 6) + CORPUS[:20]:
        assert same(space.decode(*space.encode(architecture)), architecture)
    wide = Architecture(("input", *("skip",) * 7, "output"), ((0, 8),))
    with pytest.raises(FragenvError, match="9 nodes do not fit the space of 8"):
        space.encode(wide)
    other = Architecture(("input", "conv5x5", "output"), ((0, 1), (1, 2)))
    with pytest.raises(FragenvError, match="the space has no 'conv5x5'"):
        space.encode(other)


def test_dense__random_covers_the_types() -> None:
    space = DenseSpace(4, ("conv1x1", "skip"))
    rng = np.random.default_rng(0)
    drawn = [space.random(rng) for _ in range(400)]
    assert {a.ops[1:3] for a in drawn} == {(x, y) for x in space.operators for y in space.operators}
    share = np.mean([a.ops[1] == "skip" for a in drawn])
    # five standard deviations of a share of 400
    assert abs(share - 0.5) < 5 * 0.5 / 20
