"""Which circuits the top module has: equal fragments bound one after the other share one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fragenv.hardware.fragment import Fragment, Stage
from fragenv.rtl.errors import EmitError
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import CommandKind, Program
from fragenv.schedule.simulate import simulate

#: fragments that fit the bits of a BIND record
MAX_CIRCUITS = 16
#: stages that need window operations
WINDOW_STAGES = frozenset({Stage.POOL, Stage.ADD, Stage.LRN})
DMA_UNIT, CONFIG_UNIT, FIRST_CIRCUIT_UNIT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Circuits:
    """``fragments[i]`` is circuit i; ``of_instance`` maps a binding to its circuit."""

    fragments: tuple[Fragment, ...]
    of_instance: Mapping[int, int]
    #: bit i: circuit i is bound at power-up
    power_up: int
    #: circuits with window operations beside or instead of an array
    windows: frozenset[int]
    #: sources that a RUN's record has room for
    parts: int
    #: BIND command -> circuits whose binding has had its last RUN before, one bit each
    evicted: Mapping[int, int]

    @property
    def units(self) -> int:
        return FIRST_CIRCUIT_UNIT + len(self.fragments)

    @property
    def adds(self) -> bool:
        """Whether a RUN's record has a residual."""
        return any(Stage.ADD in f.stages for f in self.fragments)


def assign_circuits(problem: Problem, program: Program) -> Circuits:
    """Circuits for the bindings of a program.

    Raises:
        EmitError: more than ``MAX_CIRCUITS``.
    """
    timing = simulate(program)
    bound: dict[int, int] = {b.instance: 0 for b in program.bindings if b.at_power_up}
    last: dict[int, int] = {}
    binds: dict[int, int] = {}
    for command in program.commands:
        if command.kind is CommandKind.BIND:
            bound[command.instance] = timing.starts[command.id]
            binds[command.instance] = command.id
        if command.kind is CommandKind.RUN:
            last[command.instance] = timing.ends[command.id]
    fragments: list[Fragment] = []
    free_at: list[int] = []
    of_instance: dict[int, int] = {}
    power_up = 0
    for binding in sorted(program.bindings, key=lambda b: (bound[b.instance], b.instance)):
        fragment = problem.library[binding.fragment].parts[binding.part]
        start = bound[binding.instance]
        circuit = next(
            (
                i
                for i, f in enumerate(fragments)
                if f == fragment and free_at[i] <= start and start > 0
            ),
            len(fragments),
        )
        if circuit == len(fragments):
            fragments.append(fragment)
            free_at.append(0)
        free_at[circuit] = max(last.get(binding.instance, start), start + 1)
        of_instance[binding.instance] = circuit
        power_up |= int(binding.at_power_up) << circuit
    if len(fragments) > MAX_CIRCUITS:
        raise EmitError(
            f"the schedule binds {len(fragments)} circuits, at most {MAX_CIRCUITS} can be emitted; "
            "choose a schedule with fewer fragments"
        )
    evicted = {}
    for instance, command_id in binds.items():
        start = bound[instance]
        over = {of_instance[i] for i in of_instance if bound[i] < start and last.get(i, 0) <= start}
        in_use = {of_instance[i] for i in of_instance if bound[i] <= start < last.get(i, 0)}
        evicted[command_id] = sum(1 << c for c in over - in_use - {of_instance[instance]})
    windows = {i for i, f in enumerate(fragments) if set(f.stages) & WINDOW_STAGES}
    parts = 1
    for command in program.commands:
        if command.kind is CommandKind.RUN:
            shape = program.tasks[command.task].choice.shape
            if shape.array is None or shape.pool_window:
                windows.add(of_instance[command.instance])
            if shape.array is not None:
                parts = max(parts, len(shape.sources))
    return Circuits(tuple(fragments), of_instance, power_up, frozenset(windows), parts, evicted)
