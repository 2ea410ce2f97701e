"""Print the patterns of a network: what repeats in it and is worth a circuit."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.models.load import load_graph
from fragenv.patterns.cover import Cover, cover
from fragenv.patterns.discover import DEEPEST, discover
from fragenv.patterns.export import to_dot, to_graphml
from fragenv.patterns.mine import MinedPattern, mine
from fragenv.patterns.picture import MOST_OPERATORS, pattern_figure
from fragenv.serialize import FileError, write_bytes

console = Console()


def main(
    model: Annotated[str, typer.Argument(help="Zoo name, such as resnet50, or an ONNX file.")],
    max_depth: Annotated[
        int,
        typer.Option(
            help="Multiply-accumulate operators on a pattern's longest path: 1 finds convolutions "
            "with what follows them, 2 basic blocks and fire modules, 3 bottlenecks and inverted "
            "residuals, 4 attention.",
            min=1,
            max=DEEPEST,
        ),
    ] = 2,
    min_occurrences: Annotated[
        int, typer.Option(help="Occurrences, sharing no operator, that make a pattern.", min=1)
    ] = 2,
    max_operators: Annotated[
        int | None, typer.Option(help="Operators of a pattern; default: 8 per depth.", min=1)
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List every pattern, not only those of the cover.")
    ] = False,
    tasks: Annotated[
        bool, typer.Option("--tasks", help="List what fragments can run instead: tasks.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder for patterns.png, patterns.dot, patterns.graphml.")
    ] = None,
) -> None:
    """Find what repeats in MODEL: connected, convex groups of operators that occur more than once.

    Occurrences overlap; the cover is the choice of disjoint ones that hides most tensors (tensors
    that are made and read in one circuit alone) for the fewest operators in circuits. It is proved
    to be the best, or its bound is printed. The table shows, for each pattern of the cover, its
    operators, its depth, how often it occurs at all, how often the cover uses it, and its gain: the
    operators covered.

    Examples:

    scripts/patterns.py resnet50 --max-depth 3

    scripts/patterns.py net.onnx --output results/net

    scripts/patterns.py alexnet --tasks --max-depth 1
    """
    try:
        graph = load_graph(model, virtual=not tasks)
        if tasks:
            _print_tasks(graph, mine(graph, max_depth, max_operators))
            return
        with console.status("mining"):
            mined = discover(graph, max_depth, min_occurrences, max_operators)
            found = cover(graph, mined)
        _print_cover(graph, mined, found, everything)
        if output is not None:
            _write(graph, found, output)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None


def _table(title: str, *numbers: str) -> Table:
    table = Table(title=title)
    table.add_column("pattern", overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right")
    return table


def _print_tasks(graph: DataflowGraph, mined: tuple[MinedPattern, ...]) -> None:
    table = _table(f"{escape(graph.name)}: {len(mined)} tasks", "depth", "occurrences", "gain")
    for m in mined:
        numbers = (m.pattern.depth, len(m.occurrences), m.gain)
        table.add_row(escape(m.pattern.name), *map(str, numbers))
    console.print(table)


def _print_cover(
    graph: DataflowGraph, mined: tuple[MinedPattern, ...], found: Cover, everything: bool
) -> None:
    used = {m.pattern: m for m in found.patterns}
    places = {m.pattern: len(m.occurrences) for m in mined}
    columns = ("operators", "depth", "occurrences", "used", "gain")
    table = _table(
        f"{escape(graph.name)}: {len(mined)} patterns, {len(used)} in the cover", *columns
    )
    rest = [m for m in mined if m.pattern not in used] if everything else []
    for m in (*found.patterns, *rest):
        pattern = m.pattern
        chosen = used.get(pattern)
        numbers = (
            len(pattern.kinds),
            pattern.depth,
            places[pattern],
            len(chosen.occurrences) if chosen else 0,
            chosen.gain if chosen else 0,
        )
        table.add_row(escape(" + ".join(pattern.labels)), *map(str, numbers))
    console.print(table)
    covered = len(graph.operators) - len(found.alone)
    quality = "no better cover exists" if found.optimal else f"no cover exceeds {found.bound}"
    console.print(
        f"{covered} of {len(graph.operators)} operators covered; value {found.value}, {quality}",
        highlight=False,
    )


def _write(graph: DataflowGraph, found: Cover, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make folder '{folder}': {error.strerror or error}") from None
    write_bytes(folder / "patterns.dot", to_dot(graph, found).encode("utf-8"))
    write_bytes(folder / "patterns.graphml", to_graphml(graph, found).encode("utf-8"))
    names = ["patterns.dot", "patterns.graphml"]
    if len(graph.operators) <= MOST_OPERATORS:
        picture = BytesIO()
        pattern_figure(graph, found).savefig(picture, format="png", dpi=130)
        write_bytes(folder / "patterns.png", picture.getvalue())
        names.append("patterns.png")
    else:
        typer.echo(f"No picture: more than {MOST_OPERATORS} operators.", err=True)
    console.print(f"wrote {', '.join(names)} to {escape(str(folder))}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
