"""The lowering: from a finished state's records to a program."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fragenv.schedule.program import (
    CONFIG_PORT,
    DMA,
    Binding,
    Command,
    CommandKind,
    Program,
    Role,
    fragment_unit,
)
from fragenv.schedule.state import BindRecord, SpillRecord, State, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fragenv.schedule.problem import Problem
    from fragenv.schedule.steps import Step


def lower(problem: Problem, state: State) -> Program:
    """The program of a schedule (finished or so far).

    Its simulation gives the state's latency again: a command waits for whatever determined its
    placing, by the command that ends at that time.
    """
    lowering = _Lowering(problem)
    for record in state.records():
        match record:
            case TaskRecord():
                lowering.task(record)
            case SpillRecord():
                lowering.spill(record)
            case BindRecord():
                lowering.bind(record)
    return lowering.program()


@dataclass
class _Tensor:
    """Who made a tensor's bytes what they are, per frame, and who read it on the chip."""

    makers: list[int]
    readers: list[int] = field(default_factory=list)


class _Lowering:
    """Collects commands in the order of decisions; ids become final when they are sorted."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.commands: list[Command] = []
        self.starts: list[int] = []
        self.tasks: list[TaskRecord] = []
        self.bindings: list[Binding] = []
        self.tensors = [_Tensor([-1] * problem.batch) for _ in problem.tensors]
        self.unread = list(problem.readers)
        self.on_chip: set[int] = set()
        #: (time, command that ends then) of everything that gave buffer space back
        self.releases: list[tuple[int, int]] = []
        self.binds: dict[int, int] = {}
        self.bind_records: list[BindRecord] = []
        self.last_run: dict[int, int] = {}

    def _add(self, start: int, command: Command) -> int:
        index = len(self.commands)
        waits = tuple(sorted({w for w in command.waits if w >= 0}))
        self.commands.append(replace(command, id=index, waits=waits))
        self.starts.append(start)
        return index

    def _end(self, index: int) -> int:
        return self.starts[index] + self.commands[index].cycles

    def _latest(self, indices: Iterable[int]) -> int:
        """The command of ``indices`` that ends last; -1 for none."""
        return max((i for i in indices if i >= 0), key=self._end, default=-1)

    def bind(self, record: BindRecord) -> None:
        self.bindings.append(
            Binding(record.instance, record.fragment, record.slot, record.start is None)
        )
        if record.start is None:
            return
        self.bind_records.append(record)
        self.binds[record.instance] = self._add(
            record.start,
            Command(
                id=0,
                kind=CommandKind.BIND,
                unit=CONFIG_PORT,
                role=Role.CONFIG,
                cycles=self.problem.bind_cycles[record.fragment],
                waits=(),
                run_bytes=self.problem.config_bytes[record.fragment],
                runs=1,
                instance=record.instance,
            ),
        )

    def spill(self, record: SpillRecord) -> None:
        tensor = self.tensors[record.tensor]
        size = self.problem.tensor_bytes[record.tensor]
        name = self.problem.tensors[record.tensor]
        index = self._add(
            record.start,
            Command(
                id=0,
                kind=CommandKind.STORE,
                unit=DMA,
                role=Role.SPILL,
                cycles=record.end - record.start,
                waits=(self._latest(tensor.makers),),
                run_bytes=size,
                runs=1,
                tensor=name,
                frames=(0, self.problem.batch),
            ),
        )
        last = self._latest([index, *tensor.readers])
        self.releases.append((self._end(last), last))
        self.tensors[record.tensor] = _Tensor([index] * self.problem.batch)
        self.on_chip.discard(record.tensor)

    def task(self, record: TaskRecord) -> None:
        number = len(self.tasks)
        self.tasks.append(record)
        choice = record.choice
        room = tuple(i for time, i in self.releases if time == record.room_at > 0)
        runs: list[int] = []
        stores: list[int] = []
        makers = [-1] * self.problem.batch
        for index, (step, times) in enumerate(zip(record.plan.steps, record.times, strict=True)):
            loads = self._loads(record, number, index, step, times, runs, room)
            waits = [*loads, *self._chip_inputs(record, step)]
            if index == 0:
                waits += [self.binds.get(record.instance, -1), *room]
            if step.store_wait >= 0:
                waits.append(stores[step.store_wait])
            runs.append(self._run(record, number, index, step, times[2], waits))
            stores.append(self._store(record, number, index, step, times[3], runs[-1]))
            done = stores[-1] if stores[-1] >= 0 else runs[-1]
            if step.finishes:
                for f in range(*step.chunk.frames):
                    makers[f] = self._latest([makers[f], done])
        self.last_run[record.instance] = self._latest(
            [self.last_run.get(record.instance, -1), runs[-1]]
        )
        last = self._latest([runs[-1], *stores])
        self.releases.append((self._end(last), last))
        self._read(record, runs[-1])
        self.tensors[choice.output] = _Tensor(makers)
        if choice.keep:
            self.on_chip.add(choice.output)

    def _read(self, record: TaskRecord, last_run: int) -> None:
        """Note who read the kept inputs; the last reader gives their buffers back."""
        for node in record.choice.operators:
            for tensor in self.problem.reads[node]:
                self.unread[tensor] -= 1
        for tensor in dict.fromkeys(record.choice.sources):
            if tensor in self.on_chip:
                self.tensors[tensor].readers.append(last_run)
                if not self.unread[tensor]:
                    last = self._latest(self.tensors[tensor].readers)
                    self.releases.append((self._end(last), last))
                    self.on_chip.discard(tensor)

    def _loads(
        self,
        record: TaskRecord,
        task: int,
        index: int,
        step: Step,
        times: tuple[int, int, int, int],
        runs: list[int],
        room: tuple[int, ...],
    ) -> list[int]:
        result = []
        if step.weights is not None:
            wait = (runs[step.weight_wait],) if step.weight_wait >= 0 else room
            command = Command(
                id=0,
                kind=CommandKind.LOAD,
                unit=DMA,
                role=Role.WEIGHTS,
                cycles=step.weights.cycles,
                waits=wait,
                run_bytes=step.weights.run_bytes,
                runs=step.weights.runs,
                task=task,
                step=index,
                blocks=step.blocks,
            )
            result.append(self._add(times[0], command))
        start = times[1]
        for transfer in step.inputs:
            tensor = record.choice.sources[transfer.source]
            waits = (runs[step.input_wait],) if step.input_wait >= 0 else room
            first = transfer.source < len(record.choice.shape.sources)
            command = Command(
                id=0,
                kind=CommandKind.LOAD,
                unit=DMA,
                role=Role.INPUT,
                cycles=transfer.cycles,
                waits=(*waits, *self.tensors[tensor].makers[slice(*step.chunk.frames)]),
                run_bytes=transfer.run_bytes,
                runs=transfer.runs,
                task=task,
                step=index,
                tensor=self.problem.tensors[tensor],
                source=transfer.source,
                frames=step.chunk.frames,
                rows=step.chunk.in_rows if first else step.chunk.residual_rows,
            )
            result.append(self._add(start, command))
            start += transfer.cycles
        return result

    def _chip_inputs(self, record: TaskRecord, step: Step) -> list[int]:
        return [
            maker
            for i, tensor in enumerate(record.choice.sources)
            if record.on_chip >> i & 1
            for maker in self.tensors[tensor].makers[slice(*step.chunk.frames)]
        ]

    def _run(
        self,
        record: TaskRecord,
        task: int,
        index: int,
        step: Step,
        start: int,
        waits: list[int],
    ) -> int:
        command = Command(
            id=0,
            kind=CommandKind.RUN,
            unit=fragment_unit(record.instance),
            role=Role.COMPUTE,
            cycles=step.run_cycles,
            waits=tuple(waits),
            task=task,
            step=index,
            frames=step.chunk.frames,
            rows=step.chunk.out_rows,
            cols=step.chunk.cols,
            blocks=step.blocks,
            instance=record.instance,
        )
        return self._add(start, command)

    def _store(
        self, record: TaskRecord, task: int, index: int, step: Step, start: int, run: int
    ) -> int:
        if step.store is None:
            return -1
        command = Command(
            id=0,
            kind=CommandKind.STORE,
            unit=DMA,
            role=Role.OUTPUT,
            cycles=step.store.cycles,
            waits=(run,),
            run_bytes=step.store.run_bytes,
            runs=step.store.runs,
            task=task,
            step=index,
            tensor=self.problem.tensors[record.choice.output],
            frames=step.chunk.frames,
            rows=step.chunk.out_rows,
            cols=step.chunk.cols,
            blocks=step.blocks,
        )
        return self._add(start, command)

    def _bind_waits(self) -> None:
        """A BIND waits for the last RUNs of the fragments whose area it may take; those that an
        earlier BIND waited for are over."""
        waited: set[int] = set()
        for record in sorted(self.bind_records, key=lambda r: r.start or 0):
            index = self.binds[record.instance]
            new = [i for i in record.evicted if i not in waited]
            waited.update(new)
            waits = tuple(sorted(self.last_run[i] for i in new if i in self.last_run))
            self.commands[index] = replace(self.commands[index], waits=waits)

    def program(self) -> Program:
        """The commands by start time, renumbered."""
        self._bind_waits()
        order = sorted(range(len(self.commands)), key=lambda i: (self.starts[i], i))
        number = {old: new for new, old in enumerate(order)}
        commands = tuple(
            replace(
                self.commands[old],
                id=new,
                waits=tuple(sorted(number[w] for w in self.commands[old].waits)),
            )
            for new, old in enumerate(order)
        )
        return Program(commands, tuple(self.tasks), tuple(self.bindings))
