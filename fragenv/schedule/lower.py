"""The lowering: from a finished state's records to a program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from fragenv.schedule.fused_plan import FusedPlan, FusedStep
from fragenv.schedule.program import (
    CONFIG_PORT,
    DMA,
    Binding,
    Command,
    CommandKind,
    Program,
    ProgramTask,
    Role,
    fragment_unit,
)
from fragenv.schedule.state import BindRecord, SpillRecord, State, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fragenv.schedule.problem import Problem
    from fragenv.schedule.steps import Step, TaskPlan


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
        self.tasks: list[ProgramTask] = []
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
        self.commands.append(command._replace(id=index, waits=waits))
        self.starts.append(start)
        return index

    def _end(self, index: int) -> int:
        return self.starts[index] + self.commands[index].cycles

    def _latest(self, indices: Iterable[int]) -> int:
        """The command of ``indices`` that ends last; -1 for none."""
        return max((i for i in indices if i >= 0), key=self._end, default=-1)

    def bind(self, record: BindRecord) -> None:
        self.bindings.append(
            Binding(
                record.instance, record.fragment, record.part, record.slot, record.start is None
            )
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
                cycles=self.problem.part_bind_cycles[record.fragment][record.part],
                waits=(),
                run_bytes=self.problem.part_config_bytes[record.fragment][record.part],
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
        choice, plan = record.choice, record.plan
        first = len(self.tasks)
        self.tasks += _program_tasks(record, first)
        room = tuple(i for time, i in self.releases if time == record.room_at > 0)
        runs: list[int] = []
        stores: list[int] = []
        counts = [0] * len(choice.chains)
        makers = {c.output: [-1] * self.problem.batch for c in choice.chains}
        for one, times in zip(_steps(plan), record.times, strict=True):
            step, number = one.step, first + one.layer
            task = self.tasks[number]
            place = _Place(number, counts[one.layer], times)
            loads = self._loads(one, place, record, runs, room)
            waits = [*loads, *(runs[i] for i in one.run_waits), *self._chip_inputs(task, step)]
            if not counts[one.layer]:
                waits += [self.binds.get(task.instance, -1), *room]
            if step.store_wait >= 0:
                waits.append(stores[step.store_wait])
            runs.append(self._run(task, place, step, waits))
            stores.append(self._store(task, place, step, runs[-1]))
            counts[one.layer] += 1
            done = stores[-1] if stores[-1] >= 0 else runs[-1]
            if step.finishes:
                made = makers[task.choice.output]
                for f in range(*step.chunk.frames):
                    made[f] = self._latest([made[f], done])
            self.last_run[task.instance] = self._latest(
                [self.last_run.get(task.instance, -1), runs[-1]]
            )
        last_run = self._latest(runs)
        last = self._latest([last_run, *stores])
        self.releases.append((self._end(last), last))
        self._read(record, last_run)
        for tensor in choice.outputs:
            self.tensors[tensor] = _Tensor(makers[tensor])
            if choice.keep:
                self.on_chip.add(tensor)

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
        one: FusedStep,
        place: _Place,
        record: TaskRecord,
        runs: list[int],
        room: tuple[int, ...],
    ) -> list[int]:
        result = []
        step = one.step
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
                task=place.task,
                step=place.step,
                blocks=step.blocks,
            )
            result.append(self._add(place.times[0], command))
        start = place.times[1]
        for transfer, (source, rows) in zip(step.inputs, one.loads, strict=True):
            tensor = record.choice.sources[transfer.source]
            waits = tuple(runs[i] for i in one.input_waits) or room
            command = Command(
                id=0,
                kind=CommandKind.LOAD,
                unit=DMA,
                role=Role.INPUT,
                cycles=transfer.cycles,
                waits=(*waits, *self.tensors[tensor].makers[slice(*step.chunk.frames)]),
                run_bytes=transfer.run_bytes,
                runs=transfer.runs,
                task=place.task,
                step=place.step,
                tensor=self.problem.tensors[tensor],
                source=source,
                frames=step.chunk.frames,
                rows=rows,
            )
            result.append(self._add(start, command))
            start += transfer.cycles
        return result

    def _chip_inputs(self, task: ProgramTask, step: Step) -> list[int]:
        return [
            maker
            for i, tensor in enumerate(task.choice.sources)
            if task.on_chip >> i & 1
            for maker in self.tensors[tensor].makers[slice(*step.chunk.frames)]
        ]

    def _run(self, task: ProgramTask, place: _Place, step: Step, waits: list[int]) -> int:
        command = Command(
            id=0,
            kind=CommandKind.RUN,
            unit=fragment_unit(task.instance),
            role=Role.COMPUTE,
            cycles=step.run_cycles,
            waits=tuple(waits),
            task=place.task,
            step=place.step,
            frames=step.chunk.frames,
            rows=step.chunk.out_rows,
            cols=step.chunk.cols,
            blocks=step.blocks,
            instance=task.instance,
        )
        return self._add(place.times[2], command)

    def _store(self, task: ProgramTask, place: _Place, step: Step, run: int) -> int:
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
            task=place.task,
            step=place.step,
            tensor=self.problem.tensors[task.choice.output],
            frames=step.chunk.frames,
            rows=step.chunk.out_rows,
            cols=step.chunk.cols,
            blocks=step.blocks,
        )
        return self._add(place.times[3], command)

    def _bind_waits(self) -> None:
        """A BIND waits for the last RUNs of the fragments whose area it may take; those that an
        earlier BIND waited for are over."""
        waited: set[int] = set()
        for record in sorted(self.bind_records, key=lambda r: r.start or 0):
            index = self.binds[record.instance]
            new = [i for i in record.evicted if i not in waited]
            waited.update(new)
            waits = tuple(sorted(self.last_run[i] for i in new if i in self.last_run))
            self.commands[index] = self.commands[index]._replace(waits=waits)

    def program(self) -> Program:
        """The commands by start time, renumbered."""
        self._bind_waits()
        order = sorted(range(len(self.commands)), key=lambda i: (self.starts[i], i))
        number = {old: new for new, old in enumerate(order)}
        commands = tuple(
            self.commands[old]._replace(
                id=new,
                waits=tuple(sorted(number[w] for w in self.commands[old].waits)),
            )
            for new, old in enumerate(order)
        )
        return Program(commands, tuple(self.tasks), tuple(self.bindings))


class _Place(NamedTuple):
    """Where commands belong: number of the task, of its step, and the step's start cycles."""

    task: int
    step: int
    times: tuple[int, int, int, int]


