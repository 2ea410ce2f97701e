"""What list scheduling by critical path needs: the operator from which the way to the end is the
longest comes first, on the fragment on which it ends earliest (HEFT, Topcuoglu et al., TPDS 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fragenv.schedule.choices import Choice, busiest_cycles
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.state import State


def upward_ranks(problem: Problem) -> list[int]:
    """Per operator the longest way to the end of the network, in cycles: every task as long as it
    takes on average of the fragments (or its bytes, where they take longer)."""
    alone = [0] * len(problem.operators)
    for node, options in enumerate(problem.choices):
        singles = [c for c in options if not c.layers]
        if singles:
            cycles = [busiest_cycles(c, problem.library[c.fragment]) for c in singles]
            loads = max(c.shape.weight_bytes for c in singles) // problem.chip.dram_bytes_per_cycle
            alone[node] = max(sum(cycles) // len(cycles) * problem.batch, loads)
    ranks = list(alone)
    for node in reversed(range(len(ranks))):  # operators come in topological order
        for tensor in problem.reads[node]:
            maker = tensor - problem.num_inputs
            if maker >= 0:
                ranks[maker] = max(ranks[maker], alone[maker] + ranks[node])
    return ranks


def first_in_rank(
    problem: Problem,
    state: State,
    ranks: Sequence[int],
    allow: Callable[[Choice], bool] | None = None,
) -> list[int]:
    """The RUN actions of the ready operator with the highest rank, by choices that ``allow``
    takes; none where there are no such operators."""
    stride = problem.num_choices + 1
    found: dict[int, list[int]] = {}
    for action in problem.legal_actions(state):
        node, index = divmod(action - MAX_SLOTS, stride)
        if action < MAX_SLOTS or index == problem.num_choices:
            continue
        if allow is None or allow(problem.choices[node][index]):
            found.setdefault(node, []).append(action)
    return max(found.items(), key=lambda item: ranks[item[0]])[1] if found else []


def list_step(
    problem: Problem,
    state: State,
    ranks: Sequence[int],
    apply: Callable[[State, int], State],
    allow: Callable[[Choice], bool] | None = None,
) -> tuple[int, State] | None:
    """The decision of list scheduling in a state and the state after it, by ``apply``; None where
    nothing that ``allow`` takes can run."""
    actions = first_in_rank(problem, state, ranks, allow)
    found = [(action, apply(state, action)) for action in actions]
    return min(found, key=lambda option: _finish_cost(problem, *option), default=None)


def _finish_cost(problem: Problem, action: int, state: State) -> float:
    """When the task of a state's last decision ends, over the bound of the latency, and its bytes,
    over that of the traffic; each weighed by what the task was worth, its operators."""
    node, index = divmod(action - MAX_SLOTS, problem.num_choices + 1)
    choice = problem.choices[node][index]
    end = max(max(state.ready[t]) for t in choice.outputs)
    cost = end / problem.bound.latency_cycles + state.traffic_bytes / problem.bound.traffic_bytes
    return cost / len(choice.operators) if choice.layers else cost
