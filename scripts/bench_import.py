"""Print how long it takes to import ResNet-50 from an ONNX file (target: below 5 s)."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
import typer

from fragenv.graph.from_onnx import from_onnx
from fragenv.models import zoo
from fragenv.models.export import export_onnx


def main(name: str = typer.Option("resnet50", help="A network of the zoo.")) -> None:
    """Export a network of the zoo with random weights, then time the import of the file."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        export_onnx(zoo.module(name, seed=0), zoo.entry(name).input_shape, path)
        start = time.perf_counter()
        graph = from_onnx(path)
        seconds = time.perf_counter() - start
        size = path.stat().st_size / 1e6
    typer.echo(f"{graph}: {seconds:.2f} s to import {size:.0f} MB")


if __name__ == "__main__":
    typer.run(main)