def _steps(plan: TaskPlan | FusedPlan) -> Iterator[FusedStep]:
    """The steps of a plan with their waits and the rows of their loads. The RUNs of a task of one
    chain are in order as they are."""
    if isinstance(plan, FusedPlan):
        yield from plan.fused
        return
    sources = len(plan.setting.shape.sources)
    for step in plan.steps:
        chunk = step.chunk
        loads = tuple(
            (t.source, chunk.in_rows if t.source < sources else chunk.residual_rows)
            for t in step.inputs
        )
        waits = (step.input_wait,) if step.input_wait >= 0 else ()
        yield FusedStep(0, step, (), waits, loads)


def _program_tasks(record: TaskRecord, first: int) -> list[ProgramTask]:
    """A record as tasks of single circuits: itself, or its layers."""
    choice, plan = record.choice, record.plan
    begun = min(time for times in record.times for time in times if time >= 0)
    if not isinstance(plan, FusedPlan):
        instance = record.instance + choice.circuits[0]
        return [ProgramTask(choice, plan, instance, record.on_chip, first, begun)]
    return [
        ProgramTask(
            layer,
            chain,
            record.instance + layer.circuits[0],
            sum(1 << i for i, ring in enumerate(chain.reads) if ring is None),
            first,
            begun,
        )
        for layer, chain in zip(choice.layers, plan.layers, strict=True)
    ]
