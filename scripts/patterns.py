"""Print the patterns of a network: what repeats in it and is worth a circuit."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fragenv.errors import FragenvError
from fragenv.models.load import load_graph
from fragenv.patterns.mine import mine


def main(
    model: Annotated[str, typer.Argument(help="Zoo name, such as alexnet, or an ONNX file.")],
    max_depth: Annotated[
        int, typer.Option(help="Multiply-accumulate operators on a pattern's longest path.", min=1)
    ] = 1,
) -> None:
    """Print every pattern of MODEL that can be one task, by falling gain.

    The gain is the number of operators that all occurrences of a pattern cover together.
    """
    try:
        graph = load_graph(model)
        mined = mine(graph, max_depth)
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    table = Table(title=f"{escape(graph.name)}: {len(mined)} patterns up to depth {max_depth}")
    table.add_column("pattern", overflow="fold")
    for column in ("depth", "occurrences", "gain"):
        table.add_column(column, justify="right")
    for m in mined:
        numbers = (m.pattern.depth, len(m.occurrences), m.gain)
        table.add_row(m.pattern.name, *map(str, numbers))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
