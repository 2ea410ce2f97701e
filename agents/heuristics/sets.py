"""Sets of fragments that fit the chip together, and schedules that use nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from agents.heuristics.covers import Cover, Covers, fuses, run_cover
from agents.heuristics.search import Filter, beam_search, better
from agents.scheduler import Meter, Partial
from fragenv.hardware.chip import Area
from fragenv.hardware.fragment import Stage
from fragenv.schedule.choices import busiest_cycles
from fragenv.schedule.problem import Problem

#: sets of fragments that are covered; what counts as equally good; the longest swap that may pay,
#: over the bound on latency
COVERED, ALIKE, SHORT_SWAP = 4, 1.005, 0.01


def fitting_sets(problem: Problem) -> list[frozenset[int]]:
    """Sets of one to three fragments that fit the chip together, one of them with a MAC array
    where the library has any; those first that cost least by a closed form (``_Estimates``)."""
    library = problem.library
    everything = set(range(len(library)))
    arrays = {i for i in everything if Stage.MAC in library[i].stages} or everything
    estimates = _Estimates(problem)
    found: list[tuple[float, tuple[int, ...]]] = []
    for size in (1, 2, 3):
        for chosen in itertools.combinations(range(len(library)), size):
            area = sum((problem.areas[i] for i in chosen), Area())
            if arrays & set(chosen) and area.fits(problem.region):
                found.append((estimates.cost(chosen), chosen))
    return [frozenset(chosen) for _, chosen in sorted(found)]


class _Offer(NamedTuple):
    """A choice as the estimates see it: cycles and bytes of a job, inputs and outputs in DRAM."""

    operators: tuple[int, ...]
    fragment: int
    fused: bool
    cycles: int
    moved: int


class _Estimates:
    """What a network costs within a set of fragments: every operator in the largest task that is
    offered, on the fragment that has then least to do, all frames overlapping."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.offers: list[list[_Offer]] = []
        for options in problem.choices:
            once: dict[tuple[object, ...], _Offer] = {}
            for c in options:
                key = (c.operators, c.fragment, bool(c.layers))
                if key not in once:
                    tensors = sum(problem.tensor_bytes[t] for t in (*c.sources, *c.outputs))
                    weights = sum(chain.shape.weight_bytes for chain in c.chains)
                    cycles = problem.batch * busiest_cycles(c, problem.library[c.fragment])
                    once[key] = _Offer(*key, cycles, tensors + weights)
            self.offers.append(sorted(once.values(), key=lambda o: -len(o.operators)))

    def cost(self, chosen: tuple[int, ...]) -> float:
        """The smaller estimate of fusing layers wherever possible and nowhere; infinite where an
        operator has no fragment."""
        return min(self._cost(chosen, True), self._cost(chosen, False))

    def _cost(self, chosen: tuple[int, ...], fuse: bool) -> float:
        problem = self.problem
        load = dict.fromkeys(chosen, 0)
        covered: set[int] = set()
        moved = 0
        for node, offers in enumerate(self.offers):
            if node in covered:
                continue
            able = [
                o
                for o in offers
                if o.fragment in load and (fuse or not o.fused) and covered.isdisjoint(o.operators)
            ]
            if not able:
                return float("inf")
            largest = (o for o in able if len(o.operators) == len(able[0].operators))
            best = min(largest, key=lambda o: load[o.fragment] + o.cycles)
            load[best.fragment] += best.cycles
            covered.update(best.operators)
            moved += best.moved
        cycles = max(*load.values(), moved / problem.chip.dram_bytes_per_cycle)
        return cycles / problem.bound_cycles + moved / problem.bound.traffic_bytes


def try_covers(meter: Meter, calls: int) -> list[tuple[Cover, Partial]]:
    """The schedules of a cover for each of the sets of fragments that promise most, of one without
    fused layers, and of one for all fragments in turns where a swap is short; cheapest first, while
    ``calls`` last."""
    problem, limit = meter.problem, meter.calls + calls
    covers = Covers(problem)
    found: list[tuple[float, int, Cover, Partial]] = []
    for chosen, swaps, fused in _promising(covers):
        if meter.calls >= limit and found:
            break
        cover = covers.best(chosen, swaps, fused)
        if cover is None or any(cover.tasks == other.tasks for _, _, other, _ in found):
            continue
        path = run_cover(meter, cover)
        if path is None:
            break
        found.append((problem.cost(path.state), len(found), cover, path))
    return [(cover, path) for _, _, cover, path in sorted(found, key=lambda item: item[:2])]


