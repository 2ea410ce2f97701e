"""Train a generative system and write its weights."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from fragenv.errors import FragenvError
from fragenv.generate import (
    corpora,
    critical_path,
    cycles,
    dgmg_training,
    families,
    flow_training,
    graphrnn,
    gvae_training,
    mmd,
    shortest_path,
    surrogate,
)
from fragenv.generate.accuracy import cell_accuracy
from fragenv.generate.architecture import Architecture
from fragenv.generate.cgvae import CgvaeGenerator
from fragenv.generate.dgmg import DgmgGenerator
from fragenv.generate.dgmg_model import Dgmg
from fragenv.generate.evaluate import evaluate
from fragenv.generate.flow_model import ConditionalFlow
from fragenv.generate.generator import Attributes
from fragenv.generate.graph_network import GraphNetwork, save_graph_network
from fragenv.generate.graphrnn import GraphRnnGenerator, family_trainer, save_graphrnn
from fragenv.generate.graphrnn_model import GraphRnn
from fragenv.generate.gvae_model import Gvae
from fragenv.generate.learned import LearnedGenerator
from fragenv.generate.molgan import MolGanGenerator, Objective
from fragenv.generate.training import Trainer, TrainingConfig
from fragenv.generate.vocabulary import Vocabulary
from fragenv.generate.weights import WeightsError, read_weights, shipped, write_weights
from fragenv.registry import Registry
from fragenv.serialize import make_folder

#: seconds between two states on disk, from which an interrupted training goes on
SAVE_EVERY_S = 20.0
_STATE = "training state"
#: MolGAN's training towards a reward
REWARDED = TrainingConfig(steps=1000, learning_rate=1e-3, clip=10.0)
QUICK_DGMG = TrainingConfig(steps=450, learning_rate=1e-2)
#: what a summary draws
SAMPLES = 500


#: architectures, and their scores where there are any
Corpus = tuple[Sequence[Architecture], Sequence[Attributes] | None]
#: a generator that trains as it is told, or as is usual for it
Make = Callable[[TrainingConfig | None], LearnedGenerator[Any]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a system is trained and written, and what to say about the result."""

    config: TrainingConfig
    trainer: Callable[[TrainingConfig, int], Trainer]
    save: Callable[[Path, nn.Module, str], None]
    summary: Callable[[nn.Module], str]


RECIPES: Registry[Recipe] = Registry("training")


def _cycle_trainer(config: TrainingConfig, seed: int) -> Trainer:
    return dgmg_training.make_trainer(cycles.CONFIG, cycles.cycles(), config, seed)


def _save_dgmg(path: Path, model: nn.Module, command: str) -> None:
    assert isinstance(model, Dgmg)
    dgmg_training.save_dgmg(path, model, command)


def _cycle_summary(model: nn.Module) -> str:
    assert isinstance(model, Dgmg)
    return f"a sample is a cycle with probability {cycles.probability_of_a_cycle(model):.4f}"


def _family(name: str) -> Recipe:
    """GraphRNN on a family of undirected graphs, judged on graphs drawn anew."""

    def save(path: Path, model: nn.Module, command: str) -> None:
        assert isinstance(model, GraphRnn)
        save_graphrnn(path, model, command)

    def summary(model: nn.Module) -> str:
        assert isinstance(model, GraphRnn)
        made = families.undirected(model.sample(SAMPLES, torch.Generator().manual_seed(0)))
        wanted = families.family(name, 1)
        degrees, clusters = mmd.degree_mmd(made, wanted), mmd.clustering_mmd(made, wanted)
        return f"discrepancy of degrees {degrees:.4f}, of clustering {clusters:.4f}"

    return Recipe(graphrnn.TRAINING, partial(family_trainer, name), save, summary)


def _architectures(corpus: Callable[[], Corpus], make: Make) -> Recipe:
    """A generator on a corpus of architectures."""
    generator = make(None)

    def trainer(config: TrainingConfig, seed: int) -> Trainer:
        return make(config).trainer(*corpus(), seed)

    def adopted(model: nn.Module) -> LearnedGenerator[Any]:
        return generator.adopt(Vocabulary.of(*corpus()), model)

    def save(path: Path, model: nn.Module, command: str) -> None:
        adopted(model).save(path, command)

    def summary(model: nn.Module) -> str:
        found = evaluate(adopted(model), SAMPLES, 0, corpus()[0])
        return f"valid {found.valid:.3f}, unique {found.unique:.3f}, novel {found.novel:.3f}"

    return Recipe(generator.training, trainer, save, summary)


