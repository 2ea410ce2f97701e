"""Measure relational graphs: accuracy on digits, blocks and latency against sparsity."""

from __future__ import annotations

import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import Progress

from fragenv.errors import FragenvError
from fragenv.generate.relational_digits import LAYERS, Blocks, Learnt, Wiring, blocks, learnt
from fragenv.serialize import make_folder, write_bytes

NODES = 16
#: (degree, rewiring): from a ring to the complete graph, and one degree from order to chance
WIRINGS = (
    *((2.0, 0.0), (3.0, 0.2), (4.0, 0.0), (4.0, 0.2), (4.0, 1.0)),
    *((6.0, 0.2), (8.0, 0.2), (12.0, 0.2), (15.0, 0.0)),
)
#: below the complete graph's accuracy the best sparse one's may be by so much
MOST_BELOW = 0.005
#: of every latency, the graph that this seed draws
LATENCY_SEED = 0


def percent(accuracies: tuple[float, ...]) -> str:
    """Mean and deviation over the seeds."""
    return f"{100 * np.mean(accuracies):.2f} ± {100 * np.std(accuracies):.2f}%"


def row(wiring: Wiring, found: Learnt, network: Blocks) -> str:
    """A row of the table."""
    share = (found.measures.density * (wiring.nodes - 1) + 1) / wiring.nodes
    cells = (
        f"{wiring.degree:g}, {wiring.rewiring:g}",
        f"{found.measures.clustering:.2f}",
        f"{found.measures.path_length:.2f}",
        f"{share:.1%}",
        percent(found.same_width),
        f"{np.mean(found.widths):.0f}",
        percent(found.same_weights),
        f"{network.found} of {network.there}",
        f"{network.latency_cycles:,}",
    )
    return f"| {' | '.join(cells)} |"


def missed(learnt_by: list[Learnt], networks: list[Blocks]) -> list[str]:
    """What is not as it should be; the last of both is the complete graph's."""
    best = max(float(np.mean(found.same_weights)) for found in learnt_by[:-1])
    complete = float(np.mean(learnt_by[-1].same_weights))
    result = []
    if best < complete - MOST_BELOW:
        result.append(f"the best sparse graph has {best:.2%}, the complete one {complete:.2%}")
    if any(network.found != network.there for network in networks):
        result.append("the pattern miner does not find all blocks")
    ordered = sorted(networks, key=lambda network: network.there)
    for fewer, more in pairwise(ordered):
        if fewer.there < more.there and fewer.latency_cycles >= more.latency_cycles:
            result.append(f"{fewer.there} blocks take no less time than {more.there}")
    return result


def main(
    output: Annotated[Path, typer.Option(help="Folder for relational.md.")] = Path(
        "results/reference/generate"
    ),
    seeds: Annotated[int, typer.Option(help="Graphs, splits and weights.", min=1)] = 5,
    width: Annotated[
        int, typer.Option(help=f"Of the complete network; a multiple of {NODES}.", min=NODES)
    ] = 128,
    epochs: Annotated[int, typer.Option(help="Of each training.", min=1)] = 30,
    chip: Annotated[str, typer.Option(help="Preset or TOML file, for the latency.")] = "xc7z020",
) -> None:
    """Train perceptrons whose layers are relational graphs on scikit-learn's digits, schedule them
    in blocks, and write a table.

    Takes some minutes of one core. Exit status: 0 where all limits are kept, 1 where one is missed,
    2 where it fails.

    Example: scripts/bench_relational.py --seeds 5
    """
    torch.set_num_threads(1)
    command = shlex.join(["python", "scripts/bench_relational.py", *sys.argv[1:]])
    wirings = [Wiring(NODES, *pair) for pair in WIRINGS]
    found, networks = [], []
    try:
        if width % NODES:
            raise FragenvError(f"--width {width} is no multiple of the {NODES} groups")
        make_folder(output)
        with Progress() as progress:
            bar = progress.add_task("training and scheduling", total=len(wirings))
            for wiring in wirings:
                found.append(learnt(wiring, width, range(seeds), epochs))
                networks.append(blocks(wiring.graph(LATENCY_SEED), width, chip))
                progress.advance(bar)
        lines = [
            "# relational",
            "",
            f"Made by `{command}`.",
            "",
            f"Perceptrons with {LAYERS} relational layers of {NODES} groups on scikit-learn's",
            f"digits; {seeds} seeds of graph, split and weights, {epochs} epochs; "
            "mean and deviation",
            "of the accuracy on the fifth not learnt from. At equal width every network is",
            f"{width} wide, so that sparse ones have fewer weights; at equal weights they are",
            f"wider. Blocks: equal matrix products of the relational layers ({width} wide) "
            "that the",
            f"pattern miner finds, of all; cycles on {chip}, by the quick schedule.",
            "",
            "| degree, rewiring | C | L | weights | equal width | width | equal weights | blocks |"
            " cycles |",
            "| --- |" + " ---: |" * 8,
            *map(row, wirings, found, networks),
            "",
        ]
        faults = missed(found, networks)
        limit = f"Limits: the best sparse graph at most {MOST_BELOW:.1%} below the complete one at"
        lines += [
            f"{limit} equal weights;",
            "all blocks found as one pattern; fewer blocks, fewer cycles.",
            "",
            f"Missed: {'; '.join(faults)}." if faults else "Every limit is kept.",
        ]
        text = "\n".join(lines)
        write_bytes(output / "relational.md", f"{text}\n".encode())
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(text)
    if faults:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
