"""Schedules as files: what a solver found, complete enough to be checked and emitted.

``docs/schedule-format.md`` describes every field.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fragenv.errors import FragenvError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.hardware.chip import Chip, chip_from_dict
from fragenv.schedule.lower import lower
from fragenv.schedule.objective import objective_of
from fragenv.schedule.period import steady_state
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Program, working_bytes
from fragenv.schedule.state import State
from fragenv.serialize import read_json, write_json

FORMAT, VERSION = "fragenv-schedule", 3
COMMAND_COLUMNS = (
    *("kind", "unit", "role", "cycles", "waits", "run_bytes", "runs", "task", "step", "tensor"),
    *("source", "frames", "rows", "cols", "blocks", "instance"),
)


class ScheduleError(FragenvError):
    """A schedule does not belong to the problem, or is damaged."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The decisions of a solver, and what they were worth."""

    #: name in the zoo or path of the ONNX file, as it was given
    model: str
    graph_hash: str
    chip: Chip
    batch: int
    max_depth: int
    objective: str
    solver: str
    seed: int
    actions: tuple[int, ...]
    latency_cycles: int
    period_cycles: int
    dram_read_bytes: int
    dram_write_bytes: int
    config_bytes: int
    startup_config_bytes: int
    startup_cycles: int

    @staticmethod
    def of(
        problem: Problem,
        state: State,
        actions: tuple[int, ...],
        model: str,
        solver: str,
        seed: int,
    ) -> Schedule:
        """The schedule that ``actions`` make, which lead to the finished ``state``."""
        return Schedule(
            model=model,
            graph_hash=graph_hash(problem.graph),
            chip=problem.chip,
            batch=problem.batch,
            max_depth=problem.max_depth,
            objective=problem.objective.value,
            solver=solver,
            seed=seed,
            actions=tuple(actions),
            latency_cycles=state.latency_cycles,
            period_cycles=state.period_cycles,
            dram_read_bytes=state.dram_read_bytes,
            dram_write_bytes=state.dram_write_bytes,
            config_bytes=state.config_bytes,
            startup_config_bytes=state.startup_config_bytes,
            startup_cycles=sum(problem.bind_cycles[f] for f in state.first_fragments),
        )

    def replay(self, problem: Problem) -> State:
        """Take the decisions again.

        Raises:
            ScheduleError: another network, chip, batch or objective; an illegal decision; other
                results.
        """
        if graph_hash(problem.graph) != self.graph_hash:
            raise ScheduleError(
                f"the schedule was made for '{self.model}' and does not belong to "
                f"'{problem.graph.name}': the networks differ"
            )
        if (problem.chip, problem.batch) != (self.chip, self.batch):
            raise ScheduleError(
                f"the schedule is for chip '{self.chip.name}' at batch {self.batch}, not for "
                f"'{problem.chip.name}' at batch {problem.batch}"
            )
        if problem.objective != self.objective:
            raise ScheduleError(
                f"the schedule was made for {self.objective}, not for {problem.objective}"
            )
        state = problem.initial()
        for number, action in enumerate(self.actions):
            try:
                state = problem.apply(state, action)
            except ValueError:
                raise ScheduleError(f"decision {number} (action {action}) is illegal") from None
        if not state.finished:
            raise ScheduleError("the schedule ends before the last operator is done")
        again = Schedule.of(problem, state, self.actions, self.model, self.solver, self.seed)
        if again != self:
            raise ScheduleError("the decisions give other results than the file says")
        return state


def graph_hash(graph: DataflowGraph) -> str:
    """A hash of operators, loop bounds, wiring and shapes; names and weights do not matter."""
    numbers = {tensor: i for i, tensor in enumerate(graph.inputs)}
    for op in graph.operators:
        numbers[op.output] = len(numbers)
    rows: list[Any] = [list(graph.tensors[t].shape) for t in graph.inputs]
    for op in graph.operators:
        wiring = [numbers[t] for t in op.inputs]
        shape = list(graph.tensors[op.output].shape)
        rows.append([op.kind.value, asdict(op.nest), wiring, shape, list(op.attributes)])
    rows.append([numbers[t] for t in graph.outputs])
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def save_schedule(schedule: Schedule, problem: Problem, state: State, path: Path) -> None:
    """Write a schedule with all that is needed to check it without this program."""
    write_json(path, FORMAT, VERSION, schedule_content(schedule, problem, state))


