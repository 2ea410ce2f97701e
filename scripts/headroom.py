"""What good search can win, for every registered model, chip preset and batch."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated

import typer
from options import MaxDepth
from rich.progress import Progress

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.scheduler import SCHEDULERS, Budget
from fragenv.env.registry import ENVIRONMENTS
from fragenv.errors import FragenvError
from fragenv.hardware.chip import preset_names
from fragenv.models import zoo
from fragenv.schedule.problem import Problem

COLUMNS = ("random", "greedy", "uniform", "static_set", "beam")
WANTED = 0.95


def measure(model: str, chip: str, batch: int, budget: int, depth: int) -> dict[str, object]:
    """One row: per scheduler latency, traffic and default cost over the lower bound."""
    row: dict[str, object] = {"model": model, "chip": chip, "batch": batch, "budget": budget}
    row["max_depth"] = depth
    try:
        problem = Problem(zoo.graph(model), chip, batch, depth)
    except FragenvError as error:
        return {**row, "error": str(error)}
    for name in COLUMNS:
        result = SCHEDULERS.get(name).solve(problem, Budget(budget), seed=0)
        row[f"{name}_latency"] = result.state.latency_cycles / problem.bound.latency_cycles
        row[f"{name}_traffic"] = result.state.traffic_bytes / problem.bound.traffic_bytes
        row[f"{name}_cost"] = result.cost
    row["beam_over_uniform"] = row["beam_cost"] / row["uniform_cost"]  # type: ignore[operator]
    return row


def write_tables(rows: list[dict[str, object]], folder: Path, command: str) -> None:
    """``headroom.csv`` and ``headroom.md``."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "headroom.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    lines = [
        "# Headroom",
        "",
        f"Made by `{command}`. Each cell: latency / traffic / default cost, the first two over",
        "their lower bounds, the third their sum. Marked rows: beam at most 0.95 of uniform.",
        f"{len(rows)} of {2 * len(ENVIRONMENTS) * len(preset_names())} instances are measured; the "
        "command goes on with the others.",
        "",
        "| model | chip | batch | " + " | ".join(COLUMNS) + " | beam / uniform |",
        "|" + "---|" * (len(COLUMNS) + 4),
    ]
    for row in rows:
        head = f"| {row['model']} | {row['chip']} | {row['batch']} | "
        if "error" in row:
            lines.append(head + f"{row['error']} |" + " |" * len(COLUMNS))
            continue
        cells = [
            f"{row[f'{c}_latency']:.2f} / {row[f'{c}_traffic']:.2f} / {row[f'{c}_cost']:.3f}"
            for c in COLUMNS
        ]
        ratio = float(str(row["beam_over_uniform"]))
        mark = f"**{ratio:.3f}**" if ratio <= WANTED else f"{ratio:.3f}"
        lines.append(head + " | ".join(cells) + f" | {mark} |")
    lines += ["", "## Default chip and batch", "", *default_lines(rows)]
    (folder / "headroom.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def default_lines(rows: list[dict[str, object]]) -> list[str]:
    """What each registered id runs on, and whether its row justifies it."""
    lines = ["| id | chip | batch | beam / uniform |", "|---|---|---|---|"]
    by_key = {(r["model"], r["chip"], r["batch"]): r for r in rows}
    for name, entry in ENVIRONMENTS.items():
        row = by_key.get((entry.model, entry.chip, entry.batch))
        ratio = "not measured" if row is None or "error" in row else row["beam_over_uniform"]
        text = f"{ratio:.3f}" if isinstance(ratio, float) else str(ratio)
        if isinstance(ratio, float) and ratio > WANTED:
            others = [r for r in rows if r["model"] == entry.model and "error" not in r]
            best = min(others, key=lambda r: float(str(r["beam_over_uniform"])))
            if float(str(best["beam_over_uniform"])) > WANTED:
                text += " (no preset measured gives 0.95)"
        lines.append(f"| {name} | {entry.chip} | {entry.batch} | {text} |")
    return lines


def main(
    output: Annotated[Path, typer.Option(help="Folder for rows and tables.")] = Path(
        "results/headroom"
    ),
    model: Annotated[list[str] | None, typer.Option(help="Only these models.")] = None,
    chip: Annotated[list[str] | None, typer.Option(help="Only these chip presets.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batches.")] = None,
    budget: Annotated[int, typer.Option(help="apply calls of each scheduler.")] = 20_000,
    max_depth: MaxDepth = 1,
) -> None:
    """Compare the schedulers on every model x chip x batch, each over the lower bound.

    Rows are kept in rows.jsonl as they are found; a run that was interrupted goes on there.
    """
    output.mkdir(parents=True, exist_ok=True)
    models = model or [entry.model for entry in ENVIRONMENTS.values()]
    wanted = [
        (m, c, b) for m in models for c in (chip or preset_names()) for b in (batch or [1, 8])
    ]
    store = output / "rows.jsonl"
    rows: list[dict[str, object]] = []
    if store.exists():
        rows = [json.loads(line) for line in store.read_text("utf-8").splitlines()]

    def asked_for(row: dict[str, object]) -> bool:
        # rows of earlier versions have no depth
        return (row["budget"], row.get("max_depth", 1)) == (budget, max_depth)

    known = {(r["model"], r["chip"], r["batch"]) for r in rows if asked_for(r)}
    with Progress() as progress:
        bar = progress.add_task("instances", total=len(wanted))
        for key in wanted:
            progress.update(bar, description=" ".join(map(str, key)))
            if key not in known:
                row = measure(*key, budget, max_depth)
                rows.append(row)
                with store.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            progress.advance(bar)
    order = {key: i for i, key in enumerate(wanted)}
    shown = [r for r in rows if asked_for(r)]
    shown.sort(key=lambda r: order.get((r["model"], r["chip"], r["batch"]), len(order)))  # type: ignore[arg-type]
    command = f"python scripts/headroom.py --budget {budget}"
    if max_depth > 1:
        command += f" --max-depth {max_depth}"
    write_tables(shown, output, command)
    typer.echo((output / "headroom.md").read_text("utf-8"))


if __name__ == "__main__":
    typer.run(main)
