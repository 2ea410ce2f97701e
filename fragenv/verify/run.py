"""Verification: an emitted chip in Verilator against the integer reference, bytes and cycles."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from fragenv.errors import FragenvError
from fragenv.rtl.emit import MANIFEST_VERSION
from fragenv.verify.build import FAST, NORMAL, Design, build, lint

Int8 = npt.NDArray[np.int8]
#: a job that takes this many times the predicted cycles is stopped
LIMIT_FACTOR = 2
LIMIT_SLACK_CYCLES = 20_000
#: from this many cycles on it pays to let the compiler work longer
LONG_CYCLES = 20_000_000
_STATUS = {
    3: "the simulation does not end",
    4: "the simulated chip fails",
    5: "the simulation cannot start",
}


class VerifyError(FragenvError):
    """An emission cannot be simulated, or its simulation fails."""


@dataclass(frozen=True, slots=True)
class Dram:
    """The memory that the chip meets; its own where a number is None."""

    latency_cycles: int | None = None
    bytes_per_cycle: float | None = None


#: the memory of the chip's description
CHIPS_DRAM = Dram()


@dataclass(frozen=True, slots=True)
class CommandTiming:
    """Cycles of one command, counted from the job's first command, and the bytes that it moved:
    from and to DRAM, or from the configuration memory."""

    planned_start: int
    planned_end: int
    start: int
    end: int
    read_bytes: int = 0
    written_bytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """What the simulated chip did."""

    #: per output tensor (jobs * batch, *shape), channels first
    outputs: Mapping[str, Int8]
    #: per job, from reset to the last command's end
    cycles: tuple[int, ...]
    #: of the first job, by command number
    commands: tuple[CommandTiming, ...]
    #: as ``outputs``, the other tensors that go through DRAM
    stored: Mapping[str, Int8]
    #: per job, bytes read from and written to DRAM
    traffic: tuple[tuple[int, int], ...]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an emission.

    Raises:
        VerifyError: no manifest, a damaged one, or one of another version.
    """
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except OSError:
        raise VerifyError(f"'{folder}' is no emission: it has no manifest.json") from None
    except ValueError:
        raise VerifyError(f"'{path}' is damaged; emit again") from None
    if not isinstance(manifest, dict) or manifest.get("version") != MANIFEST_VERSION:
        raise VerifyError(f"'{path}' is of another version of the emitter; emit again")
    return manifest


def design_of(folder: Path) -> Design:
    """The design of an emission."""
    manifest = read_manifest(folder)
    return Design(manifest["top"], tuple(sorted((folder / "rtl").glob("*.sv"))), (folder / "rtl",))


def lint_emission(folder: Path) -> str:
    """What ``verilator --lint-only -Wall`` says of an emission; "" where it is clean."""
    return lint(design_of(folder))


def simulate_emission(
    folder: Path,
    inputs: Mapping[str, Int8],
    progress: Callable[[int], None] = lambda job: None,
    dram: Dram = CHIPS_DRAM,
) -> Simulation:
    """Run frames through the emitted chip.

    Args:
        folder: from the emitter.
        inputs: per input tensor (n, *shape), channels first; n a multiple of the batch.
        progress: called with the number of finished jobs.
        dram: another memory than the chip's.

    Raises:
        VerifyError: the inputs do not fit, or the simulation fails.
        BuildError: the design cannot be built.
    """
    manifest = read_manifest(folder)
    batch, places = manifest["batch"], manifest["inputs"]
    for place in places:
        if place["tensor"] not in inputs:
            raise VerifyError(f"input '{place['tensor']}' is missing")
    frames = len(inputs[places[0]["tensor"]])
    if frames == 0 or frames % batch:
        raise VerifyError(f"{frames} frames are no whole number of jobs of {batch}")
    jobs = frames // batch
    flags = FAST if jobs * manifest["predicted_cycles"] > LONG_CYCLES else NORMAL
    model = build(design_of(folder), [Path(__file__).parent / "harness.cpp"], flags)
    with TemporaryDirectory() as name:
        work = Path(name)
        parts = [
            _to_chip(inputs[p["tensor"]][job * batch : (job + 1) * batch], p["shape"])
            for job in range(jobs)
            for p in places
        ]
        (work / "input").write_bytes(b"".join(parts))
        lines = _run_model([str(model), *_arguments(folder, manifest, work, jobs, dram)], progress)
        data = np.fromfile(work / "output", np.int8)
        stamps = (work / "stamps").read_text().split("\n")
    tensors = _tensors(data, manifest, jobs)
    return Simulation(
        outputs={p["tensor"]: tensors[p["tensor"]] for p in manifest["outputs"]},
        cycles=tuple(cycles for cycles, _, _ in lines),
        commands=_timings(manifest, stamps),
        stored={p["tensor"]: tensors[p["tensor"]] for p in manifest["stored"]},
        traffic=tuple((read, written) for _, read, written in lines),
    )


