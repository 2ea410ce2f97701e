"""The files that a benchmark ends with: tables and pictures of the rows that are there."""

from __future__ import annotations

from pathlib import Path

from agents.benchmark.plots import gap_figure, pareto_figure, profile_figure
from agents.benchmark.results import outcomes_of
from agents.benchmark.run import Session
from agents.benchmark.tables import csv_text, markdown
from agents.experiment import write_figure
from fragenv.serialize import write_bytes

FIGURES = {"gap": gap_figure, "profile": profile_figure, "pareto": pareto_figure}


def write_report(session: Session, command: str) -> None:
    """``benchmark.csv``, ``benchmark.md`` and, where anything was solved, the pictures.

    Raises:
        FileError: the folder cannot be written.
    """
    folder: Path = session.output
    found = session.found()
    outcomes = outcomes_of(found.bounds, found.cases)
    plots = FIGURES if outcomes else {}
    for name, figure in plots.items():
        write_figure(figure(outcomes), folder / f"{name}.png")
    asked = session.asked - len(session.instances)
    text = markdown(found, outcomes, asked, command, list(plots))
    write_bytes(folder / "benchmark.csv", csv_text(found).encode("utf-8"))
    write_bytes(folder / "benchmark.md", text.encode("utf-8"))
