"""``benchmark.csv`` and ``benchmark.md``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from statistics import geometric_mean

from agents.benchmark.results import Line, Outcome, comparable, lines_of
from agents.benchmark.row_store import Row
from agents.benchmark.run import Found
from agents.benchmark.suite import ALL_OBJECTIVES, Limit
from agents.splits import PARTS, part_of
from fragenv.schedule.objective import Objective

#: columns of a row that are no figures of its own
HIDDEN = ("key", "code", "actions")
BOUNDS = ("cost", "cycles", "traffic_bytes")


def csv_text(found: Found) -> str:
    """Every search with its instance's bounds, and a row for every instance that cannot be."""
    rows: list[Row] = [
        {name: row[name] for name in row if name not in HIDDEN}
        for row in found.bounds.values()
        if "error" in row
    ]
    for case, row in found.cases.items():
        bound = found.bounds.get(case.instance, {})
        visible = {name: value for name, value in row.items() if name not in HIDDEN}
        rows.append({**visible, **{f"bound_{name}": bound.get(name) for name in BOUNDS}})
    text = io.StringIO(newline="")
    names = dict.fromkeys(name for row in reversed(rows) for name in row)
    writer = csv.DictWriter(text, list(names))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def markdown(
    found: Found, outcomes: Sequence[Outcome], cases: int, command: str, plots: Sequence[str]
) -> str:
    """The whole of ``benchmark.md``. ``cases``: searches asked for."""
    tight = [row for row in found.bounds.values() if row.get("every_plan")]
    possible = [row for row in found.bounds.values() if "error" not in row]
    lines = [
        "# Benchmark",
        "",
        f"Made by `{command}`. {len(found.cases):,} of {cases:,} searches are done, on "
        f"{len(possible)} instances.",
        "",
        "Figures are over the lower bounds that no schedule of the instance is below, geometric",
        "means over instances: cost (cycles and traffic, each over the problem's own bound),",
        "cycles of the latency or of the period, DRAM and configuration bytes. +-: standard",
        "deviation between seeds; a scheduler that uses none has one. Won: instances on which no",
        "other scheduler's mean over seeds is lower; who is as good wins too. Seconds of wall time",
        "per search, the tables of plans filled before. The bounds are `StateBounds` of the first",
        f"state, in {len(tight)} instances with every plan looked at, elsewhere by closed forms.",
    ]
    for objective in ALL_OBJECTIVES:
        own = [o for o in outcomes if o.instance.objective == objective]
        for limit in dict.fromkeys(o.limit for o in own):
            lines += ["", *_section(objective, limit, [o for o in own if o.limit == limit])]
    lines += _by_part(outcomes)
    lines += _impossible(found)
    for name in plots:
        lines += ["", f"![{name}]({name}.png)"]
    return "\n".join(lines) + "\n"


def _section(objective: str, limit: Limit, outcomes: Sequence[Outcome]) -> list[str]:
    compared = comparable(outcomes)
    instances = len({o.instance for o in compared})
    left_out = len({o.instance for o in outcomes}) - instances
    cycles = "period" if objective == Objective.THROUGHPUT else "latency"
    said = f" ({left_out} more are not done by all)" if left_out else ""
    return [
        f"## {objective.capitalize()}, {limit}: {instances} instances{said}",
        "",
        f"| scheduler | cost | +- | {cycles} | traffic | won | calls | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_row(line) for line in lines_of(compared)),
    ]


def _row(line: Line) -> str:
    spread = f"{line.spread:.4f}" if line.seeds > 1 else ""
    return (
        f"| {line.scheduler} | {line.cost:.4f} | {spread} | {line.cycles:.4f} "
        f"| {line.traffic:.4f} | {line.won} | {line.apply_calls:,.0f} | {line.wall_s:.2f} |"
    )


def last_limit(outcomes: Sequence[Outcome]) -> Limit | None:
    """The limit that lets search longest: the most calls, or the most seconds where only these are
    limited."""
    limits = {o.limit for o in outcomes}
    return max(limits, key=lambda x: (x.calls or 0, x.seconds or 0.0), default=None)


def _by_part(outcomes: Sequence[Outcome]) -> list[str]:
    """The cost at the last limit, by the parts of the split."""
    limit = last_limit(outcomes)
    own = [o for o in outcomes if o.limit == limit]
    of = {model: part_of(model) for model in {o.instance.model for o in own}}
    parts = [part for part in PARTS if part in of.values()]
    if len(parts) < 2:
        return []
    lines = [
        "",
        f"## Cost by part of the split, both objectives, {limit}",
        "",
        f"| scheduler | {' | '.join(parts)} |",
        "|---|" + "---:|" * len(parts),
    ]
    # an instance counts where all schedulers have done it; one objective at a time, because
    # schedulers may differ in what they have done
    compared = [
        o
        for objective in ALL_OBJECTIVES
        for o in comparable([o for o in own if o.instance.objective == objective])
    ]
    for scheduler in dict.fromkeys(o.scheduler for o in compared):
        cells = []
        for part in parts:
            costs = [
                o.cost
                for o in compared
                if o.scheduler == scheduler and of[o.instance.model] == part
            ]
            cells.append(f"{geometric_mean(costs):.4f}" if costs else "")
        lines.append(f"| {scheduler} | {' | '.join(cells)} |")
    return lines


def _impossible(found: Found) -> list[str]:
    """Instances without any schedule, and why."""
    rows = [(i, row["error"]) for i, row in found.bounds.items() if "error" in row]
    if not rows:
        return []
    return ["", "## Not possible", "", *(f"* {i.key}: {error}" for i, error in rows)]
