"""The verdict on an emission: bytes against the reference, cycles against the prediction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fragenv.hardware.timing import ceil_div
from fragenv.models.parameters import load_parameters
from fragenv.verify.integers import quantise
from fragenv.verify.reference import evaluate
from fragenv.verify.run import CommandTiming, VerifyError, read_manifest, simulate_emission

MODEL_FILE = "model.onnx"


@dataclass(frozen=True, slots=True)
class TaskCycles:
    """A task of the first job, as predicted and as measured: from its first command to its last,
    and the cycles of its RUNs alone."""

    task: str
    predicted_start: int
    predicted_end: int
    measured_start: int
    measured_end: int
    predicted_run: int
    measured_run: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """``wrong_bytes`` of ``bytes`` differ from the reference; cycles are of one job."""

    frames: int
    bytes: int
    wrong_bytes: int
    predicted_cycles: int
    measured_cycles: int
    tasks: tuple[TaskCycles, ...]

    @property
    def cycle_error(self) -> float:
        """(measured - predicted) / predicted."""
        return self.measured_cycles / self.predicted_cycles - 1


def verify(
    folder: Path,
    frames: int,
    seed: int = 0,
    images: npt.NDArray[np.float32] | None = None,
    progress: Callable[[int], None] = lambda job: None,
) -> Verdict:
    """Simulate an emission and compare.

    Args:
        folder: from the emitter, with weights.
        frames: how many; rounded up to whole jobs.
        seed: of random inputs.
        images: real inputs (n, *shape) to use instead, n at least ``frames``.
        progress: called with the number of finished jobs.

    Raises:
        VerifyError: no weights, changed files, unfit images, or a failing simulation.
    """
    from fragenv.graph.from_onnx import from_onnx

    manifest = read_manifest(folder)
    _check_files(folder, manifest)
    model = folder / MODEL_FILE
    if not model.exists():
        raise VerifyError(f"'{folder}' was emitted without weights; emit it again with --weights")
    batch = manifest["batch"]
    graph = from_onnx(model)
    numbers = load_parameters(model, graph)
    frames = ceil_div(frames, batch) * batch
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
    simulation = simulate_emission(folder, inputs, progress)
    expected = evaluate(graph, numbers, inputs)
    wrong = total = 0
    for name, found in simulation.outputs.items():
        wrong += int(np.count_nonzero(found != expected[name].reshape(found.shape)))
        total += found.size
    tasks = task_cycles(manifest, simulation.commands)
    return Verdict(
        frames, total, wrong, manifest["predicted_cycles"], max(simulation.cycles), tasks
    )


def task_cycles(
    manifest: Mapping[str, Any], commands: tuple[CommandTiming, ...]
) -> tuple[TaskCycles, ...]:
    """Per task the span of its commands and the cycles of its RUNs."""
    result = []
    for number, name in enumerate(manifest["tasks"]):
        pairs = [
            (command["kind"], timing)
            for command, timing in zip(manifest["commands"], commands, strict=True)
            if command["task"] == number
        ]
        of_task = [timing for _, timing in pairs]
        runs = [timing for kind, timing in pairs if kind == "run"]
        result.append(
            TaskCycles(
                name,
                min(c.planned_start for c in of_task),
                max(c.planned_end for c in of_task),
                min(c.start for c in of_task),
                max(c.end for c in of_task),
                sum(c.planned_end - c.planned_start for c in runs),
                sum(c.end - c.start for c in runs),
            )
        )
    return tuple(result)


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    for name, digest in manifest["files"].items():
        try:
            data = (folder / name).read_bytes()
        except OSError:
            raise VerifyError(f"'{folder / name}' is missing; emit again") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise VerifyError(f"'{folder / name}' was changed after its emission; emit again")
