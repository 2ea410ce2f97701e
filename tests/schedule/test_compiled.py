"""The compiled evaluator against ``Problem.apply``, decision by decision."""

from __future__ import annotations

import random

import pytest
from blocks import basic_block
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import random_episode, random_problem, seeds

from fragenv.errors import FragenvError
from fragenv.models import zoo
from fragenv.schedule import compiled_memory
from fragenv.schedule.compiled import Evaluator, Outcome
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.state import State


def after(problem: Problem, actions: list[int]) -> State:
    state = problem.initial()
    for action in actions:
        state = problem.apply(state, action)
    return state


def assert_same(problem: Problem, outcome: Outcome, state: State) -> None:
    for field, value in outcome._asdict().items():
        assert value == getattr(state, field), field
    assert outcome.traffic_bytes == state.traffic_bytes
    assert Evaluator(problem).cost(outcome) == problem.cost(state)


@settings(max_examples=150, deadline=None)
@given(seeds, st.integers(1, 4), st.sampled_from([0.0, 0.8]), st.sampled_from([8, 1024]))
def test_outcomes__are_those_of_apply(seed: int, depth: int, fused: float, intervals: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, depth)
    if problem is None:
        return
    episodes = [random_episode(problem, rng, fused)[1] for _ in range(3)]
    episodes += [actions[: rng.randint(0, len(actions))] for actions in episodes]
    with pytest.MonkeyPatch.context() as patch:
        # few: the memory has to grow on the way
        patch.setattr(compiled_memory, "FIRST_INTERVALS", intervals)
        evaluator = Evaluator(problem)
    for actions, outcome in zip(episodes, evaluator.outcomes(episodes), strict=True):
        assert_same(problem, outcome, after(problem, actions))
    # plans are there now, and nothing of the last sequence is left in the memory
    assert evaluator.outcomes(episodes[:1])[0] == evaluator.outcomes(episodes)[0]


@pytest.mark.parametrize(("model", "chip", "batch"), [("alexnet", "xc7z045", 8)])
def test_outcomes__of_a_network_that_swaps_and_spills(model: str, chip: str, batch: int) -> None:
    problem = Problem(zoo.graph(model), chip, batch)
    episodes = [random_episode(problem, random.Random(seed)) for seed in range(8)]
    outcomes = Evaluator(problem).outcomes([actions for _, actions in episodes])
    for (state, _), outcome in zip(episodes, outcomes, strict=True):
        assert_same(problem, outcome, state)
    assert any(outcome.config_bytes for outcome in outcomes)
    taken = [action for _, actions in episodes for action in actions]
    assert any(action < MAX_SLOTS for action in taken)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_outcomes__an_illegal_action_is_refused(seed: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, rng.choice([1, 3]))
    if problem is None:
        return
    _, actions = random_episode(problem, rng)
    cut = rng.randint(0, len(actions))
    state = after(problem, actions[:cut])
    legal = set(problem.legal_actions(state))
    illegal = rng.choice([a for a in range(-2, problem.num_actions + 2) if a not in legal])
    evaluator = Evaluator(problem)
    with pytest.raises(ValueError, match=rf"action {illegal}, number {cut} of sequence 1, is"):
        evaluator.outcomes([actions, [*actions[:cut], illegal]])
    assert_same(problem, evaluator.outcomes([actions])[0], after(problem, actions))


def test_evaluator__refuses_throughput() -> None:
    problem = Problem(basic_block(False), "cgra512", 2, objective="throughput")
    with pytest.raises(FragenvError, match="'latency' alone, not 'throughput'"):
        Evaluator(problem)