def _arguments(
    folder: Path, manifest: Mapping[str, Any], work: Path, jobs: int, dram: Dram
) -> list[str]:
    """The harness's arguments; its header lists them."""
    chip = manifest["chip"]
    latency = chip["dram_latency_cycles"] if dram.latency_cycles is None else dram.latency_cycles
    # 0: the chip's own port is the limit
    bandwidth = dram.bytes_per_cycle or 0.0
    result = [str(folder / "program.bin"), str(folder / "memory.bin")]
    result += [str(work / n) for n in ("input", "output", "stamps")]
    result += [str(latency), repr(float(bandwidth)), repr(float(chip["config_bytes_per_cycle"]))]
    result += [str(_limit(manifest, latency, bandwidth)), str(jobs)]
    result += [str(len(manifest["units"])), *manifest["units"]]
    for places in (manifest["inputs"], _dumped(manifest)):
        result.append(str(len(places)))
        for place in places:
            result += [str(place["address"]), str(prod(place["shape"]) * manifest["batch"])]
    return result


def _limit(manifest: Mapping[str, Any], latency: int, bandwidth: float) -> int:
    """Cycles after which a job is stopped: more than a slower memory explains."""
    chip = manifest["chip"]
    slower = max(1.0, latency / max(1, chip["dram_latency_cycles"]))
    if bandwidth:
        slower *= max(1.0, chip["dram_bytes_per_cycle"] / bandwidth)
    return int(LIMIT_FACTOR * manifest["predicted_cycles"] * slower) + LIMIT_SLACK_CYCLES


def _run_model(command: list[str], progress: Callable[[int], None]) -> list[tuple[int, int, int]]:
    """Per job its cycles and the bytes read from and written to DRAM."""
    lines: list[tuple[int, int, int]] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            cycles, read, written = map(int, line.split())
            lines.append((cycles, read, written))
            progress(len(lines))
        message = process.stderr.read().strip()
        status = process.wait()
    if status:
        what = _STATUS.get(status, f"the simulation ends with status {status}")
        raise VerifyError(f"{what}: {message}")
    return lines


def _dumped(manifest: Mapping[str, Any]) -> list[Any]:
    """The places of all tensors that the chip writes to DRAM."""
    return [*manifest["outputs"], *manifest["stored"]]


def _to_chip(frames: Int8, shape: Sequence[int]) -> bytes:
    """Frames (n, *shape) as the chip stores them: channels last."""
    frames = frames.reshape(len(frames), *shape)
    if len(shape) == 3:
        frames = frames.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(frames, np.int8).tobytes()


def _tensors(data: Int8, manifest: Mapping[str, Any], jobs: int) -> dict[str, Int8]:
    batch, places = manifest["batch"], _dumped(manifest)
    table = data.reshape(jobs, -1)
    result: dict[str, Int8] = {}
    start = 0
    for place in places:
        shape = place["shape"]
        size = prod(shape) * batch
        part = table[:, start : start + size]
        start += size
        if len(shape) == 3:
            channels, rows, cols = shape
            stored = part.reshape(jobs * batch, rows, cols, channels)
            result[place["tensor"]] = np.ascontiguousarray(stored.transpose(0, 3, 1, 2))
        else:
            result[place["tensor"]] = part.reshape(jobs * batch, *shape)
    return result


def _timings(manifest: Mapping[str, Any], lines: Sequence[str]) -> tuple[CommandTiming, ...]:
    """Pair the stamps of each unit with its commands, which it runs in their order."""
    stamps: dict[int, list[list[int]]] = {}
    for line in filter(None, lines):
        unit, *numbers = map(int, line.split())
        stamps.setdefault(unit, []).append(numbers)
    first = min((s[0][0] for s in stamps.values()), default=0)
    queues = {unit: iter(rows) for unit, rows in stamps.items()}
    result = []
    for command in manifest["commands"]:
        start, end, read, written = next(queues[command["unit"]])
        planned = command["start"], command["end"]
        result.append(CommandTiming(*planned, start - first, end - first, read, written))
    return tuple(result)
