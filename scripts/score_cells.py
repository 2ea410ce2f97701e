"""Score all runnable cells of NAS-Bench-201 without training."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import Progress

from fragenv.errors import FragenvError
from fragenv.generate import nb201
from fragenv.generate.table import SYSTEM, compute, save_table
from fragenv.generate.zero_cost import ProxyConfig


def main(
    output: Annotated[Path, typer.Option(help="File for the table; its folder exists.")] = Path(
        f"{SYSTEM}.safetensors"
    ),
    seeds: Annotated[int, typer.Option(help="Initialisations to average.", min=1)] = 3,
) -> None:
    """Compute NASWOT and log-synflow of all 15,284 cells and write them as one table.

    Takes about two minutes on one core.

    Example: scripts/score_cells.py --output fragenv/generate/trained/nb201-scores.safetensors
    """
    torch.set_num_threads(1)
    command = shlex.join(["python", "scripts/score_cells.py", *sys.argv[1:]])
    config, start = ProxyConfig(), time.process_time()
    try:
        with Progress() as progress:
            bar = progress.add_task("scoring", total=seeds * len(nb201.runnable_choices()))
            table = compute(config, seeds, lambda: progress.advance(bar))
        save_table(output, table, config, seeds, command)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"wrote {output} after {time.process_time() - start:.0f} s of one core")


if __name__ == "__main__":
    typer.run(main)
