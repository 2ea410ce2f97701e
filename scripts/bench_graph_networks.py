"""What the shipped graph networks are worth on graphs that they have not seen."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import Progress

from fragenv.errors import FragenvError
from fragenv.generate import critical_path, shortest_path, surrogate
from fragenv.generate.graph_network import load_graph_network
from fragenv.generate.weights import shipped
from fragenv.models import zoo
from fragenv.serialize import write_bytes

#: graphs of each range of sizes
PATHS = 1000
#: layers of graph convolutions to compare with, and their highest learning rate
LAYERS, LEARNING_RATE = (2, 8), 1e-2


def shortest_paths() -> Iterator[str]:
    """Rows on shortest paths."""
    model, _ = load_graph_network(shipped(shortest_path.SYSTEM), shortest_path.SYSTEM)
    yield "| nodes | right | always no | F1 on the path | graphs without a mistake |"
    yield "|---|---|---|---|---|"
    for nodes in (shortest_path.SMALL, shortest_path.LARGE):
        found = shortest_path.judge(model, nodes, PATHS, seed=1)
        yield (
            f"| {nodes[0]} to {nodes[1]} | {found.right:.2%} | {found.always_no:.2%} | "
            f"{found.f1:.4f} | {found.solved:.1%} |"
        )


def critical_paths() -> Iterator[str]:
    """Rows on critical paths: graph convolutions trained here, and the shipped network."""
    train, held_out = critical_path.corpus()
    examples = critical_path.examples(train, seed=0)
    groups = {"random": critical_path.answers(held_out)}
    groups |= {name: critical_path.answers([zoo.graph(name)]) for name in zoo.names()}
    groups["all of the zoo"] = [data for name in zoo.names() for data in groups[name]]
    models = {}
    for layers in LAYERS:
        config = replace(critical_path.TRAINING, learning_rate=LEARNING_RATE)
        gcn = critical_path.make_gcn(layers, seed=0)
        critical_path.make_trainer(examples, config, 0, gcn).run()
        models[f"GCN, {layers} layers"] = gcn
    network, _ = load_graph_network(shipped(critical_path.SYSTEM), critical_path.SYSTEM)
    models["graph network"] = network
    yield f"| networks | operators | always yes | {' | '.join(models)} |"
    yield "|---|---|---|" + "---|" * len(models)
    for name, data in groups.items():
        scores = [critical_path.judge(model, data) for model in models.values()]
        right = " | ".join(f"{found.right:.2%}" for found in scores)
        count = sum(len(graph.x) for graph in data)
        yield f"| {name} | {count} | {scores[0].always_yes:.2%} | {right} |"


def latencies() -> Iterator[str]:
    """Rows on the surrogate."""
    model, scale = surrogate.load_surrogate(shipped(surrogate.SYSTEM))
    train, held_out = surrogate.measured()
    foretold = np.array(surrogate.foretell(model, scale, held_out.cells))
    error = np.abs(foretold / np.array(held_out.cycles) - 1).mean()
    rank = surrogate.spearman(model, scale, held_out.cells, held_out.cycles)
    yield "| chip | functions learnt from | held out | Spearman | mean error |"
    yield "|---|---|---|---|---|"
    yield (
        f"| {surrogate.CHIP} | {len(train.cells)} | {len(held_out.cells)} | {rank:.4f} | "
        f"{error:.2%} |"
    )


PARTS = {
    "Shortest paths": shortest_paths,
    "Critical paths": critical_paths,
    "Latency": latencies,
}


def main(
    output: Annotated[Path, typer.Option(help="Folder for the tables.")] = Path(
        "results/reference/generate"
    ),
) -> None:
    """Judge the shipped graph networks on graphs that they have not seen, and write the tables.

    Takes some two minutes of one core, most of it for the graph convolutions, which are trained
    here.

    Example: scripts/bench_graph_networks.py
    """
    torch.set_num_threads(1)
    command = shlex.join(["python", "scripts/bench_graph_networks.py", *sys.argv[1:]])
    lines = ["# Graph networks", "", f"Made by `{command}`."]
    try:
        output.mkdir(parents=True, exist_ok=True)
        with Progress() as progress:
            bar = progress.add_task("judging", total=len(PARTS))
            for title, rows in PARTS.items():
                lines += ["", f"## {title}", "", *rows()]
                progress.advance(bar)
        text = "\n".join(lines) + "\n"
        write_bytes(output / "graph_networks.md", text.encode())
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