def _towards_naswot(config: TrainingConfig | None) -> MolGanGenerator:
    """Where it is to be trained, it goes on from the model without a reward."""
    objective = Objective("naswot", corpora.naswot)
    if config is None:
        return MolGanGenerator(REWARDED, objective)
    start = MolGanGenerator.load(shipped("molgan-cells")).model
    return MolGanGenerator(config, objective, start)


RECIPES.add(
    "dgmg-cycles", Recipe(dgmg_training.TRAINING, _cycle_trainer, _save_dgmg, _cycle_summary)
)

for _name in families.NAMES:
    RECIPES.add(f"graphrnn-{_name}", _family(_name))


def _quick_dgmg(config: TrainingConfig | None) -> DgmgGenerator:
    """DGMG takes its decisions one by one, and long for each step."""
    return DgmgGenerator(config or QUICK_DGMG, batch=64)


for _name, _make in (
    ("graphrnn", GraphRnnGenerator),
    ("cgvae", CgvaeGenerator),
    ("dgmg", _quick_dgmg),
):
    RECIPES.add(f"{_name}-wired", _architectures(lambda: (corpora.wired(), None), _make))
RECIPES.add("molgan-cells", _architectures(corpora.cells, MolGanGenerator))
RECIPES.add("molgan-naswot", _architectures(corpora.cells, _towards_naswot))


def _gvae_trainer(triplets: float, config: TrainingConfig, seed: int) -> Trainer:
    weights = gvae_training.GvaeLoss(triplets=triplets)
    return gvae_training.make_trainer(*gvae_training.cell_task(), config, seed, weights)


def _save_gvae(path: Path, model: nn.Module, command: str) -> None:
    assert isinstance(model, Gvae)
    gvae_training.save_gvae(path, model, command)


def _gvae_summary(model: nn.Module) -> str:
    assert isinstance(model, Gvae)
    found = cell_accuracy(model)
    errors = ", ".join(
        f"{name} {100 * error.mean_of_range:.2f}%" for name, error in found.others.items()
    )
    return (
        f"{100 * found.reconstructed:.2f}% of the cells are reconstructed; mean errors of the "
        f"{found.other_cells} cells without labels, by the range: {errors}"
    )


def _flow_trainer(config: TrainingConfig, seed: int) -> Trainer:
    gvae = gvae_training.load_gvae(shipped(gvae_training.SYSTEM))
    return flow_training.make_flow_trainer(gvae, gvae_training.all_cells(), config, seed)


def _save_flow(path: Path, model: nn.Module, command: str) -> None:
    assert isinstance(model, ConditionalFlow)
    gvae = gvae_training.load_gvae(shipped(gvae_training.SYSTEM))
    flow_training.save_flow(path, model, gvae, command)


def _flow_summary(model: nn.Module) -> str:
    return "scripts/bench_gvae.py measures what it generates"


for _name, _triplets in (("gvae", gvae_training.GvaeLoss().triplets), ("gvae-no-triplets", 0.0)):
    RECIPES.add(
        _name,
        Recipe(
            gvae_training.TRAINING, partial(_gvae_trainer, _triplets), _save_gvae, _gvae_summary
        ),
    )
RECIPES.add("flow", Recipe(flow_training.TRAINING, _flow_trainer, _save_flow, _flow_summary))


def _saver(system: str) -> Callable[[Path, nn.Module, str], None]:
    def save(path: Path, model: nn.Module, command: str) -> None:
        assert isinstance(model, GraphNetwork)
        save_graph_network(path, system, model, {"command": command})

    return save


def _shortest_path_summary(model: nn.Module) -> str:
    assert isinstance(model, GraphNetwork)
    sizes = (shortest_path.SMALL, shortest_path.LARGE)
    small, large = (shortest_path.judge(model, nodes, 200, seed=1).right for nodes in sizes)
    return f"{small:.1%} of nodes and edges are right on 8 to 16 nodes, {large:.1%} on 16 to 32"


