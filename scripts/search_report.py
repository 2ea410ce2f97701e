"""What a search writes about itself: a page, a picture and the list of its candidates."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.comparison import Entry, best_of
from agents.experiment import write_figure
from fragenv.generate.latency import LatencyOracle
from fragenv.generate.latency_table import column
from fragenv.generate.ranking import Ranking
from fragenv.generate.search import Candidate, Goal, front
from fragenv.generate.table import COLUMNS, cell_scores
from fragenv.hardware.chip import load_chip, preset_names
from fragenv.report.pareto import Point, pareto_figure
from fragenv.schedule.problem import Problem
from fragenv.serialize import write_bytes


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate after full search on its quantised network; ``file`` holds it in floating
    point."""

    candidate: Candidate
    problem: Problem
    entries: dict[str, Entry]
    file: Path
    int8_file: Path

    @property
    def latency_cycles(self) -> int:
        return self.entries[best_of(self.entries)].result.state.latency_cycles


def known_cells(oracle: LatencyOracle) -> list[Point]:
    """(latency, score) of all cells of NAS-Bench-201 by this oracle; none where the table has not
    the chip, or not this way of scheduling."""
    chip = load_chip(oracle.chip)
    if chip.name not in preset_names() or oracle != LatencyOracle(load_chip(chip.name)):
        return []
    name, rows = column(chip.name), list(cell_scores().values())
    if name not in rows[0]:
        return []
    values = np.array([[row[c] for c in COLUMNS] for row in rows])
    scores = Ranking().of_values(values).tolist()
    return [(row[name], score) for row, score in zip(rows, scores, strict=True)]


def write_candidates(path: Path, candidates: Sequence[Candidate]) -> None:
    """A row for each candidate, in the order of their evaluation."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["reward", "score", "latency_cycles", "operators", "edges", "origin"])
    for c in candidates:
        edges = " ".join(f"{src}-{dst}" for src, dst in c.architecture.edges)
        cell = [" ".join(c.architecture.ops), edges, c.architecture.origin]
        writer.writerow([f"{c.reward:.6f}", f"{c.score:.6f}", c.latency_cycles, *cell])
    write_bytes(path, text.getvalue().encode("utf-8"))


def write_report(
    folder: Path,
    goal: Goal,
    notices: Sequence[str],
    candidates: Sequence[Candidate],
    finalists: Sequence[Finalist],
    winner: Finalist,
    known: Sequence[Point],
    command: str,
) -> None:
    """report.md, pareto.png."""
    chip = winner.problem.chip
    target = (
        f"{goal.target_cycles:,.0f} cycles ({chip.milliseconds(round(goal.target_cycles)):.4g} ms)"
    )
    lines = [
        f"# Search on {chip.name}, target {target}",
        "",
        f"Made by `{command}`. {len(candidates)} candidates, the best reward "
        f"{max(c.reward for c in candidates):.4f}.",
        *(f"\n{notice}." for notice in notices),
    ]
    if known:
        rewards = [goal.reward(score, round(cycles)) for cycles, score in known]
        best = max(c.reward for c in candidates)
        share = sum(reward < best for reward in rewards) / len(rewards)
        lines.append(
            f"\nThe best reward of all {len(known):,} cells of NAS-Bench-201 is "
            f"{max(rewards):.4f}; the search's best exceeds {share:.2%} of them."
        )
    lines += [
        "",
        "| finalist | score | latency by the oracle | by full search | lower bound | reward |",
        "|---|---|---|---|---|---|",
    ]
    for number, f in enumerate(finalists):
        name = f"**{number}**" if f is winner else str(number)
        reward = goal.reward(f.candidate.score, f.latency_cycles)
        lines.append(
            f"| {name} | {f.candidate.score:.4f} | {f.candidate.latency_cycles:,} "
            f"| {f.latency_cycles:,} | {f.problem.bound.latency_cycles:,} | {reward:.4f} |"
        )
    write_bytes(folder / "report.md", ("\n".join(lines) + "\n").encode("utf-8"))
    points: list[Point] = [(c.latency_cycles, c.score) for c in candidates]

    def best(of: Sequence[Point]) -> list[Point]:
        return [of[i] for i in front([(score, cycles) for cycles, score in of])]

    moved = [
        (
            (float(f.candidate.latency_cycles), f.candidate.score),
            (float(f.latency_cycles), f.candidate.score),
        )
        for f in finalists
    ]
    figure = pareto_figure(
        f"{len(candidates)} candidates on {chip.name}",
        points,
        best(points),
        goal.target_cycles,
        (winner.latency_cycles, winner.candidate.score),
        moved,
        known,
        best(known),
    )
    write_figure(figure, folder / "pareto.png")