def among_covers(problem: Problem, covered: list[tuple[Cover, Partial]]) -> Filter:
    """Choices for the same operators as some task of the covers, on a fragment of the covers."""
    tasks = [problem.choices[n][i] for cover, _ in covered for n, i in cover.tasks]
    operators = {choice.operators for choice in tasks}
    fragments = {choice.fragment for choice in tasks}
    return lambda choice: choice.operators in operators and choice.fragment in fragments


def side_by_side(problem: Problem) -> list[frozenset[int]]:
    """The sets with more than one array fragment, those first that promise most where frames
    overlap."""
    arrays = {i for i, f in enumerate(problem.library) if Stage.MAC in f.stages}
    return [s for s in fitting_sets(problem) if len(s & arrays) > 1]


def _promising(covers: Covers) -> Iterator[tuple[frozenset[int], bool, bool]]:
    """(fragments, whether they take turns, whether layers may be fused), the best ``COVERED`` sets
    by estimate first: of sets that are as good, the one with the fewest fragments."""
    problem = covers.problem
    ranked = sorted((covers.estimate(s), len(s), sorted(s)) for s in fitting_sets(problem))
    taken: list[tuple[float, frozenset[int]]] = []
    for cost, _, numbers in ranked:
        chosen = frozenset(numbers)
        if any(other < chosen and best <= cost * ALIKE for best, other in taken):
            continue
        taken.append((cost, chosen))
        yield chosen, False, True
        if len(taken) == 1 and fuses(problem):
            yield chosen, False, False  # fused tasks may overlap less than closed forms know
        if len(taken) == COVERED:
            break
    arrays = [i for i, f in enumerate(problem.library) if Stage.MAC in f.stages]
    swap = min((problem.bind_cycles[i] for i in arrays), default=0)
    if len(arrays) > 1 and swap < SHORT_SWAP * problem.bound.latency_cycles:
        yield frozenset(range(len(problem.library))), True, True


def try_sets(meter: Meter, calls: int) -> list[tuple[frozenset[int], Partial]]:
    """A schedule for each set, cheapest first, while ``calls`` last."""
    problem, limit = meter.problem, meter.calls + calls
    found: list[tuple[float, int, frozenset[int], Partial]] = []
    for chosen in fitting_sets(problem):
        if meter.calls >= limit and found:
            break
        best = None
        for allow in (within(chosen), _divided(problem, chosen)):
            best = better(problem, best, beam_search(meter, 1, allow))
            if len(chosen) == 1:
                break
        if best is not None:
            found.append((problem.cost(best.state), len(found), chosen, best))
    return [(chosen, path) for _, _, chosen, path in sorted(found, key=lambda item: item[:2])]


def first_schedules(meter: Meter, calls: int) -> list[Partial]:
    """Where improvement begins: the schedules of covers and of sets of fragments, cheapest first.
    Two thirds of ``calls`` at most go to the covers."""
    found = [path for _, path in try_covers(meter, 2 * calls // 3)]
    found += [path for _, path in try_sets(meter, calls // 3)]
    return sorted(found, key=lambda path: meter.problem.cost(path.state))


def within(chosen: frozenset[int]) -> Filter:
    """Choices on a fragment of a set."""
    return lambda choice: choice.fragment in chosen


def single_layers(allow: Filter) -> Filter:
    """The choices that pass, and fuse no layers."""
    return lambda choice: not choice.layers and allow(choice)


def _divided(problem: Problem, chosen: frozenset[int]) -> Filter:
    """Each operator on one fragment of the set: the longest first, where the busiest fragment is
    least busy then (longest processing time first, Graham 1969)."""
    cycles: dict[int, dict[int, int]] = {}
    for node, options in enumerate(problem.choices):
        for choice in options:
            if choice.layers:
                continue
            if choice.fragment in chosen and choice.fragment not in cycles.setdefault(node, {}):
                fragment = problem.library[choice.fragment]
                cycles[node][choice.fragment] = busiest_cycles(choice, fragment)
    load = dict.fromkeys(chosen, 0)
    place: dict[int, int] = {}
    for node, offered in sorted(cycles.items(), key=lambda item: -min(item[1].values())):
        place[node] = min(offered, key=lambda f: (load[f] + offered[f], offered[f]))
        load[place[node]] += offered[place[node]]
    return lambda choice: place.get(choice.node) == choice.fragment
