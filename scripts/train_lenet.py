"""Train LeNet-5 on scikit-learn's digits and write it as float and as int8 ONNX files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer

from fragenv.errors import FragenvError
from fragenv.models.digits import accuracy, load_split, train_lenet
from fragenv.models.export import export_onnx, temporary_folder
from fragenv.models.lenet import INPUT_SHAPE
from fragenv.models.quantise import quantise_onnx

CALIBRATION_IMAGES = 256


def _write_all(folder: Path, seed: int, pool: Literal["max", "average"]) -> None:
    digits = load_split(seed)
    model = train_lenet(seed, pool)
    with torch.no_grad():
        logits = model(torch.from_numpy(digits.test_images)).numpy()
    typer.echo(f"test accuracy (float): {accuracy(logits, digits.test_labels):.4f}")
    export_onnx(model, INPUT_SHAPE, folder / "lenet.onnx")
    calibration = digits.train_images[:CALIBRATION_IMAGES]
    quantise_onnx(folder / "lenet.onnx", calibration, folder / "lenet_int8.onnx")
    np.savez_compressed(
        folder / "test_images.npz", images=digits.test_images, labels=digits.test_labels
    )


def main(
    output: Annotated[Path, typer.Option(help="Folder for the files; made if missing.")],
    seed: Annotated[int, typer.Option(help="Seed of the split and of the weights.")] = 0,
    pool: Annotated[str, typer.Option(help="'max' or 'average' pooling.")] = "max",
) -> None:
    """Write lenet.onnx, lenet_int8.onnx and test_images.npz (images, labels) to --output.

    Takes about 10 seconds on one core.
    """
    if pool not in ("max", "average"):
        raise typer.BadParameter("choose 'max' or 'average'", param_hint="--pool")
    torch.set_num_threads(1)
    try:
        with temporary_folder(output) as folder:  # fails before the training if it must
            _write_all(folder, seed, "max" if pool == "max" else "average")
            for file in sorted(folder.iterdir()):
                file.replace(output / file.name)
    except FragenvError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    typer.echo(f"written to {output}")


if __name__ == "__main__":
    typer.run(main)