def schedule_content(schedule: Schedule, problem: Problem, state: State) -> dict[str, Any]:
    """The fields of a schedule's file, those that derive from the decisions included."""
    program = lower(problem, state)
    return {
        **asdict(schedule),
        "region": asdict(problem.region),
        "lower_bound": {
            "latency_cycles": problem.bound.latency_cycles,
            "period_cycles": problem.bound.period_cycles,
            "traffic_bytes": problem.bound.traffic_bytes,
        },
        "jobs_in_flight": problem.objective.jobs_in_flight,
        "steady_starts": _steady_starts(problem, program),
        "operators": _operators(problem),
        "tensors": _tensors(problem),
        "fragments": _fragments(problem),
        "bindings": [asdict(b) for b in program.bindings],
        "tasks": _tasks(problem, program),
        "commands": {
            "columns": list(COMMAND_COLUMNS),
            "rows": [[getattr(c, name) for name in COMMAND_COLUMNS] for c in program.commands],
        },
    }


def schedule_path(path: Path) -> Path:
    """A schedule's file; a folder stands for the ``schedule.json`` in it."""
    return path / "schedule.json" if path.is_dir() else path


def load_schedule(path: Path) -> Schedule:
    """Read a schedule; a folder stands for the ``schedule.json`` in it.

    Raises:
        FileError: the file is missing, damaged or of another version.
        ScheduleError: a field is missing or of another type.
    """
    path = schedule_path(path)
    data = read_json(path, FORMAT, VERSION)
    try:
        chip = chip_from_dict(data["chip"], str(path))
        numbers = {
            name: int(data[name])
            for name in (
                *("batch", "max_depth", "seed", "latency_cycles", "period_cycles"),
                *(
                    "dram_read_bytes",
                    "dram_write_bytes",
                    "config_bytes",
                    "startup_config_bytes",
                    "startup_cycles",
                ),
            )
        }
        return Schedule(
            model=str(data["model"]),
            graph_hash=str(data["graph_hash"]),
            chip=chip,
            objective=objective_of(str(data["objective"])).value,
            solver=str(data["solver"]),
            actions=tuple(int(a) for a in data["actions"]),
            **numbers,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ScheduleError(f"'{path}' is damaged: field {error} is missing or wrong") from None


def _steady_starts(problem: Problem, program: Program) -> list[int]:
    """When each command of a job starts where jobs overlap; nothing where they do not."""
    if problem.objective.jobs_in_flight == 1:
        return []
    return list(steady_state(problem, program).starts)


def _operators(problem: Problem) -> list[dict[str, Any]]:
    return [
        {
            "name": op.name,
            "kind": op.kind.value,
            "nest": asdict(op.nest),
            "inputs": [p for t in op.inputs for p in problem.parts.get(t, (t,))],
            "output": op.output,
            "weight_bytes": op.weight_bytes,
            "attributes": dict(op.attributes),
        }
        for op in problem.operators
    ]


def _tensors(problem: Problem) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "bytes": problem.tensor_bytes[i],
            "is_input": i < problem.num_inputs,
            "is_output": i in problem.required,
        }
        for i, name in enumerate(problem.tensors)
    ]


def _fragments(problem: Problem) -> list[dict[str, Any]]:
    return [
        {
            "circuits": [
                {
                    "lanes_in": part.lanes_in,
                    "lanes_out": part.lanes_out,
                    "stages": [stage.value for stage in part.stages],
                    "area": asdict(problem.part_areas[i][number]),
                    "config_bytes": problem.part_config_bytes[i][number],
                }
                for number, part in enumerate(f.parts)
            ],
        }
        for i, f in enumerate(problem.library)
    ]


def _tasks(problem: Problem, program: Program) -> list[dict[str, Any]]:
    rows = []
    for task, size in zip(program.tasks, working_bytes(program), strict=True):
        rows.append(
            {
                "operators": [problem.operators[n].name for n in task.choice.operators],
                "pattern": task.choice.pattern,
                "fragment": task.choice.fragment,
                "circuit": task.choice.circuits[0],
                "instance": task.instance,
                "group": task.group,
                "sources": [problem.tensors[t] for t in task.choice.sources],
                "on_chip": [
                    problem.tensors[t]
                    for i, t in enumerate(task.choice.sources)
                    if task.on_chip >> i & 1
                ],
                "rings": {
                    problem.tensors[t]: {"rows": r.rows, "frame_rows": r.frame_rows}
                    for t, r in task.rings.items()
                },
                "output": problem.tensors[task.choice.output],
                "keep_output": task.keeps_output,
                "passes_output": task.ring_written is not None,
                "working_bytes": size,
                "tiling": asdict(task.plan.tiling),
                "first_cycle": task.first_cycle,
            }
        )
    return rows
