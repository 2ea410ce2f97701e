"""Quantise a network to int8 and say how far its integers are from ONNX Runtime's."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fragenv.errors import FragenvError
from fragenv.graph.from_onnx import from_onnx
from fragenv.models import zoo
from fragenv.models.export import export_onnx
from fragenv.models.images import load_images, random_images
from fragenv.models.quantise import quantise_onnx
from fragenv.verify.agreement import Agreement, compare

#: what rounding alone explains: a unit, and less than one element in a thousand
MOST_UNITS, MOST_SHARE = 1, 1e-3


def main(
    model: Annotated[
        str, typer.Argument(help="A name of the zoo (random weights), or a float ONNX file.")
    ],
    output: Annotated[Path, typer.Option(help="The int8 ONNX file to write.")],
    seed: Annotated[int, typer.Option(help="Seed of weights and images.")] = 0,
    calibration: Annotated[
        str,
        typer.Option(help="Number of random images, or a .npy file (n, channels, rows, columns)."),
    ] = "8",
    images: Annotated[int, typer.Option(help="Images to compare on.", min=1)] = 2,
) -> None:
    """Write the int8 form of MODEL and compare the integer reference with ONNX Runtime on it.

    Every operator of the reference gets ONNX Runtime's own inputs, so that differences are those
    of one operator: halves are rounded differently, and scales are 24-bit integers on the chip.
    After that, whole images from the input to the result. Exit status: 1 where an operator
    differs by more than a unit, or in one element of a thousand; 2 for unusable input.

    Weights of a zoo network are scaled so that activations keep their range from layer to layer.
    """
    console = Console()
    try:
        with console.status("quantising"):
            inputs = _quantise(model, output, seed, calibration, images)
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("comparing with ONNX Runtime", total=len(inputs))
            found = compare(output, inputs, lambda done: progress.update(bar, completed=done))
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    console.print(f"{output}: {output.stat().st_size:,} bytes", markup=False)
    _print(console, found)
    worst = [t.difference for t in found.tensors]
    if any(d.largest > MOST_UNITS or d.share >= MOST_SHARE for d in worst):
        typer.echo("Some operators differ by more than rounding explains.", err=True)
        raise typer.Exit(1)


def _quantise(model: str, output: Path, seed: int, calibration: str, count: int) -> np.ndarray:
    """Write the file; the images to compare on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(model)
        if path.suffix == ".onnx" or path.is_file():
            graph = from_onnx(path)
            shape = graph.tensors[graph.inputs[0]].shape
        else:
            shape = zoo.entry(model).input_shape
            path = Path(folder) / "float.onnx"
            export_onnx(zoo.scaled_module(model, seed), shape, path)
        if calibration.isdecimal():
            number = int(calibration)
            data = random_images(number + count, shape, seed)
            quantise_onnx(path, data[:number], output)
            return data[number:]
        data = load_images(Path(calibration), shape)
        quantise_onnx(path, data, output)
        return data[:count]


def _print(console: Console, found: Agreement) -> None:
    table = Table(title="integer reference against ONNX Runtime, given the same inputs")
    table.add_column("tensor", overflow="fold")
    table.add_column("operator")
    for column in ("elements", "differ", "share", "largest"):
        table.add_column(column, justify="right")
    differing = [t for t in found.tensors if t.difference.different]
    for t in differing:
        d = t.difference
        table.add_row(
            t.tensor,
            t.kind,
            f"{d.elements:,}",
            f"{d.different:,}",
            f"{d.share:.4%}",
            f"{d.largest}",
        )
    if differing:
        console.print(table)
    equal = len(found.tensors) - len(differing)
    console.print(f"{equal} of {len(found.tensors)} tensors are equal in every element")
    end = found.end_to_end
    console.print(
        f"end to end: {end.different:,} of {end.elements:,} results differ, by at most "
        f"{end.largest}; the same class for {found.same_class} of {found.frames} images"
    )


if __name__ == "__main__":
    typer.run(main)
