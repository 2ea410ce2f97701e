"""Measure the generators that were trained on graphs and architectures, one table per system."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import networkx as nx
import numpy as np
import torch
import typer

from fragenv.errors import FragenvError
from fragenv.generate import corpora, families
from fragenv.generate.architecture import Architecture
from fragenv.generate.baselines import RandomGenerator
from fragenv.generate.canonical import Distinct
from fragenv.generate.cgvae import CgvaeGenerator
from fragenv.generate.dgmg import DgmgGenerator
from fragenv.generate.evaluate import Evaluation, evaluate
from fragenv.generate.generator import Generator
from fragenv.generate.graphrnn import GraphRnnGenerator, load_graphrnn
from fragenv.generate.mmd import clustering_mmd, degree_mmd
from fragenv.generate.molgan import MolGanGenerator
from fragenv.generate.weights import shipped
from fragenv.registry import Registry
from fragenv.serialize import make_folder, write_bytes

SAMPLES = 1000
#: draws of the sampling are independent of those of the trainings, which use seed 0
SEED = 1
#: initialisations of a score, as in the table of the cells
SCORE_SEEDS = 3
#: discrepancies at most, shares at least
MOST_DISCREPANCY, LEAST_UNIQUE, LEAST_NOVEL, LEAST_VALID = 0.05, 0.9, 0.9, 0.98


@dataclass(frozen=True, slots=True)
class Page:
    """A table as text, and the figures that miss their limits."""

    lines: tuple[str, ...]
    missed: tuple[str, ...] = ()


PAGES: Registry[Callable[[], Page]] = Registry("page")


def row(cells: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def header(cells: Sequence[str]) -> list[str]:
    """The head of a table whose first column is text."""
    return [row(cells), row(["---", *["---:"] * (len(cells) - 1)])]


def attempts(generator: Generator) -> tuple[Architecture, ...]:
    """The valid ones of the attempts that ``shares`` counts."""
    return generator.sample(SAMPLES, rng=np.random.default_rng(SEED)).architectures


def shares(found: Evaluation) -> list[str]:
    """Valid of all attempts, unique of these, novel of these, as cells of a table."""
    return [f"{share:.1%}" for share in (found.valid, found.unique, found.novel)]


def held(architectures: Sequence[Architecture]) -> Distinct:
    """A set of functions."""
    result = Distinct()
    for architecture in architectures:
        result.add(architecture)
    return result


def wiring(architectures: Sequence[Architecture]) -> list[nx.Graph]:
    """The edges of architectures without their direction."""
    return [nx.Graph(architecture.edges) for architecture in architectures]


def operator_distance(a: Sequence[Architecture], b: Sequence[Architecture]) -> float:
    """Half the sum of the differences between how often the operators are there: 0 to 1."""

    def parts(architectures: Sequence[Architecture]) -> dict[str, float]:
        ops = [op for architecture in architectures for op in architecture.ops[1:-1]]
        return {op: ops.count(op) / len(ops) for op in set(ops)}

    first, second = parts(a), parts(b)
    return sum(abs(first.get(op, 0) - second.get(op, 0)) for op in {*first, *second}) / 2


def wired_rows(systems: Sequence[tuple[str, Generator]]) -> tuple[list[str], list[Evaluation]]:
    """A table of generators of randomly wired architectures, the last rows for comparison."""
    corpus = corpora.wired()
    other = corpora.wired(SAMPLES, SEED)
    known = held(corpus)
    blind = RandomGenerator()
    blind.fit(corpus, None, 0)
    lines = header(["", "valid", "unique", "novel", "degrees", "clustering", "operators"])
    found = []
    for name, generator in (*systems, ("uniform in the space", blind)):
        result = evaluate(generator, SAMPLES, SEED, known)
        found.append(result)
        lines.append(row([name, *shares(result), *_distances(attempts(generator), other)]))
    lines.append(row(["the corpus itself", "", "", "", *_distances(corpus, other)]))
    return lines, found


def _distances(made: Sequence[Architecture], other: Sequence[Architecture]) -> list[str]:
    a, b = wiring(made), wiring(other)
    figures = (degree_mmd(a, b), clustering_mmd(a, b), operator_distance(made, other))
    return [f"{figure:.4f}" for figure in figures]


WIRED_TEXT = (
    f"Randomly wired architectures (`corpora.wired`, {corpora.WIRED:,} to learn from),",
    f"{SAMPLES:,} attempts. Unique is of the valid ones, novel (another function than any of the",
    "corpus) of the unique ones. Then the distance from architectures drawn anew: MMD of degrees",
    "and clustering of the wiring without directions, and total variation of the operators.",
    "",
)


def graphrnn_page() -> Page:
    """GraphRNN on families of graphs and on architectures."""
    lines = [
        f"{SAMPLES:,} graphs of each model against the family (cavemen: drawn with another seed",
        "than the training's). MMD by the paper's kernel (`fragenv/generate/mmd.py`), beside that",
        "of random graphs of the same sizes and as many edges. Limit of each of GraphRNN's:",
        f"{MOST_DISCREPANCY}.",
        "",
        *header(["family", "statistic", "GraphRNN", "Erdos-Renyi", "Barabasi-Albert"]),
    ]
    missed = []
    for name in families.NAMES:
        model = load_graphrnn(shipped(f"graphrnn-{name}"))
        made = families.undirected(model.sample(SAMPLES, torch.Generator().manual_seed(SEED)))
        wanted = families.family(name, SEED)
        repeated = wanted * -(-SAMPLES // len(wanted))
        others = [families.random_like(repeated, m, SEED) for m in ("gnp", "barabasi_albert")]
        for statistic, distance in (("degree", degree_mmd), ("clustering", clustering_mmd)):
            figures = [distance(graphs, wanted) for graphs in (made, *others)]
            lines.append(row([name, statistic, *[f"{figure:.4f}" for figure in figures]]))
            if figures[0] > MOST_DISCREPANCY:
                missed.append(f"{name}: {statistic} {figures[0]:.4f}")
    generator = GraphRnnGenerator.load(shipped("graphrnn-wired"))
    table, _ = wired_rows([("GraphRNN", generator)])
    return Page((*lines, "", *WIRED_TEXT, *table), tuple(missed))


def cgvae_page() -> Page:
    """CGVAE on architectures."""
    table, found = wired_rows([("CGVAE", CgvaeGenerator.load(shipped("cgvae-wired")))])
    limits = (
        ("valid", found[0].valid, 1.0),
        ("unique", found[0].unique, LEAST_UNIQUE),
        ("novel", found[0].novel, LEAST_NOVEL),
    )
    missed = [f"{name} {share:.1%}" for name, share, least in limits if share < least]
    text = f"Limits: all valid, {LEAST_UNIQUE:.0%} unique, {LEAST_NOVEL:.0%} novel."
    return Page((*WIRED_TEXT, *table, "", text), tuple(missed))


def dgmg_page() -> Page:
    """DGMG on architectures."""
    table, _ = wired_rows([("DGMG", DgmgGenerator.load(shipped("dgmg-wired")))])
    return Page((*WIRED_TEXT, *table))


def molgan_page() -> Page:
    """MolGAN with and without its reward network."""
    cells, scores = corpora.cells()
    known = held(cells)
    of_corpus = np.array([score["naswot"] for score in scores])
    lines = [
        f"Cells of NAS-Bench-201, one for each function ({len(cells):,}); {SAMPLES:,} attempts.",
        "NASWOT is the mean over all valid attempts (three initialisations, as in the table of the",
        "cells); best is the highest of an attempt. Lift: from the mean without a reward network,",
        "in standard deviations of the attempts without it.",
        "",
        *header(["", "valid", "unique", "novel", "NASWOT", "deviation", "best", "lift"]),
        row(["corpus", "", "", "", *_statistics(of_corpus), ""]),
    ]
    plain: Any = None
    missed = []
    for name, text in (("cells", "without reward"), ("naswot", "towards NASWOT")):
        generator = MolGanGenerator.load(shipped(f"molgan-{name}"))
        result, made = evaluate(generator, SAMPLES, SEED, known), attempts(generator)
        single = list(dict.fromkeys(made))
        score_of = dict(zip(single, corpora.naswot(single, SCORE_SEEDS), strict=True))
        found = np.array([score_of[architecture] for architecture in made])
        plain = found if plain is None else plain
        lift = float((found.mean() - plain.mean()) / plain.std())
        lines.append(row([text, *shares(result), *_statistics(found), f"{lift:.2f}"]))
        if name == "naswot" and result.valid < LEAST_VALID:
            missed.append(f"valid {result.valid:.1%}")
        if name == "naswot" and lift < 1:
            missed.append(f"lift {lift:.2f}")
    text = (
        "MolGAN has a reward network: the second row, which goes on from the first, is the system.",
        "The reward of what is no architecture is 0, so that validity is learnt from it too. The",
        "first row, the critic alone, is shown for comparison and has no limit.",
        "",
        f"Limits, towards NASWOT: {LEAST_VALID:.0%} valid, a lift of 1 standard deviation.",
    )
    return Page((*lines, "", *text), tuple(missed))


def _statistics(scores: Any) -> list[str]:
    return [f"{figure:.2f}" for figure in (scores.mean(), scores.std(), scores.max())]


PAGES.add("graphrnn", graphrnn_page)
PAGES.add("cgvae", cgvae_page)
PAGES.add("molgan", molgan_page)
PAGES.add("dgmg", dgmg_page)


def main(
    system: Annotated[str, typer.Argument(help=f"One of: {', '.join(PAGES)}.")],
    output: Annotated[Path, typer.Option(help="Folder for SYSTEM.md.")] = Path(
        "results/reference/generate"
    ),
) -> None:
    """Sample from the weights that come with the package and write a page of figures.

    Takes up to a minute of one core. Exit status: 0 where all limits are kept, 1 where one is
    missed, 2 where it fails.

    Example: scripts/bench_generators.py graphrnn
    """
    torch.set_num_threads(1)
    command = shlex.join(["python", "scripts/bench_generators.py", *sys.argv[1:]])
    try:
        page = PAGES.get(system)()
        make_folder(output)
        missed = f"Missed: {'; '.join(page.missed)}." if page.missed else "Every limit is kept."
        if system == "dgmg":
            missed = "There is no limit here; its task with one is the cycles."
        text = "\n".join([f"# {system}", "", f"Made by `{command}`.", "", *page.lines, "", missed])
        write_bytes(output / f"{system}.md", f"{text}\n".encode())
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(text)
    if page.missed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
