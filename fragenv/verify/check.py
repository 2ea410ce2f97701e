"""The verdict on an emission: bytes against the reference, cycles and traffic as predicted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fragenv.hardware.timing import ceil_div
from fragenv.models.parameters import Quantisation, load_parameters
from fragenv.verify.agreement import Difference, difference
from fragenv.verify.integers import Int8, dequantise, quantise
from fragenv.verify.measured import (
    Classified,
    TaskCycles,
    TensorBytes,
    Verdict,
    measured_commands,
    measured_tasks,
)
from fragenv.verify.onnx_runtime import QuantisedModel
from fragenv.verify.reference import evaluate
from fragenv.verify.run import (
    CHIPS_DRAM,
    Dram,
    Simulation,
    VerifyError,
    read_manifest,
    simulate_emission,
)

__all__ = ["TaskCycles", "Verdict", "verify"]

MODEL_FILE = "model.onnx"


def verify(
    folder: Path,
    frames: int,
    seed: int = 0,
    images: npt.NDArray[np.float32] | None = None,
    progress: Callable[[int], None] = lambda job: None,
    dram: Dram = CHIPS_DRAM,
    labels: npt.NDArray[np.int64] | None = None,
) -> Verdict:
    """Simulate an emission and compare.

    Compared are all tensors that the chip writes to DRAM, of every job, with the integer reference;
    the outputs also with ONNX Runtime; cycles and traffic with the prediction.

    Args:
        folder: from the emitter, with weights.
        frames: how many; rounded up to whole jobs.
        seed: of random inputs.
        images: real inputs (n, *shape) to use instead, n at least ``frames``.
        progress: called with the number of finished jobs.
        dram: another memory than the chip's; cycles are then not those predicted.
        labels: classes of ``images`` (n,), to count what is classified right.

    Raises:
        VerifyError: no weights, changed files, unfit images, or a failing simulation.
    """
    manifest = read_manifest(folder)
    _check_files(folder, manifest)
    path = folder / MODEL_FILE
    if not path.exists():
        raise VerifyError(f"'{folder}' was emitted without weights; emit it again with --weights")
    model = QuantisedModel(path)
    numbers = load_parameters(path, model.graph)
    frames = ceil_div(frames, manifest["batch"]) * manifest["batch"]
    inputs = _inputs(manifest, numbers, frames, seed, images)
    simulation = simulate_emission(folder, inputs, progress, dram)
    expected = evaluate(model.graph, numbers, inputs)
    theirs = _from_onnx_runtime(model, numbers, inputs, simulation)
    tensors = _compared(simulation, expected)
    outputs = [t for t in tensors if t.is_output]
    commands = measured_commands(manifest, simulation.commands)
    others = (difference(simulation.outputs[name], theirs[name]) for name in theirs)
    return Verdict(
        frames,
        sum(t.bytes for t in outputs),
        sum(t.wrong for t in outputs),
        manifest["predicted_cycles"],
        max(simulation.cycles),
        measured_tasks(manifest, commands),
        tensors,
        commands,
        sum(others, Difference()),
        None if labels is None else _classified(labels, simulation.outputs, expected, theirs),
    )


def _inputs(
    manifest: Mapping[str, Any],
    numbers: Quantisation,
    frames: int,
    seed: int,
    images: npt.NDArray[np.float32] | None,
) -> dict[str, Int8]:
    rng = np.random.default_rng(seed)
    inputs = {}
    for place in manifest["inputs"]:
        shape = (frames, *place["shape"])
        if images is None:
            inputs[place["tensor"]] = rng.integers(-128, 128, shape, dtype=np.int8)
            continue
        if images.shape[1:] != shape[1:] or len(images) < frames:
            raise VerifyError(f"the images have shape {images.shape}, not {shape}")
        inputs[place["tensor"]] = quantise(images[:frames], numbers.tensors[place["tensor"]])
    return inputs


def _compared(simulation: Simulation, expected: Mapping[str, Int8]) -> tuple[TensorBytes, ...]:
    result = []
    for tensors, is_output in ((simulation.stored, False), (simulation.outputs, True)):
        for name, found in tensors.items():
            wrong = difference(found, expected[name])
            result.append(TensorBytes(name, wrong.elements, wrong.different, is_output))
    return tuple(result)


def _from_onnx_runtime(
    model: QuantisedModel,
    numbers: Quantisation,
    inputs: Mapping[str, Int8],
    simulation: Simulation,
) -> dict[str, Int8]:
    """ONNX Runtime's outputs for the same integers as inputs."""
    reals = {name: dequantise(values, numbers.tensors[name]) for name, values in inputs.items()}
    # a file may leave the scale of a maximum's result to its input's
    return model.tensors(reals, [name for name in simulation.outputs if name in model.values])


def _classified(
    labels: npt.NDArray[np.int64], ours: Mapping[str, Int8], *others: Mapping[str, Int8]
) -> Classified:
    name, output = next(iter(ours.items()))
    frames = min(len(labels), len(output))
    counts = []
    for tensors in (ours, *others):
        results = tensors.get(name, output).reshape(len(output), -1)[:frames]
        counts.append(int(np.sum(np.argmax(results, axis=1) == labels[:frames])))
    return Classified(frames, *counts)


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    for name, digest in manifest["files"].items():
        try:
            data = (folder / name).read_bytes()
        except OSError:
            raise VerifyError(f"'{folder / name}' is missing; emit again") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise VerifyError(f"'{folder / name}' was changed after its emission; emit again")
