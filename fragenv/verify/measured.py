"""What a simulated job did, beside what was predicted: per task, per command, per tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fragenv.verify.agreement import Difference
from fragenv.verify.run import CommandTiming


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that commands move."""

    read_bytes: int = 0
    written_bytes: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.read_bytes + other.read_bytes, self.written_bytes + other.written_bytes)

    @property
    def bytes(self) -> int:
        return self.read_bytes + self.written_bytes


@dataclass(frozen=True, slots=True)
class MeasuredCommand:
    """A command of the first job. ``task`` is '' for configurations and spills; the traffic of a
    BIND is that of the configuration memory."""

    unit: str
    kind: str
    role: str
    task: str
    cycles: CommandTiming
    predicted: Traffic

    @property
    def measured(self) -> Traffic:
        return Traffic(self.cycles.read_bytes, self.cycles.written_bytes)


@dataclass(frozen=True, slots=True)
class TaskCycles:
    """A task of the first job, as predicted and as measured: from its first command to its last,
    the cycles of its RUNs alone, its DRAM traffic, and how busy its RUNs kept the multipliers."""

    task: str
    predicted_start: int
    predicted_end: int
    measured_start: int
    measured_end: int
    predicted_run: int
    measured_run: int
    predicted: Traffic = Traffic()
    measured: Traffic = Traffic()
    #: multiply-accumulates of the job, and multipliers of the circuit that runs them
    macs: int = 0
    multipliers: int = 0

    @property
    def utilisation(self) -> float:
        """Multiply-accumulates per multiplier and cycle of the measured RUNs, from 0 to 1."""
        slots = self.multipliers * self.measured_run
        return self.macs / slots if slots else 0.0


@dataclass(frozen=True, slots=True)
class TensorBytes:
    """A tensor that the chip wrote to DRAM: ``wrong`` of ``bytes`` differ from the reference."""

    tensor: str
    bytes: int
    wrong: int
    is_output: bool


@dataclass(frozen=True, slots=True)
class Classified:
    """Of ``frames`` with a known class, how many have their largest output there."""

    frames: int
    chip: int
    reference: int
    onnx_runtime: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """``wrong_bytes`` of ``bytes`` of the outputs differ from the reference; cycles are of the
    slowest job, commands and tasks of the first."""

    frames: int
    bytes: int
    wrong_bytes: int
    predicted_cycles: int
    measured_cycles: int
    tasks: tuple[TaskCycles, ...]
    tensors: tuple[TensorBytes, ...] = ()
    commands: tuple[MeasuredCommand, ...] = ()
    #: the outputs against ONNX Runtime's quantised model
    onnx_runtime: Difference | None = None
    classified: Classified | None = None

    @property
    def cycle_error(self) -> float:
        """(measured - predicted) / predicted."""
        return self.measured_cycles / self.predicted_cycles - 1

    @property
    def wrong_tensors(self) -> tuple[str, ...]:
        """Tensors with a byte that differs from the reference."""
        return tuple(t.tensor for t in self.tensors if t.wrong)

    @property
    def predicted_bytes(self) -> int:
        """DRAM traffic of a job."""
        return dram_traffic(self.commands, measured=False).bytes

    @property
    def measured_bytes(self) -> int:
        """DRAM traffic of the first job."""
        return dram_traffic(self.commands, measured=True).bytes

    @property
    def wrong_traffic(self) -> int:
        """Commands that moved other bytes than predicted."""
        return sum(c.measured != c.predicted for c in self.commands)

    @property
    def good(self) -> bool:
        """Every byte is the reference's, and every command moved what was predicted."""
        return not (self.wrong_bytes or self.wrong_tensors or self.wrong_traffic)


def measured_commands(
    manifest: Mapping[str, Any], timings: Iterable[CommandTiming]
) -> tuple[MeasuredCommand, ...]:
    """The program's commands in its order."""
    result = []
    for command, timing in zip(manifest["commands"], timings, strict=True):
        number, moved = command["task"], command["bytes"]
        stores = command["kind"] == "store"
        result.append(
            MeasuredCommand(
                manifest["units"][command["unit"]],
                command["kind"],
                command["role"],
                manifest["tasks"][number]["name"] if number >= 0 else "",
                timing,
                Traffic(0, moved) if stores else Traffic(moved, 0),
            )
        )
    return tuple(result)


def measured_tasks(
    manifest: Mapping[str, Any], commands: Iterable[MeasuredCommand]
) -> tuple[TaskCycles, ...]:
    """Per task what its commands did."""
    of_task: dict[int, list[MeasuredCommand]] = {}
    for described, command in zip(manifest["commands"], commands, strict=True):
        of_task.setdefault(described["task"], []).append(command)
    result = []
    for number, task in enumerate(manifest["tasks"]):
        own = of_task[number]
        cycles = [c.cycles for c in own]
        runs = [c.cycles for c in own if c.kind == "run"]
        result.append(
            TaskCycles(
                task["name"],
                min(c.planned_start for c in cycles),
                max(c.planned_end for c in cycles),
                min(c.start for c in cycles),
                max(c.end for c in cycles),
                sum(c.planned_end - c.planned_start for c in runs),
                sum(c.end - c.start for c in runs),
                dram_traffic(own, measured=False),
                dram_traffic(own, measured=True),
                task["macs"],
                task["multipliers"],
            )
        )
    return tuple(result)


def dram_traffic(commands: Iterable[MeasuredCommand], measured: bool) -> Traffic:
    """DRAM bytes of some commands; configurations come from another memory."""
    moved = (
        c.measured if measured else c.predicted for c in commands if c.kind in ("load", "store")
    )
    return sum(moved, Traffic())
