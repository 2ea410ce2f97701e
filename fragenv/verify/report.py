"""A verdict as data for other programs, and as Markdown for readers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fragenv.serialize import write_bytes, write_json
from fragenv.verify.measured import TaskCycles, Verdict, dram_traffic
from fragenv.verify.run import VerifyError

FORMAT, VERSION = "fragenv-verification", 1

CYCLE_COLUMNS = ("task", "predicted", "measured", "RUNs predicted", "measured", "difference")


def cycle_row(task: TaskCycles) -> list[str]:
    """A task's numbers under ``CYCLE_COLUMNS``."""
    error = task.measured_run / task.predicted_run - 1 if task.predicted_run else 0.0
    return [
        task.task,
        f"{task.predicted_start:,} - {task.predicted_end:,}",
        f"{task.measured_start:,} - {task.measured_end:,}",
        f"{task.predicted_run:,}",
        f"{task.measured_run:,}",
        f"{error:+.2%}",
    ]


TRAFFIC_COLUMNS = ("task", "read predicted", "measured", "written predicted", "measured", "busy")


def traffic_row(task: TaskCycles) -> list[str]:
    """A task's DRAM bytes and the use of its multipliers, under ``TRAFFIC_COLUMNS``."""
    return [
        task.task,
        f"{task.predicted.read_bytes:,}",
        f"{task.measured.read_bytes:,}",
        f"{task.predicted.written_bytes:,}",
        f"{task.measured.written_bytes:,}",
        f"{task.utilisation:.1%}" if task.macs else "",
    ]


TENSOR_COLUMNS = ("tensor", "kind", "bytes", "wrong")


def tensor_rows(verdict: Verdict) -> list[list[str]]:
    """Every compared tensor under ``TENSOR_COLUMNS``."""
    return [
        [t.tensor, "output" if t.is_output else "stored", f"{t.bytes:,}", f"{t.wrong:,}"]
        for t in verdict.tensors
    ]


COMMAND_COLUMNS = (
    *("kind", "unit", "predicted", "measured", "cycles predicted", "measured"),
    *("bytes predicted", "measured"),
)


def command_rows(verdict: Verdict, kinds: Iterable[str]) -> list[list[str]]:
    """The commands of some kinds under ``COMMAND_COLUMNS``."""
    rows = []
    for command in verdict.commands:
        if command.kind not in kinds:
            continue
        cycles = command.cycles
        rows.append(
            [
                f"{command.kind} {command.role}",
                command.unit,
                f"{cycles.planned_start:,} - {cycles.planned_end:,}",
                f"{cycles.start:,} - {cycles.end:,}",
                f"{cycles.planned_end - cycles.planned_start:,}",
                f"{cycles.end - cycles.start:,}",
                f"{command.predicted.bytes:,}",
                f"{command.measured.bytes:,}",
            ]
        )
    return rows


def summary_lines(verdict: Verdict) -> list[str]:
    """The verdict in a few sentences."""
    right = verdict.bytes - verdict.wrong_bytes
    stored = [t for t in verdict.tensors if not t.is_output]
    wrong = sum(t.wrong for t in stored)
    lines = [
        f"{verdict.frames} frames: {right:,} of {verdict.bytes:,} output bytes equal the "
        f"reference; {verdict.measured_cycles:,} cycles measured, "
        f"{verdict.predicted_cycles:,} predicted ({verdict.cycle_error:+.2%})",
        f"{len(stored)} other tensors in DRAM: {wrong:,} of "
        f"{sum(t.bytes for t in stored):,} bytes differ from the reference",
        f"DRAM traffic of a job: {verdict.measured_bytes:,} bytes measured, "
        f"{verdict.predicted_bytes:,} predicted; {verdict.wrong_traffic} of "
        f"{len(verdict.commands)} commands moved other bytes than predicted",
    ]
    if verdict.onnx_runtime is not None:
        other = verdict.onnx_runtime
        lines.append(
            f"ONNX Runtime's quantised model: {other.different:,} of {other.elements:,} output "
            f"bytes differ ({other.share:.3%}), by at most {other.largest}"
        )
    if verdict.classified is not None:
        counts = verdict.classified
        lines.append(
            f"classified right: {counts.chip / counts.frames:.2%} of {counts.frames} frames by "
            f"the chip, {counts.reference / counts.frames:.2%} by the reference, "
            f"{counts.onnx_runtime / counts.frames:.2%} by ONNX Runtime"
        )
    return lines


