"""List scheduling: upward ranks against networkx, and who comes first."""

from __future__ import annotations

import random

import networkx as nx
from hypothesis import given, settings
from strategies import random_episode, random_problem, seeds

from fragenv.models import zoo
from fragenv.schedule.choices import busiest_cycles
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.ranks import first_in_rank, upward_ranks


def alone(problem: Problem, node: int) -> int:
    """Cycles of an operator, the mean of all fragments, and no less than its weights take."""
    options = [c for c in problem.choices[node] if not c.layers]
    cycles = [busiest_cycles(c, problem.library[c.fragment]) for c in options]
    weights = max((c.shape.weight_bytes for c in options), default=0)
    mean = sum(cycles) // len(cycles) if cycles else 0
    return max(mean * problem.batch, weights // problem.chip.dram_bytes_per_cycle)


def assert_longest_ways(problem: Problem) -> None:
    graph = nx.DiGraph()
    for node, tensors in enumerate(problem.reads):
        graph.add_edge(node, "end", cycles=alone(problem, node))
        for tensor in tensors:
            if tensor >= problem.num_inputs:
                maker = tensor - problem.num_inputs
                graph.add_edge(maker, node, cycles=alone(problem, maker))
    for node, rank in enumerate(upward_ranks(problem)):
        rest = graph.subgraph(nx.descendants(graph, node) | {node})
        assert rank == nx.dag_longest_path_length(rest, "cycles"), node


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_ranks__are_the_longest_ways_to_the_end(seed: int) -> None:
    problem = random_problem(random.Random(seed), 1)
    if problem is not None:
        assert_longest_ways(problem)


def test_ranks__of_a_network_with_branches() -> None:
    assert_longest_ways(Problem(zoo.graph("squeezenet"), "cgra512"))


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_first_in_rank__offers_every_way_to_run_the_ready_operator_that_is_farthest(
    seed: int,
) -> None:
    rng = random.Random(seed)
    problem = random_problem(rng, 1)
    if problem is None:
        return
    ranks = upward_ranks(problem)
    stride = problem.num_choices + 1
    state = problem.initial()
    for action in random_episode(problem, rng)[1]:
        runs = [
            (ranks[(a - MAX_SLOTS) // stride], (a - MAX_SLOTS) // stride, a)
            for a in problem.legal_actions(state)
            if a >= MAX_SLOTS and (a - MAX_SLOTS) % stride < problem.num_choices
        ]
        found = first_in_rank(problem, state, ranks)
        assert bool(found) == bool(runs)
        if runs:
            (node,) = {(a - MAX_SLOTS) // stride for a in found}
            assert ranks[node] == max(runs)[0]
            assert sorted(found) == sorted(a for _, other, a in runs if other == node)
        assert not first_in_rank(problem, state, ranks, lambda choice: False)
        state = problem.apply(state, action)
