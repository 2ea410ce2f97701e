"""Train LeNet-5 on scikit-learn's digits and write it as float and as int8 ONNX files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from fragenv.errors import FragenvError
from fragenv.models.digits import accuracy, load_split, train_lenet
from fragenv.models.export import export_onnx, whole_file
from fragenv.models.lenet import INPUT_SHAPE
from fragenv.models.quantise import quantise_onnx

CALIBRATION_IMAGES = 256


def main(
    output: Annotated[Path, typer.Option(help="Folder for the files; made if missing.")],
    seed: Annotated[int, typer.Option(help="Seed of the split and of the weights.")] = 0,
    pool: Annotated[str, typer.Option(help="'max' or 'average' pooling.")] = "max",
) -> None:
    """Write lenet.onnx, lenet_int8.onnx and test_images.npz (images, labels) to --output.

    Takes about 15 seconds on one core.
    """
    if pool not in ("max", "average"):
        raise typer.BadParameter("choose 'max' or 'average'", param_hint="--pool")
    torch.set_num_threads(1)
    try:
        digits = load_split(seed)
        model = train_lenet(seed, "max" if pool == "max" else "average")
        with torch.no_grad():
            logits = model(torch.from_numpy(digits.test_images)).numpy()
        typer.echo(f"test accuracy (float): {accuracy(logits, digits.test_labels):.4f}")
        float_path = output / "lenet.onnx"
        export_onnx(model, INPUT_SHAPE, float_path)
        quantise_onnx(
            float_path, digits.train_images[:CALIBRATION_IMAGES], output / "lenet_int8.onnx"
        )
        with whole_file(output / "test_images.npz") as path:
            np.savez_compressed(path, images=digits.test_images, labels=digits.test_labels)
    except FragenvError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    typer.echo(f"written to {output}")


if __name__ == "__main__":
    typer.run(main)