RECIPES.add(
    shortest_path.SYSTEM,
    Recipe(
        shortest_path.TRAINING,
        shortest_path.make_trainer,
        _saver(shortest_path.SYSTEM),
        _shortest_path_summary,
    ),
)


def _critical_path_trainer(config: TrainingConfig, seed: int) -> Trainer:
    train, _ = critical_path.corpus()
    return critical_path.make_trainer(critical_path.examples(train, seed), config, seed)


def _critical_path_summary(model: nn.Module) -> str:
    _, held_out = critical_path.corpus()
    right = critical_path.judge(model, critical_path.answers(held_out)).right
    return f"{right:.1%} of the operators of held-out random networks are told"


RECIPES.add(
    critical_path.SYSTEM,
    Recipe(
        critical_path.TRAINING,
        _critical_path_trainer,
        _saver(critical_path.SYSTEM),
        _critical_path_summary,
    ),
)


def _surrogate_trainer(config: TrainingConfig, seed: int) -> Trainer:
    train, _ = surrogate.measured()
    return surrogate.make_trainer(train.cells, train.cycles, config, seed)[0]


def _save_surrogate(path: Path, model: nn.Module, command: str) -> None:
    assert isinstance(model, GraphNetwork)
    scale = surrogate.Scale.of(surrogate.measured()[0].cycles)
    surrogate.save_surrogate(path, model, scale, {"command": command})


def _surrogate_summary(model: nn.Module) -> str:
    assert isinstance(model, GraphNetwork)
    train, held_out = surrogate.measured()
    scale = surrogate.Scale.of(train.cycles)
    rank = surrogate.spearman(model, scale, held_out.cells, held_out.cycles)
    return f"Spearman {rank:.4f} on {len(held_out.cells)} held-out functions"


RECIPES.add(
    surrogate.SYSTEM,
    Recipe(surrogate.TRAINING, _surrogate_trainer, _save_surrogate, _surrogate_summary),
)


def run(recipe: Recipe, seed: int, output: Path, command: str) -> tuple[nn.Module, float]:
    """Train and write ``output``; go on from ``output``'s state where there is one. The model and
    the processor seconds of all parts of the training."""
    state_path = output.with_suffix(".state")
    settings = json.dumps({"config": repr(recipe.config), "seed": seed, "output": output.name})
    trainer, before = recipe.trainer(recipe.config, seed), 0.0
    if state_path.exists():
        tensors, header = read_weights(state_path, _STATE)
        if header["settings"] != settings:
            raise WeightsError(
                f"'{state_path}' is the state of a training with other options; remove it to "
                "begin anew"
            )
        trainer.restore(tensors)
        before = header["seconds"]
    start, saved = time.process_time(), time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("training", total=recipe.config.steps)
        while not trainer.finished:
            loss = trainer.step()
            progress.update(bar, completed=trainer.step_number, description=f"loss {loss:8.4f}")
            if time.monotonic() - saved > SAVE_EVERY_S:
                seconds = before + time.process_time() - start
                header = {"settings": settings, "seconds": seconds}
                write_weights(state_path, _STATE, trainer.state(), header)
                saved = time.monotonic()
    recipe.save(output, trainer.model.eval(), command)
    state_path.unlink(missing_ok=True)
    return trainer.model, before + time.process_time() - start


def main(
    system: Annotated[str, typer.Argument(help=f"One of: {', '.join(RECIPES)}.")],
    output: Annotated[Path | None, typer.Option(help="File for the weights.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of the optimiser instead of the recipe's.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and batches.")] = 0,
) -> None:
    """Train SYSTEM and write its weights, by default under results/generate.

    Uses one core. Interrupted and called again with the same options, it goes on where it was.

    Example: scripts/train_generator.py dgmg-cycles
    """
    torch.set_num_threads(1)
    command = shlex.join(["python", "scripts/train_generator.py", *sys.argv[1:]])
    try:
        recipe = RECIPES.get(system)
        if steps is not None:
            recipe = replace(recipe, config=replace(recipe.config, steps=steps))
        path = output or Path("results/generate") / f"{system}.safetensors"
        make_folder(path.parent)
        model, seconds = run(recipe, seed, path, command)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"wrote {path} after {seconds:.0f} s of one core: {recipe.summary(model)}")


if __name__ == "__main__":
    typer.run(main)
