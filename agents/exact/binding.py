"""Which fragments to bind, and what runs where, where times add up: a sub-problem for CP-SAT.

A set of fragments stays bound; every operator is in one task of a single pass, on one of them; the
busiest fragment or the DRAM port says how long it takes. Unlike ``sets.fitting_sets``, which tries
sets of up to three, the set may be of any size, and each task chooses by what the others chose.
Needs ``pip install 'fragenv[exact]'``. CP-SAT is never started without a hint: on problems of more
than 20 to 30 operators it finds little on its own, but improves what it is given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from agents.heuristics.search import beam_search, better, widest_beam
from agents.scheduler import Budget, Meter, Partial, Result
from fragenv.errors import FragenvError
from fragenv.schedule.choices import Choice, busiest_cycles
from fragenv.schedule.problem import MAX_SLOTS, Problem

#: seconds of CP-SAT, and deterministic time, which ends it first on a machine that is not busy
SECONDS, DETERMINISTIC = 30.0, 10.0
#: one unit of the default cost in the integer objective
SCALE = 1_000_000
#: share of the calls for the schedule that the hint is taken from
START_SHARE = 0.3


class Task(NamedTuple):
    """A way to run some operators: cycles and bytes of a job, inputs and outputs in DRAM."""

    choice: Choice
    cycles: int
    moved: int


class Binding(NamedTuple):
    """The tasks chosen, what they cost where times add up, and whether that is the least."""

    tasks: tuple[Task, ...]
    cost: float
    optimal: bool

    @property
    def fragments(self) -> frozenset[int]:
        return frozenset(task.choice.fragment for task in self.tasks)


def tasks_of(problem: Problem) -> list[Task]:
    """Every task of a single pass, once per fragment."""
    found: dict[tuple[tuple[int, ...], int], Task] = {}
    for options in problem.choices:
        for c in options:
            key = c.operators, c.fragment
            if not c.layers and key not in found:
                tensors = sum(problem.tensor_bytes[t] for t in (*c.sources, *c.outputs))
                cycles = problem.batch * busiest_cycles(c, problem.library[c.fragment])
                found[key] = Task(c, cycles, tensors + c.shape.weight_bytes)
    return list(found.values())


def best_binding(
    problem: Problem, tasks: list[Task], hint: list[Task], seed: int, seconds: float = SECONDS
) -> Binding:
    """The cheapest set of fragments and its tasks.

    Args:
        problem: whose region the fragments share.
        tasks: to choose from.
        hint: some of ``tasks``, each operator in one of them.
        seed: of CP-SAT.
        seconds: after which it ends with what it has.

    Raises:
        FragenvError: OR-Tools is not installed.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise FragenvError(
            "the binding sub-problem needs OR-Tools: pip install 'fragenv[exact]'"
        ) from None
    model = cp_model.CpModel()
    taken = [model.new_bool_var(f"task{i}") for i in range(len(tasks))]
    bound = [model.new_bool_var(f"fragment{i}") for i in range(len(problem.library))]
    for node in range(len(problem.operators)):
        model.add_exactly_one(
            x for x, t in zip(taken, tasks, strict=True) if node in t.choice.operators
        )
    for x, task in zip(taken, tasks, strict=True):
        model.add_implication(x, bound[task.choice.fragment])
    region = problem.region
    for name in ("multipliers", "lut", "local_bytes"):
        sizes = [getattr(area, name) for area in problem.areas]
        model.add(sum(n * x for n, x in zip(sizes, bound, strict=True)) <= getattr(region, name))
    model.add(sum(bound) <= MAX_SLOTS)
    most = sum(t.cycles for t in tasks) + sum(t.moved for t in tasks)
    cycles = model.new_int_var(0, most, "cycles")
    moved = sum(t.moved * x for x, t in zip(taken, tasks, strict=True))
    model.add(cycles * problem.chip.dram_bytes_per_cycle >= moved)
    for fragment in range(len(problem.library)):
        mine = [(x, t) for x, t in zip(taken, tasks, strict=True) if t.choice.fragment == fragment]
        model.add(cycles >= sum(t.cycles * x for x, t in mine))
    per_cycle, per_byte = _weights(problem)
    model.minimize(per_cycle * cycles + per_byte * moved)
    hinted = {id(task) for task in hint}
    for x, task in zip(taken, tasks, strict=True):
        model.add_hint(x, id(task) in hinted)
    solver = _solver(cp_model, seed, seconds)
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Binding(tuple(hint), cost_of(problem, hint), False)
    chosen = [t for x, t in zip(taken, tasks, strict=True) if solver.value(x)]
    return Binding(tuple(chosen), cost_of(problem, chosen), status == cp_model.OPTIMAL)


def _solver(cp_model: Any, seed: int, seconds: float) -> Any:
    solver = cp_model.CpSolver()
    solver.parameters.random_seed = seed
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.max_deterministic_time = DETERMINISTIC
    return solver


def _weights(problem: Problem) -> tuple[int, int]:
    """What a cycle and a byte are worth, as integers in the right proportion."""
    latency, traffic = problem.bound.latency_cycles, problem.bound.traffic_bytes
    least = min(latency, traffic)
    # not above the proportion by more than a part in SCALE
    return round(SCALE * least / latency), round(SCALE * least / traffic)


def cost_of(problem: Problem, tasks: list[Task]) -> float:
    """What tasks cost where times add up: the busiest fragment or the port, and the bytes."""
    busy: dict[int, int] = {}
    for task in tasks:
        busy[task.choice.fragment] = busy.get(task.choice.fragment, 0) + task.cycles
    moved = sum(task.moved for task in tasks)
    cycles = max(*busy.values(), -(-moved // problem.chip.dram_bytes_per_cycle))
    return cycles / problem.bound.latency_cycles + moved / problem.bound.traffic_bytes


class BindingScheduler:
    """Beam search within the set of fragments that CP-SAT finds, hinted by a beam over all; with
    CP-SAT's fragment for every operator, and with any of the set."""

    name = "binding"

    def solve(self, problem: Problem, budget: Budget, seed: int) -> Result:
        meter = Meter(problem, budget)
        best = widest_beam(meter, int(budget.apply_calls * START_SHARE))
        if best is None:
            return Result.of(self.name, meter.finish(Partial(problem.initial())), meter)
        tasks = tasks_of(problem)
        hint = _hint(problem, best, tasks)
        binding = best_binding(problem, tasks, hint, seed)
        place = {t.choice.operators: t.choice.fragment for t in binding.tasks}
        fixed = beam_search(meter, 2, lambda c: place.get(c.operators) == c.fragment)
        best = better(problem, best, fixed)
        within = widest_beam(meter, meter.left, lambda c: c.fragment in binding.fragments)
        best = better(problem, best, within)
        assert best is not None
        return Result.of(self.name, best, meter)


def _hint(problem: Problem, path: Partial, tasks: list[Task]) -> list[Task]:
    """The tasks of a schedule; where it fuses layers, the largest ones on its fragment."""
    stride = problem.num_choices + 1
    known = {(t.choice.operators, t.choice.fragment): t for t in tasks}
    found: list[Task] = []
    for action in path.actions:
        node, index = divmod(action - MAX_SLOTS, stride)
        choice = problem.choices[node][index]
        for chain in choice.chains:
            task = known.get((chain.operators, chain.fragment))
            if task is not None:
                found.append(task)
    return found
