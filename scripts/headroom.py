"""What good search can win, for every registered model, chip preset, batch and depth."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from options import SchedulerOption
from rich.progress import Progress

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.scheduler import SCHEDULERS, Budget
from fragenv.env.registry import ENVIRONMENTS
from fragenv.errors import FragenvError
from fragenv.hardware.chip import preset_names
from fragenv.models import zoo
from fragenv.schedule.bounds_cost import least_possible
from fragenv.schedule.problem import MAX_DEPTH, Problem
from fragenv.serialize import write_bytes

SCHEDULED = ("random", "greedy", "uniform", "static_set", "beam")
#: schedulers that no table can do without
ALWAYS = ("uniform", "beam")
#: beam over uniform, default cost: what justifies the chip of a registered id, and what is wanted
#: of at least half of the pairs of model and chip where layers are fused
WANTED, RICH, RICH_SHARE = 0.95, 0.85, 0.5

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Instance:
    """A row: the schedulers on one problem."""

    model: str
    chip: str
    batch: int
    depth: int
    budget: int

    def is_row(self, row: Row) -> bool:
        """Whether a row is of this instance."""
        found = (row["model"], row["chip"], row["batch"], row["max_depth"], row["budget"])
        return found == (self.model, self.chip, self.batch, self.depth, self.budget)


def measure(one: Instance, schedulers: Sequence[str]) -> Row:
    """One row: per scheduler latency, traffic and default cost over the lower bound, and the cost
    that no schedule is below; where there is no schedule it says why."""
    row: Row = {"model": one.model, "chip": one.chip, "batch": one.batch}
    row |= {"max_depth": one.depth, "budget": one.budget}
    try:
        problem = Problem(zoo.graph(one.model), one.chip, one.batch, one.depth)
    except FragenvError as error:
        return {**row, "error": str(error)}
    for name in schedulers:
        result = SCHEDULERS.get(name).solve(problem, Budget(one.budget), seed=0)
        row[f"{name}_latency"] = result.state.latency_cycles / problem.bound.latency_cycles
        row[f"{name}_traffic"] = result.state.traffic_bytes / problem.bound.traffic_bytes
        row[f"{name}_cost"] = result.cost
    row["beam_over_uniform"] = row["beam_cost"] / row["uniform_cost"]
    row["least_cost"] = least_possible(problem).cost
    return row


def read_rows(store: Path) -> list[Row]:
    """The rows of earlier runs; none where there is no file."""
    if not store.exists():
        return []
    return [json.loads(line) for line in store.read_text("utf-8").splitlines()]


def csv_text(rows: Sequence[Row]) -> str:
    """``headroom.csv``."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def page(rows: Sequence[Row], wanted: int, schedulers: Sequence[str], command: str) -> str:
    """``headroom.md``: the rows, of ``wanted`` instances that were asked for."""
    lines = [
        "# Headroom",
        "",
        f"Made by `{command}`. Each cell: latency / traffic / default cost, the first two over",
        f"their lower bounds, the third their sum. Marked rows: beam at most {WANTED} of uniform.",
        "The last column: what no schedule is below, by stronger bounds, over uniform.",
        f"{len(rows)} of {wanted} instances are measured; the command goes on with the others.",
        "",
        *depth_lines(rows),
        f"| model | chip | batch | depth | {' | '.join(schedulers)} | beam / uniform "
        "| least possible / uniform |",
        "|" + "---|" * (len(schedulers) + 6),
    ]
    for row in rows:
        head = f"| {row['model']} | {row['chip']} | {row['batch']} | {row['max_depth']} | "
        if "error" in row:
            lines.append(head + f"{row['error']} |" + " |" * (len(schedulers) + 1))
            continue
        cells = [
            f"{row[f'{s}_latency']:.2f} / {row[f'{s}_traffic']:.2f} / {row[f'{s}_cost']:.3f}"
            for s in schedulers
        ]
        ratio = row["beam_over_uniform"]
        mark = f"**{ratio:.3f}**" if ratio <= WANTED else f"{ratio:.3f}"
        least = f"{row['least_cost'] / row['uniform_cost']:.3f}"
        lines.append(head + " | ".join(cells) + f" | {mark} | {least} |")
    lines += ["", "## Default chip and batch", "", *default_lines(rows)]
    return "\n".join(lines) + "\n"


