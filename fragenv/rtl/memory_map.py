"""Where everything lies: tensors and weights in DRAM, buffers and kept tensors in SRAM.

A buffer of the chip's SRAM is needed from the planned start of the first command that touches it to
the planned end of the last; buffers whose times overlap get different addresses (first fit).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fragenv.errors import InfeasibleError, Violation
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Command, CommandKind, Program, ProgramTask, Role
from fragenv.schedule.simulate import simulate

#: DRAM regions begin at multiples of this
DRAM_ALIGNMENT = 64
#: orders tried from each of the first ones before a packing is given up
PACKING_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Need:
    """A buffer: ``size`` bytes while start <= cycle < end (planned)."""

    name: str
    size: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """Byte addresses. Names of buffers: ``task3.weights``, ``task3.input``, ``task3.rows``,
    ``task3.output``, ``tensor.X`` for a tensor that is kept on the chip, and ``ring3.X`` for one
    that passes through the layers of a fused task whose first one is task 3."""

    buffer: Mapping[str, int]
    buffer_bytes: Mapping[str, int]
    dram_tensors: Mapping[str, int]
    dram_weights: Mapping[int, int]
    dram_bytes: int


def map_memory(
    problem: Problem,
    program: Program,
    weight_bytes: Mapping[int, int],
    guard: int = 0,
    align: int = 1,
) -> MemoryMap:
    """The memory map of a program.

    Args:
        problem, program: what is mapped.
        weight_bytes: per task the length of its weight stream.
        guard: bytes at the start of the buffer that are left free.
        align: what the buffers' addresses are a multiple of, where that fits.

    Raises:
        InfeasibleError: the buffers cannot be packed into the chip's SRAM.
    """
    needs = buffer_needs(problem, program)
    room = problem.chip.buffer_bytes - guard
    try:
        # rows of weights that begin with a row of the buffer touch one bank, not two
        place = pack(needs, room, problem.chip.name, align)
    except InfeasibleError:
        place = pack(needs, room, problem.chip.name)
    place = {name: address + guard for name, address in place.items()}
    address = 0
    tensors: dict[str, int] = {}
    moved = dict.fromkeys(c.tensor for c in program.commands if c.tensor)
    for name in dict.fromkeys([*problem.tensors[: problem.num_inputs], *moved]):
        tensors[name] = address
        address = _aligned(address + problem.tensor_bytes[problem.tensor_of[name]])
    weights: dict[int, int] = {}
    for task, size in weight_bytes.items():
        weights[task] = address
        address = _aligned(address + size)
    return MemoryMap(place, {n.name: n.size for n in needs}, tensors, weights, address)


def _aligned(address: int) -> int:
    return -(-address // DRAM_ALIGNMENT) * DRAM_ALIGNMENT


def buffer_needs(problem: Problem, program: Program) -> list[Need]:
    """Every buffer of the program with its planned lifetime."""
    timing = simulate(program)
    spans: dict[str, tuple[int, int]] = {}
    sizes: dict[str, int] = {}

    for command in program.commands:
        start, end = timing.starts[command.id], timing.ends[command.id]
        for name, size in _touched(problem, program, command):
            old = spans.get(name, (start, end))
            spans[name] = (min(old[0], start), max(old[1], end))
            sizes[name] = size
    return [Need(name, sizes[name], *spans[name]) for name in spans]


def _touched(problem: Problem, program: Program, command: Command) -> Iterator[tuple[str, int]]:
    """Buffers that a command reads or writes, and their bytes."""
    if command.kind is CommandKind.BIND:
        return
    if command.role is Role.SPILL:
        size = problem.tensor_bytes[problem.tensor_of[command.tensor]]
        yield f"tensor.{command.tensor}", size
        return
    task, name = program.tasks[command.task], f"task{command.task}"
    tiling, running = task.plan.tiling, command.kind is CommandKind.RUN
    for part, size, role in (
        ("weights", tiling.weight_buffer_bytes, Role.WEIGHTS),
        ("input", tiling.input_buffer_bytes, Role.INPUT),
        ("rows", tiling.row_buffer_bytes, Role.COMPUTE),
        ("output", tiling.output_buffer_bytes, Role.OUTPUT),
    ):
        if size and (running or command.role is role):
            yield f"{name}.{part}", size
    for i, tensor in enumerate(task.choice.sources):
        ring = task.ring_read(i)
        if ring is not None and (running or command.source == i):
            yield ring_name(task, problem.tensors[tensor]), ring.bytes
        elif running and task.on_chip >> i & 1:
            # a tensor may be kept, spilled and read again from DRAM, but is kept only once
            yield f"tensor.{problem.tensors[tensor]}", problem.tensor_bytes[tensor]
    output = problem.tensors[task.choice.output]
    if running and task.ring_written is not None:
        yield ring_name(task, output), task.ring_written.bytes
    elif running and task.keeps_output:
        yield f"tensor.{output}", problem.tensor_bytes[task.choice.output]


def ring_name(task: ProgramTask, tensor: str) -> str:
    """The name of the ring through which a tensor passes within a task's group."""
    return f"ring{task.group}.{tensor}"


def pack(needs: Iterable[Need], capacity: int, chip: str, align: int = 1) -> dict[str, int]:
    """Addresses for the buffers, multiples of ``align``: first fit, in an order that is mended.

    Buffers that end beyond the capacity are placed earlier in the next round (squeaky wheel
    optimisation: Joslin and Clements, JAIR 10, 1999), until all fit or no round is left.

    Raises:
        InfeasibleError: no order was found that fits.
    """
    needs = list(needs)
    orders = (
        sorted(needs, key=lambda n: (n.start, -n.size, n.name)),
        sorted(needs, key=lambda n: (-n.size, n.start, n.name)),
        sorted(needs, key=lambda n: (n.start - n.end, -n.size, n.name)),
        sorted(needs, key=lambda n: ((n.start - n.end) * n.size, n.name)),
    )
    least: int | None = None
    for order in orders:
        for turn in range(PACKING_ROUNDS):
            place = _first_fit(order, align)
            used = max((place[n.name] + n.size for n in needs), default=0)
            if used <= capacity:
                return place
            least = used if least is None else min(least, used)
            for need in [n for n in order if place[n.name] + n.size > capacity]:
                # steps of changing length, so that two buffers do not change places for ever
                at = order.index(need)
                order.insert(max(0, at - 1 - turn % 7), order.pop(at))
    raise InfeasibleError(
        Violation("buffers cannot be packed", f"chip '{chip}'", least or 0, capacity, "bytes"),
        "choose a schedule that keeps fewer tensors on the chip",
    )


def _first_fit(order: list[Need], align: int) -> dict[str, int]:
    place: dict[str, int] = {}
    placed: list[Need] = []
    for need in order:
        rivals = sorted(
            (place[p.name], place[p.name] + p.size)
            for p in placed
            if p.start < need.end and need.start < p.end
        )
        address = 0
        for low, high in rivals:
            if address + need.size <= low:
                break
            address = max(address, -(-high // align) * align)
        place[need.name] = address
        placed.append(need)
    return place