def write_report(path: Path, verdict: Verdict, command: str) -> None:
    """Write the whole verdict: ``.json`` for programs, ``.md`` for readers.

    Args:
        path: decides by its ending.
        verdict: what is written.
        command: that made it, for the reader.

    Raises:
        VerifyError: another ending.
        FileError: the file cannot be written.
    """
    match path.suffix:
        case ".json":
            write_json(path, FORMAT, VERSION, {"command": command, **as_data(verdict)})
        case ".md":
            write_bytes(path, markdown(verdict, command).encode("utf-8"))
        case _:
            raise VerifyError(f"cannot write the report '{path}': give a .json or .md file")


def as_data(verdict: Verdict) -> dict[str, Any]:
    """Everything, in the units that the names say."""
    predicted = dram_traffic(verdict.commands, measured=False)
    measured = dram_traffic(verdict.commands, measured=True)
    other = verdict.onnx_runtime
    return {
        "frames": verdict.frames,
        "good": verdict.good,
        "predicted_cycles": verdict.predicted_cycles,
        "measured_cycles": verdict.measured_cycles,
        "predicted_read_bytes": predicted.read_bytes,
        "measured_read_bytes": measured.read_bytes,
        "predicted_written_bytes": predicted.written_bytes,
        "measured_written_bytes": measured.written_bytes,
        "onnx_runtime": other and asdict(other),
        "classified_right": verdict.classified and asdict(verdict.classified),
        "tensors": [
            {"tensor": t.tensor, "output": t.is_output, "bytes": t.bytes, "wrong": t.wrong}
            for t in verdict.tensors
        ],
        "tasks": [
            {
                "task": t.task,
                "predicted_start": t.predicted_start,
                "predicted_end": t.predicted_end,
                "measured_start": t.measured_start,
                "measured_end": t.measured_end,
                "predicted_run_cycles": t.predicted_run,
                "measured_run_cycles": t.measured_run,
                "predicted_read_bytes": t.predicted.read_bytes,
                "measured_read_bytes": t.measured.read_bytes,
                "predicted_written_bytes": t.predicted.written_bytes,
                "measured_written_bytes": t.measured.written_bytes,
                "macs": t.macs,
                "multipliers": t.multipliers,
                "utilisation": round(t.utilisation, 6),
            }
            for t in verdict.tasks
        ],
        "commands": [
            {
                "kind": c.kind,
                "role": c.role,
                "unit": c.unit,
                "task": c.task,
                "predicted_start": c.cycles.planned_start,
                "predicted_end": c.cycles.planned_end,
                "measured_start": c.cycles.start,
                "measured_end": c.cycles.end,
                "predicted_bytes": c.predicted.bytes,
                "measured_bytes": c.measured.bytes,
            }
            for c in verdict.commands
        ],
    }


def markdown(verdict: Verdict, command: str) -> str:
    """The verdict as a page of tables."""
    lines = ["# Verification", "", f"    {command}", ""]
    lines += [f"* {line}" for line in summary_lines(verdict)]
    lines += ["", "## Cycles of the first job: start - end of each task, its RUNs alone", ""]
    lines += _table(CYCLE_COLUMNS, [cycle_row(t) for t in verdict.tasks], texts=1)
    lines += ["", "## DRAM bytes of the first job, and multipliers busy while RUNs run", ""]
    lines += _table(TRAFFIC_COLUMNS, [traffic_row(t) for t in verdict.tasks], texts=1)
    lines += ["", "## Tensors in DRAM, all jobs", ""]
    lines += _table(TENSOR_COLUMNS, tensor_rows(verdict), texts=2)
    lines += ["", "## Commands of the first job", ""]
    kinds = ("bind", "load", "run", "store")
    lines += _table(COMMAND_COLUMNS, command_rows(verdict, kinds), texts=2)
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int) -> list[str]:
    """A Markdown table whose first ``texts`` columns are words."""
    rule = ["---"] * texts + ["---:"] * (len(columns) - texts)
    body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (columns, rule, *body)]
