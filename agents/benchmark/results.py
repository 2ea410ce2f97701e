"""What a benchmark's rows say: every search over the lower bound of its instance, and means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean, pstdev

from agents.benchmark.row_store import Row
from agents.benchmark.suite import Case, Instance, Limit

#: costs that differ by less, as a share, are equal
ALIKE = 1e-9


@dataclass(frozen=True, slots=True)
class Outcome:
    """A search. Cost, cycles (latency or period) and traffic are over the instance's bounds."""

    instance: Instance
    limit: Limit
    scheduler: str
    seed: int
    cost: float
    cycles: float
    traffic: float
    apply_calls: int
    wall_s: float


@dataclass(frozen=True, slots=True)
class Line:
    """A scheduler on several instances within one limit. Geometric means over instances; of the
    cost also how its mean differs between seeds (standard deviation, 0 for one seed)."""

    scheduler: str
    seeds: int
    cost: float
    spread: float
    cycles: float
    traffic: float
    #: instances on which no other scheduler's mean over seeds is lower
    won: int
    apply_calls: float
    wall_s: float


def outcomes_of(bounds: dict[Instance, Row], cases: dict[Case, Row]) -> list[Outcome]:
    """Every search whose instance's bounds are there."""
    found = []
    for case, row in cases.items():
        bound = bounds.get(case.instance)
        if bound is None or "error" in bound:
            continue
        found.append(
            Outcome(
                case.instance,
                case.limit,
                row["scheduler"],
                case.seed,
                row["cost"] / bound["cost"],
                row["cycles"] / bound["cycles"],
                row["traffic_bytes"] / bound["traffic_bytes"],
                row["apply_calls"],
                row["wall_s"],
            )
        )
    return found


def comparable(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those of instances that every scheduler has done with all of its seeds."""
    found = list(outcomes)
    seeds: dict[str, set[int]] = defaultdict(set)
    done: dict[Instance, set[tuple[str, int]]] = defaultdict(set)
    for outcome in found:
        seeds[outcome.scheduler].add(outcome.seed)
        done[outcome.instance].add((outcome.scheduler, outcome.seed))
    wanted = {(scheduler, seed) for scheduler, own in seeds.items() for seed in own}
    return [outcome for outcome in found if done[outcome.instance] == wanted]


def lines_of(outcomes: Sequence[Outcome]) -> list[Line]:
    """A line per scheduler, the lowest cost first, of ``comparable`` outcomes of one limit."""
    by_scheduler: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_scheduler[outcome.scheduler].append(outcome)
    won = winners(outcomes)
    lines = []
    for scheduler, own in by_scheduler.items():
        by_seed = [
            geometric_mean([o.cost for o in own if o.seed == seed])
            for seed in sorted({o.seed for o in own})
        ]
        lines.append(
            Line(
                scheduler,
                len(by_seed),
                fmean(by_seed),
                pstdev(by_seed),
                geometric_mean([o.cycles for o in own]),
                geometric_mean([o.traffic for o in own]),
                sum(scheduler in names for names in won.values()),
                fmean(o.apply_calls for o in own),
                fmean(o.wall_s for o in own),
            )
        )
    return sorted(lines, key=lambda line: line.cost)


def winners(outcomes: Iterable[Outcome]) -> dict[Instance, list[str]]:
    """Per instance the schedulers whose mean cost over seeds is the lowest; equal ones all win."""
    costs: dict[Instance, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        costs[outcome.instance][outcome.scheduler].append(outcome.cost)
    found = {}
    for instance, by_scheduler in costs.items():
        means = {name: fmean(own) for name, own in by_scheduler.items()}
        least = min(means.values())
        found[instance] = [name for name, mean in means.items() if mean <= least * (1 + ALIKE)]
    return found


def profile(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """Per scheduler the sorted ratios of its costs to the least cost of the instance, a ratio per
    instance and seed (performance profile: Dolan and More, Mathematical Programming 91, 2002)."""
    least: dict[Instance, float] = {}
    for outcome in outcomes:
        least[outcome.instance] = min(outcome.cost, least.get(outcome.instance, outcome.cost))
    ratios: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        ratios[outcome.scheduler].append(outcome.cost / least[outcome.instance])
    return {scheduler: sorted(own) for scheduler, own in ratios.items()}


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other point is at or below in both coordinates, by the first one."""
    found: list[tuple[float, float]] = []
    for point in sorted(set(points)):
        if not found or point[1] < found[-1][1]:
            found.append(point)
    return found