def depth_lines(rows: Sequence[Row]) -> list[str]:
    """How rich the decisions are at each depth: at how many pairs of model and chip the beam is
    far below uniform, and further below than at depth 1."""
    solved = {
        (r["max_depth"], r["batch"], r["model"], r["chip"]): r for r in rows if "error" not in r
    }
    ratios = {key: r["beam_over_uniform"] for key, r in solved.items()}
    least = {key: r["least_cost"] / r["uniform_cost"] for key, r in solved.items()}
    lines = [
        f"| depth | batch | pairs measured | beam at most {RICH} of uniform | no schedule can be "
        "| measured at depth 1 too | further below uniform than there |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for depth, batch in sorted({(depth, batch) for depth, batch, *_ in ratios}):
        of_depth = {key[2:]: r for key, r in ratios.items() if key[:2] == (depth, batch)}
        rich = sum(r <= RICH for r in of_depth.values())
        never = sum(least[depth, batch, *p] > RICH for p in of_depth)
        single = {p: ratios[1, batch, *p] for p in of_depth if (1, batch, *p) in ratios}
        lower = sum(of_depth[p] < r for p, r in single.items())
        compared = f"{len(single)} | {lower}" if depth > 1 else "- | -"
        lines.append(f"| {depth} | {batch} | {len(of_depth)} | {rich} | {never} | {compared} |")
    wanted = f"Wanted where layers are fused: at most {RICH} at {RICH_SHARE:.0%} of the pairs, and"
    return [*lines, "", f"{wanted} lower than at depth 1 at most of them.", ""]


def default_lines(rows: Sequence[Row]) -> list[str]:
    """What each registered id runs on, and whether its row at depth 1 justifies it."""
    lines = ["| id | chip | batch | beam / uniform |", "|---|---|---|---|"]
    single = [r for r in rows if r["max_depth"] == 1 and "error" not in r]
    ratios = {(r["model"], r["chip"], r["batch"]): r["beam_over_uniform"] for r in single}
    for name, entry in ENVIRONMENTS.items():
        ratio = ratios.get((entry.model, entry.chip, entry.batch))
        text = "not measured" if ratio is None else f"{ratio:.3f}"
        if ratio is not None and ratio > WANTED:
            others = [r for (model, *_), r in ratios.items() if model == entry.model]
            if min(others) > WANTED:
                text += f" (no preset measured gives {WANTED})"
        lines.append(f"| {name} | {entry.chip} | {entry.batch} | {text} |")
    return lines


def main(
    output: Annotated[Path, typer.Option(help="Folder for rows and tables.")] = Path(
        "results/headroom"
    ),
    model: Annotated[list[str] | None, typer.Option(help="Only these models.")] = None,
    chip: Annotated[list[str] | None, typer.Option(help="Only these chip presets.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batches. Default: 1 and 8.")] = None,
    max_depth: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=MAX_DEPTH,
            help="Multiply-accumulate operators on a task's critical path; again for a comparison "
            "of depths. Default: 1.",
        ),
    ] = None,
    budget: Annotated[int, typer.Option(help="apply calls of each scheduler.", min=1)] = 20_000,
    scheduler: SchedulerOption = None,
) -> None:
    """Compare schedulers on every model x chip x batch x depth, each over the lower bound.

    uniform and beam always run. Rows are kept in rows.jsonl as they are found, and a run that was
    interrupted goes on there; take the file away after a change of the code. The tables are of all
    that was asked for. A small budget leaves single fragments untried: 4,000 calls are enough for
    all of them at depth 3.
    """
    schedulers = [*dict.fromkeys((*ALWAYS, *(scheduler or SCHEDULED)))]
    models = model or [entry.model for entry in ENVIRONMENTS.values()]
    wanted = [
        Instance(m, c, b, depth, budget)
        for m in models
        for c in (chip or preset_names())
        for b in (batch or [1, 8])
        for depth in (max_depth or [1])
    ]
    command = f"python scripts/headroom.py {shlex.join(sys.argv[1:])}".rstrip()
    try:
        output.mkdir(parents=True, exist_ok=True)
        for rows in _measured(wanted, schedulers, output / "rows.jsonl"):
            text = page(rows, len(wanted), schedulers, command)
            write_bytes(output / "headroom.csv", csv_text(rows).encode("utf-8"))
            write_bytes(output / "headroom.md", text.encode("utf-8"))
    except (FragenvError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo((output / "headroom.md").read_text("utf-8"))


def _measured(
    wanted: Sequence[Instance], schedulers: Sequence[str], store: Path
) -> Iterator[list[Row]]:
    """The rows of the instances so far, in their order: of all that are known, then again after
    each new one, which is appended to the store."""
    rows: dict[Instance, Row] = {}
    for row in read_rows(store):
        if "error" in row or all(f"{name}_cost" in row for name in (*schedulers, "least")):
            rows |= {one: row for one in wanted if one.is_row(row)}
    with Progress() as progress:
        todo = [one for one in wanted if one not in rows]
        bar = progress.add_task("instances", total=len(wanted), completed=len(rows))
        yield [rows[one] for one in wanted if one in rows]
        for one in todo:
            name = f"{one.model} {one.chip} {one.batch} {one.depth}"
            progress.update(bar, description=name)
            rows[one] = measure(one, schedulers)
            with store.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[one]) + "\n")
            progress.advance(bar)
            yield [rows[one] for one in wanted if one in rows]


if __name__ == "__main__":
    typer.run(main)
