"""Schedulers beside each other: a table for the terminal, one in Markdown, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod
from rich.table import Table

from agents.scheduler import Result
from fragenv.schedule.objective import Objective
from fragenv.schedule.problem import Problem
from fragenv.serialize import write_bytes

TIMED_OUT = "Calls with a star: the limit of seconds ended the search before its calls were used."


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the comparison. ``training_s`` is what the agent's training took, beside its own
    search."""

    result: Result
    training_s: float = 0.0


def best_of(entries: Mapping[str, Entry]) -> str:
    """The name of the cheapest schedule; the first of equal ones."""
    return min(entries, key=lambda name: entries[name].result.cost)


def figures(problem: Problem, entry: Entry) -> dict[str, Any]:
    """What summary.json and comparison.csv say of a schedule and the search that found it."""
    state = entry.result.state
    return {
        "latency_cycles": state.latency_cycles,
        "latency_ms": problem.chip.milliseconds(state.latency_cycles),
        "period_cycles": state.period_cycles,
        "frames_per_second": round(problem.frames_per_second(state), 3),
        "dram_read_bytes": state.dram_read_bytes,
        "dram_write_bytes": state.dram_write_bytes,
        "config_bytes": state.config_bytes,
        "startup_config_bytes": state.startup_config_bytes,
        "return": -entry.result.cost,
        "apply_calls": entry.result.apply_calls,
        "timed_out": entry.result.timed_out,
        "wall_s": round(entry.result.wall_s, 3),
        "training_s": round(entry.training_s, 1),
    }


def write_comparison(
    folder: Path, problem: Problem, entries: Mapping[str, Entry], command: str
) -> None:
    """comparison.csv and comparison.md."""
    rows = {name: figures(problem, entry) for name, entry in entries.items()}
    bound = problem.bound
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    columns = list(next(iter(rows.values())))
    writer.writerow(["scheduler", *columns, "latency_over_bound", "traffic_over_bound"])
    lines = [
        f"# {_title(problem)}",
        "",
        f"Made by `{command}`. Lower bounds: latency {bound.latency_cycles:,} cycles, period of "
        f"overlapping jobs {bound.period_cycles:,} cycles, {bound.traffic_bytes:,} bytes.",
        f"Cost: {_counted(problem)} and traffic over their bounds, added; it is minus the default "
        "return.",
        *([TIMED_OUT] if any(row["timed_out"] for row in rows.values()) else []),
        "",
        "| scheduler | cost | latency, cycles | over bound | ms | period, cycles | frames/s "
        "| traffic, bytes | over bound | swaps, bytes | apply calls | seconds | training, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["return"]):
        traffic = row["dram_read_bytes"] + row["dram_write_bytes"] + row["config_bytes"]
        over = row["latency_cycles"] / bound.latency_cycles, traffic / bound.traffic_bytes
        writer.writerow([name, *row.values(), *over])
        lines.append(
            f"| {name} | {-row['return']:.3f} | {row['latency_cycles']:,} | {over[0]:.3f} "
            f"| {row['latency_ms']:.3f} | {row['period_cycles']:,} "
            f"| {row['frames_per_second']:.4g} | {traffic:,} | {over[1]:.3f} "
            f"| {row['config_bytes']:,} "
            f"| {row['apply_calls']:,}{'*' * row['timed_out']} | {row['wall_s']:.2f} "
            f"| {row['training_s']:.0f} |"
        )
    write_bytes(folder / "comparison.csv", text.getvalue().encode("utf-8"))
    write_bytes(folder / "comparison.md", ("\n".join(lines) + "\n").encode("utf-8"))


def comparison_table(problem: Problem, entries: Mapping[str, Entry]) -> Table:
    """What matters most, the best schedule first, in 80 columns."""
    counted = _counted(problem)
    note = f"cost: {counted} and traffic over their lower bounds (the columns x bound), added"
    if any(entry.result.timed_out for entry in entries.values()):
        note += f"\n{TIMED_OUT}"
    table = Table(
        title=_title(problem),
        caption=note,
        box=SIMPLE_HEAD,
        padding=0,
        caption_justify="left",
    )
    for column in (
        *("scheduler", "cost", f"{counted}, ms", "x bound", "frames/s", "traffic, MB", "x bound"),
        *("calls", "s"),
    ):
        justify: JustifyMethod = "left" if column == "scheduler" else "right"
        table.add_column(column, justify=justify, no_wrap=column == "scheduler")
    for name, entry in sorted(entries.items(), key=lambda item: item[1].result.cost):
        result = entry.result
        state = result.state
        cycles = problem.cycles(state)
        table.add_row(
            name,
            f"{result.cost:.3f}",
            f"{problem.chip.milliseconds(cycles):.2f}",
            f"{cycles / problem.bound_cycles:.2f}",
            f"{problem.frames_per_second(state):.4g}",
            f"{state.traffic_bytes / 1e6:.2f}",
            f"{state.traffic_bytes / problem.bound.traffic_bytes:.2f}",
            f"{result.apply_calls:,}{'*' * result.timed_out}",
            f"{result.wall_s:.2f}",
        )
    return table


def _title(problem: Problem) -> str:
    return f"{problem.graph.name} on {problem.chip.name}, batch {problem.batch}"


def _counted(problem: Problem) -> str:
    """The cycles that the cost counts, in a word."""
    return "period" if problem.objective is Objective.THROUGHPUT else "latency"
