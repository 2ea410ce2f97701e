"""Train the encoder that says which patterns are alike."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import Progress
from torch import Tensor

from fragenv.errors import FragenvError
from fragenv.hardware.pattern_cost import log_costs
from fragenv.models import zoo
from fragenv.patterns.similarity.corpus import TRAINING_NETWORKS, network_graphs, training_blocks
from fragenv.patterns.similarity.training import (
    Losses,
    Trainer,
    TrainingConfig,
    exact_distances,
    training_data,
)
from fragenv.patterns.similarity.weights import (
    WeightsError,
    read_tensors,
    save_encoder,
    write_tensors,
)
from fragenv.serialize import make_folder

#: steps between two states on disk, from which an interrupted training goes on
SAVE_EVERY = 500


def run(config: TrainingConfig, num_blocks: int, output: Path, command: str) -> Losses:
    """Train and write ``output``; go on from ``output``'s state where there is one."""
    state_path = output.with_suffix(".state")
    settings = {"settings": json.dumps({**asdict(config), "blocks": num_blocks})}
    state = _read_state(state_path, settings)
    networks = [g for name in TRAINING_NETWORKS for g in network_graphs(zoo.graph(name))]
    blocks = training_blocks(networks, num_blocks, config.seed)
    with Progress() as progress:
        distances = state.get("distances")
        if distances is None:
            bar = progress.add_task("exact distances", total=num_blocks)
            distances = exact_distances(blocks, lambda: progress.advance(bar))
        trainer = Trainer(config, training_data(blocks, distances, log_costs))
        if state:
            trainer.restore(state)
        bar = progress.add_task("training", total=config.steps, completed=trainer.step_number)
        while not trainer.finished:
            if trainer.step_number % SAVE_EVERY == 0:
                write_tensors(state_path, {**trainer.state(), "distances": distances}, settings)
            losses = trainer.step()
            progress.update(bar, advance=1, description=f"training ({losses.distance:.4f})")
    save_encoder(output, trainer.model, command)
    state_path.unlink(missing_ok=True)
    return losses


def _read_state(path: Path, settings: dict[str, str]) -> dict[str, Tensor]:
    """The state of an interrupted training with the same settings; empty where there is none."""
    if not path.exists():
        return {}
    tensors, metadata = read_tensors(path)
    if metadata.get("settings") != settings["settings"]:
        raise WeightsError(
            f"'{path}' is the state of a training with other options; remove it to begin anew"
        )
    return tensors


def main(
    output: Annotated[Path, typer.Option(help="File for the weights.")] = Path(
        "results/similarity/encoder.safetensors"
    ),
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.", min=1)] = 6000,
    blocks: Annotated[
        int, typer.Option(help="Blocks of 16 graphs, all pairs of which are trained on.", min=4)
    ] = 1500,
    triplet: Annotated[
        float, typer.Option(help="Weight of the triplet loss on area and time.", min=0)
    ] = TrainingConfig().triplet,
    seed: Annotated[int, typer.Option(help="Of graphs, weights and batches.")] = 0,
) -> None:
    """Train the encoder on patterns of the zoo (those of AlexNet, VGG, SqueezeNet, MobileNet and
    LeNet), mutations of them and random graphs, with their exact edit distances.

    Takes about five minutes on one core. Interrupted and called again with the same options, it
    goes on where it was.

    Example: scripts/train_similarity.py --output fragenv/patterns/similarity/encoder.safetensors
    """
    torch.set_num_threads(1)
    command = shlex.join(["python", "scripts/train_similarity.py", *sys.argv[1:]])
    config = TrainingConfig(steps=steps, triplet=triplet, seed=seed)
    try:
        make_folder(output.parent)
        losses = run(config, blocks, output, command)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(
        f"wrote {output}: distance loss {losses.distance:.4f}, reconstruction "
        f"{losses.reconstruction:.3f}, triplet {losses.triplet:.3f} at the end"
    )


if __name__ == "__main__":
    typer.run(main)
