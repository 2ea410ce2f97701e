"""Measure the G-VAE and the flow on its codes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.progress import Progress

from fragenv.errors import FragenvError
from fragenv.generate.accuracy import CellAccuracy, PredictionError, cell_accuracy
from fragenv.generate.architecture import Architecture
from fragenv.generate.attributes import LATENCY, AttributeOracle, cell_attributes
from fragenv.generate.evaluate import Evaluation, evaluate
from fragenv.generate.flow import FlowGenerator
from fragenv.generate.generator import Attributes
from fragenv.generate.gvae_training import SYSTEM, load_gvae
from fragenv.generate.latency_table import functions
from fragenv.generate.nb201 import Choices, from_choices
from fragenv.generate.weights import shipped
from fragenv.serialize import FileError, write_bytes, write_json

#: what the paper reports of zero-cost scores on these cells, in parts of the largest
PAPER_MEAN, PAPER_MOST = 0.0091, 0.0965
#: by how much less latency is asked for than the reference has, and how often
FASTER = 0.05
AROUND = 20
PROXIES = ("naswot", "log_synflow")
SEED = 0

_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Around:
    """Samples round a reference on one chip. An architecture is as good as another where the mean
    of its two training-free scores, in deviations over all cells, is as high.

    Args:
        name: the reference.
        latency: the attribute.
        reference: of the reference, its cycles.
        cells: how many cells of NAS-Bench-201 are as good as the reference and faster.
        valid: of the samples.
        as_good, faster, both: how many of them are.
        best_cycles: of those as good, the fewest; None where there are none.
    """

    name: str
    latency: str
    reference: float
    cells: int
    valid: int
    as_good: int
    faster: int
    both: int
    best_cycles: float | None


def quality(attributes: Attributes) -> float:
    """Mean of the training-free scores, in deviations over all cells."""
    mean, deviation = _proxy_scale()
    scores = np.array([attributes[name] for name in PROXIES])
    return float(((scores - mean) / deviation).mean())


@lru_cache(maxsize=1)
def _proxy_scale() -> tuple[_Numbers, _Numbers]:
    values = np.array([[cell[name] for name in PROXIES] for cell in cell_attributes().values()])
    return values.mean(0), values.std(0)


def of_cell(choices: Choices, oracle: AttributeOracle) -> Attributes:
    """What the table says of a cell, or the oracle where the table lacks an attribute."""
    row = cell_attributes()[choices]
    if all(name in row for name in oracle.names):
        return {name: row[name] for name in oracle.names}
    return oracle(from_choices(choices))


def dominating(reference: Attributes, latency: str) -> int:
    """How many cells are as good as a reference and faster."""
    return sum(
        quality(cell) >= quality(reference) and cell[latency] < reference[latency]
        for cell in cell_attributes().values()
    )


def references(latency: str) -> dict[str, Choices]:
    """The best cell, and the best of those than which another cell is as good and faster."""
    table = cell_attributes()
    ranked = sorted(table, key=lambda choices: -quality(table[choices]))
    exceeded = next(choices for choices in ranked if dominating(table[choices], latency))
    return {"the best": ranked[0], "the best exceeded": exceeded}


def around(
    generator: FlowGenerator, name: str, choices: Choices, latency: str, oracle: AttributeOracle
) -> Around:
    """Samples round a cell, asked to be as good and faster."""
    reference, known = from_choices(choices), of_cell(choices, oracle)
    wanted = {score: known[score] for score in PROXIES} | {latency: (1 - FASTER) * known[latency]}
    rng = np.random.default_rng(SEED)
    sample = generator.sample(AROUND, wanted, reference, rng=rng)
    found = [oracle(architecture) for architecture in sample.architectures]
    good = [a for a in found if quality(a) >= quality(known)]
    return Around(
        name,
        latency,
        known[latency],
        dominating(known, latency),
        len(found),
        len(good),
        sum(a[latency] < known[latency] for a in found),
        sum(a[latency] < known[latency] for a in good),
        min((a[latency] for a in good), default=None),
    )


def drawn_conditions(oracle: AttributeOracle, count: int) -> list[Attributes]:
    """All attributes of ``count`` random cells."""
    cells = list(cell_attributes())
    rows = np.random.default_rng(SEED).choice(len(cells), count, replace=False)
    return [of_cell(cells[row], oracle) for row in rows]


def flow_evaluation(
    generator: FlowGenerator,
    samples: int,
    conditions: list[Attributes],
    oracle: AttributeOracle,
    tick: Callable[[], None],
) -> Evaluation:
    """Shares of ``samples`` attempts, and the control of every attribute."""

    def measure(architecture: Architecture) -> Attributes:
        tick()
        return oracle(architecture)

    return evaluate(generator, samples, SEED, functions()[0], conditions, measure)


def prediction_rows(name: str, errors: dict[str, PredictionError]) -> list[str]:
    return [
        f"| {name} | {attribute} | {100 * e.mean_of_largest:.2f}% | {100 * e.most_of_largest:.2f}%"
        f" | {100 * e.mean_of_range:.2f}% | {e.rank_correlation:.3f} |"
        for attribute, e in errors.items()
    ]


def prediction_report(models: dict[str, CellAccuracy]) -> list[str]:
    """What is known of codes and predictions, by model."""
    first = next(iter(models.values()))
    lines = [
        f"Labels of {first.labels:,} of the 15,284 cells are known. `others` are the",
        f"{first.other_cells:,} without; `other functions` the {first.other_function_cells:,} of",
        "them that are not equal to a labelled one (`canonical.same`). The paper reports",
        f"{100 * PAPER_MEAN:.2f}% mean and {100 * PAPER_MOST:.2f}% greatest error of the largest "
        "score, of scores that it does not name.",
        "",
        "| model, cells | attribute | mean, of largest | greatest, of largest | mean, of range |"
        " Spearman |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in models.items():
        lines += prediction_rows(f"{name}, others", found.others)
        lines += prediction_rows(f"{name}, other functions", found.other_functions)
    lines += [
        "",
        "Reconstructed cells, and distances of attributes among the ten nearest codes by those of",
        "any two cells:",
        "",
        f"| model | reconstructed | {' | '.join(first.spread)} |",
        "|---|---|" + "---|" * len(first.spread),
    ]
    for name, found in models.items():
        spread = " | ".join(f"{value:.3f}" for value in found.spread.values())
        lines.append(f"| {name} | {100 * found.reconstructed:.2f}% | {spread} |")
    return lines


def flow_report(found: Evaluation, conditions: int, near: list[Around]) -> list[str]:
    """What the flow generates."""
    lines = [
        "",
        "# The flow",
        "",
        f"Of {found.attempts:,} attempts {100 * found.valid:.1f}% are valid; of these "
        f"{100 * found.unique:.1f}% are distinct",
        f"functions, and of these {100 * found.novel:.1f}% are no NAS-Bench-201 cell's; "
        f"{found.samples_per_s:,.0f} attempts a second.",
        "",
        f"Requested against measured attributes, one attempt at each of {conditions} random cells'",
        "attributes, all asked for at once, by those paired at random:",
        "",
        "| attribute | mean distance | paired at random | ratio |",
        "|---|---|---|---|",
        *(
            f"| {name} | {c.error:,.4g} | {c.random_error:,.4g} | {c.relative:.3f} |"
            for name, c in found.control.items()
        ),
        "",
        f"{AROUND} proposals round a cell, of distinct functions, asked for the same scores and",
        f"{100 * FASTER:.0f}% less latency: round the best cell (highest mean of NASWOT and",
        "log-synflow, in deviations), and round the best of those than which another cell is as",
        "good and faster. `cells` counts such cells of NAS-Bench-201; round the best cell, what is",
        "as good lies beyond them.",
        "",
        "| reference | latency | of the cell | cells | valid | as good | faster | both |"
        " fewest cycles, as good |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for a in near:
        best = "-" if a.best_cycles is None else f"{a.best_cycles:,.0f}"
        lines.append(
            f"| {a.name} | {a.latency} | {a.reference:,.0f} | {a.cells} | {a.valid} | {a.as_good} |"
            f" {a.faster} | {a.both} | {best} |"
        )
    return lines


def named_file(text: str) -> tuple[str, Path]:
    """The parts of NAME=FILE."""
    name, equals, path = text.partition("=")
    if not equals:
        raise FileError(f"'{text}' is not NAME=FILE, as in 'no triplets=gvae.safetensors'")
    return name, Path(path)


def main(
    output: Annotated[Path, typer.Option(help="Folder for the tables.")] = Path("results/generate"),
    samples: Annotated[int, typer.Option(help="Attempts without a condition.", min=1)] = 1000,
    conditions: Annotated[int, typer.Option(help="Attempts with one.", min=2)] = 100,
    other: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: another G-VAE to show beside, such as an ablation."),
    ] = None,
) -> None:
    """Print and write (gvae.md, gvae.json) how well the committed G-VAE predicts, reconstructs and,
    with the flow, generates. Takes some minutes: latencies of what is generated are scheduled.

    Example: scripts/bench_gvae.py --other "no triplets=results/gvae-no-triplets.safetensors"
    """
    torch.set_num_threads(1)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with Progress() as progress:
            files = {"G-VAE": shipped(SYSTEM)} | dict(map(named_file, other or []))
            bar = progress.add_task("predictions", total=len(files))
            models = {}
            for label, file in files.items():
                models[label] = cell_accuracy(load_gvae(file))
                progress.advance(bar)
            generator = FlowGenerator.trained()
            names = load_gvae(shipped(SYSTEM)).config.names
            oracle = AttributeOracle(names)
            bar = progress.add_task("generated", total=conditions)
            wanted = drawn_conditions(oracle, conditions)
            found = flow_evaluation(
                generator, samples, wanted, oracle, lambda: progress.advance(bar)
            )
            chips = [name for name in names if name.startswith(LATENCY)]
            bar = progress.add_task("near the best", total=len(chips))
            near = []
            for chip in chips:
                for name, choices in references(chip).items():
                    near.append(around(generator, name, choices, chip, oracle))
                progress.advance(bar)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    command = shlex.join(["python", "scripts/bench_gvae.py", *sys.argv[1:]])
    lines = ["# The G-VAE", "", f"Made by `{command}`.", *prediction_report(models)]
    text = "\n".join([*lines, *flow_report(found, conditions, near)]) + "\n"
    data = {
        "command": command,
        "models": {name: asdict(accuracy) for name, accuracy in models.items()},
        "flow": asdict(found),
        "around": [asdict(a) for a in near],
    }
    write_json(output / "gvae.json", "fragenv-bench-gvae", 1, data)
    write_bytes(output / "gvae.md", text.encode("utf-8"))
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
