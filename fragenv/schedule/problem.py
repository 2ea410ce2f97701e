"""A Problem: graph, fragment library, chip and batch, with every choice the solver may make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fragenv.errors import FragenvError, InfeasibleError, Violation
from fragenv.graph.check import check_chip
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import Operator, OpKind
from fragenv.hardware.chip import DEFAULT_CHIP, Chip, load_chip
from fragenv.hardware.fragment import Fragment
from fragenv.hardware.library import build_library
from fragenv.hardware.timing import bind_cycles
from fragenv.patterns.mine import mine
from fragenv.schedule.bounds import LowerBound, lower_bound
from fragenv.schedule.shape import TaskShape, task_shape
from fragenv.schedule.steps import TaskPlan
from fragenv.schedule.tiling import Order, Port, TaskSetting, Tiling
from fragenv.schedule.tiling_search import TilingSearch, choose, tiling_ladder

if TYPE_CHECKING:
    from pathlib import Path

    from fragenv.schedule.state import State

#: fragments that may be bound at once; EVICT actions come first in the action space
MAX_SLOTS = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to run an operator: the occurrence that starts there, the fragment, and whether the
    output stays on the chip. Operators and tensors are indices into the problem's lists."""

    node: int
    operators: tuple[int, ...]
    pattern: str
    fragment: int
    keep: bool
    sources: tuple[int, ...]
    output: int
    shape: TaskShape
    #: equal for tasks that differ in the names of their tensors alone
    shape_index: int


class Problem:
    """The decision problem. Immutable after construction but for caches.

    Args:
        graph: the network; concatenations move no data and are dissolved into their parts.
        chip: a preset's name, the path of a TOML file, or a Chip.
        batch: frames of a job, at least 1.
        max_depth: multiply-accumulate operators that a pattern may hold on its critical path.
        library: the fragments to offer, distinct, instead of those that ``build_library`` makes.

    Raises:
        InfeasibleError: an operator fits no fragment of the chip, or no tiling fits the buffer.
        FragenvError: batch or depth out of range, or an operator that no chip runs.
    """

    def __init__(
        self,
        graph: DataflowGraph,
        chip: str | Path | Chip = DEFAULT_CHIP,
        batch: int = 1,
        max_depth: int = 1,
        library: tuple[Fragment, ...] | None = None,
    ) -> None:
        if batch < 1:
            raise FragenvError(f"batch must be at least 1, got {batch}")
        if max_depth != 1:
            raise FragenvError(
                f"max_depth must be 1, got {max_depth}: fragments hold one "
                "multiply-accumulate stage"
            )
        check_chip(graph)
        self.graph, self.chip, self.batch, self.max_depth = graph, load_chip(chip), batch, max_depth
        self.port = Port(self.chip.dram_bytes_per_cycle, self.chip.dram_latency_cycles)
        self.operators: tuple[Operator, ...] = tuple(
            op for op in graph.chip_operators if op.kind is not OpKind.CONCAT
        )
        if not self.operators:
            raise FragenvError(f"{graph.name}: no operator runs on the chip")
        self.node_of = {op.name: i for i, op in enumerate(self.operators)}
        self.parts = concatenation_parts(graph)
        outputs = [op.output for op in self.operators]
        inputs = [t for t in graph.inputs if t not in self.parts]
        self.tensors: tuple[str, ...] = (*inputs, *outputs)
        self.tensor_of = {t: i for i, t in enumerate(self.tensors)}
        self.num_inputs = len(inputs)
        #: bytes of all frames of each tensor
        self.tensor_bytes = tuple(graph.tensors[t].bytes * batch for t in self.tensors)
        #: tensors that each node reads, concatenations dissolved, without repetition
        self.reads: tuple[tuple[int, ...], ...] = tuple(
            tuple(dict.fromkeys(self.tensor_of[p] for t in op.inputs for p in self._parts_of(t)))
            for op in self.operators
        )
        readers = [0] * len(self.tensors)
        for read in self.reads:
            for tensor in read:
                readers[tensor] += 1
        self.readers = tuple(readers)
        self.required = frozenset(self._required_tensors())
        # caches: (shape, fragment, sources on chip, output kept) and what the name says
        self._ladders: dict[tuple[int, int, int, bool, bool], tuple[Tiling, ...]] = {}
        self._tiled: dict[tuple[int, int, int, bool, Tiling], TaskPlan] = {}
        self._plans: dict[tuple[int, int, int, bool, int], TaskPlan] = {}
        self._shape_numbers: dict[TaskShape, int] = {}
        self._least: dict[tuple[int, int, bool], int] = {}
        found = self._shapes()
        if library is None:
            library = build_library([shape for *_, shape in found], self.chip, self.batch)
        self.library: tuple[Fragment, ...] = library
        self.choices: tuple[tuple[Choice, ...], ...] = self._build_choices(found)
        self.areas = tuple(f.bound_area(self.chip) for f in self.library)
        circuits = (f.area(self.chip.family) for f in self.library)
        self.config_bytes = tuple(self.chip.config_bytes_of(c) for c in circuits)
        self.bind_cycles = tuple(bind_cycles(b, self.chip) for b in self.config_bytes)
        #: fragments that can stand in for fragment i: itself first
        self.substitutes = tuple(
            (i, *(j for j, g in enumerate(self.library) if j != i and g.subsumes(f)))
            for i, f in enumerate(self.library)
        )
        self.bound: LowerBound = lower_bound(self)
        self.num_choices = max(len(c) for c in self.choices)
        #: EVICT per slot, then per node its choices and SPILL
        self.num_actions = MAX_SLOTS + len(self.operators) * (self.num_choices + 1)

    def __repr__(self) -> str:
        return f"Problem({self.graph.name!r}, {self.chip.name!r}, batch={self.batch})"

    def _parts_of(self, tensor: str) -> tuple[str, ...]:
        return self.parts.get(tensor, (tensor,))

    def _required_tensors(self) -> list[int]:
        """Tensors that must end in DRAM: the graph's outputs and what the host reads."""
        names = list(self.graph.outputs)
        for op in self.graph.operators:
            if op.kind is OpKind.SOFTMAX:
                names += op.inputs
        return [self.tensor_of[p] for t in names for p in self._parts_of(t) if p in self.tensor_of]

    def _shapes(self) -> list[tuple[str, tuple[str, ...], TaskShape]]:
        """Pattern, operators and shape of every occurrence that a fragment may run, those that
        fuse most first."""
        shapes: list[tuple[str, tuple[str, ...], TaskShape]] = []
        for mined in mine(self.graph, self.max_depth):
            for occurrence in mined.occurrences:
                if any(name not in self.node_of for name in occurrence.operators):
                    continue
                shape = task_shape(self.graph, occurrence.operators, self.parts)
                if shape is not None:
                    shapes.append((mined.pattern.name, occurrence.operators, shape))
        shapes.sort(key=lambda item: (-len(item[1]), item[0], item[1]))
        if not shapes:
            raise FragenvError(f"{self.graph.name}: no operator can run on a fragment")
        return shapes

    def _build_choices(
        self, shapes: list[tuple[str, tuple[str, ...], TaskShape]]
    ) -> tuple[tuple[Choice, ...], ...]:
        choices: list[list[Choice]] = [[] for _ in self.operators]
        for pattern, operators, shape in shapes:
            nodes = tuple(self.node_of[name] for name in operators)
            choices[nodes[0]] += self._choices_of(pattern, nodes, shape)
        covered = {node for options in choices for c in options for node in c.operators}
        for node, options in enumerate(choices):
            # an activation that belongs to its producer has no choice of its own
            if not options and node not in covered:
                self._refuse(node, [s for _, ops, s in shapes if self.operators[node].name in ops])
        return tuple(tuple(options) for options in choices)

    def _choices_of(self, pattern: str, nodes: tuple[int, ...], shape: TaskShape) -> list[Choice]:
        """The legal choices for one occurrence: fragments that implement it and have a tiling that
        fits the buffer, with the output in DRAM, and on the chip where it fits too."""
        result = []
        output = self.tensor_of[self.operators[nodes[-1]].output]
        sources = tuple(self.tensor_of[s.tensor] for s in (*shape.sources, *shape.residuals))
        number = self._shape_numbers.setdefault(_without_names(shape), len(self._shape_numbers))
        for index, fragment in enumerate(self.library):
            if not fragment.implements(shape.stages):
                continue
            for keep in (False, True):
                if keep and (output in self.required or not self.readers[output]):
                    continue
                room = self.chip.buffer_bytes - (self.tensor_bytes[output] if keep else 0)
                if room >= self._smallest(number, shape, index, keep):
                    result.append(
                        Choice(
                            nodes[0], nodes, pattern, index, keep, sources, output, shape, number
                        )
                    )
        return result

    def _smallest(self, number: int, shape: TaskShape, fragment: int, keep: bool) -> int:
        """Bytes of the smallest working set of a task, nothing on the chip yet."""
        key = (number, fragment, keep)
        if key not in self._least:
            setting = TaskSetting(shape, self.library[fragment], self.batch, 0, keep)
            self._least[key] = TilingSearch(setting, self.port).smallest_bytes()
        return self._least[key]

    def _refuse(self, node: int, shapes: list[TaskShape]) -> None:
        op = self.operators[node]
        where = f"operator '{op.name}' ({op.kind}) on chip '{self.chip.name}'"
        least = [
            self._smallest(self._shape_numbers[_without_names(s)], s, i, False)
            for i, f in enumerate(self.library)
            for s in shapes
            if f.implements(s.stages)
        ]
        if not least:
            raise InfeasibleError(
                Violation("no fragment fits", where, 1, 0, "fragments"),
                "choose a chip with more multipliers, LUTs or local SRAM",
            )
        raise InfeasibleError(
            Violation(
                "tensor buffer too small", where, min(least), self.chip.buffer_bytes, "bytes"
            ),
            "choose a chip with more on-chip SRAM",
        )

    def _setting(self, choice: Choice, on_chip: int) -> TaskSetting:
        fragment = self.library[choice.fragment]
        return TaskSetting(choice.shape, fragment, self.batch, on_chip, choice.keep)

    def plan(self, choice: Choice, on_chip: int, sram_bytes: int) -> TaskPlan | None:
        """The best plan for a choice with the given sources on the chip (bit i: source i) whose
        working set fits ``sram_bytes``; None where none does."""
        key = (choice.shape_index, choice.fragment, on_chip, choice.keep)
        found = self._plans.get((*key, sram_bytes))
        if found is None:
            tiling = choose(self._ladder(key, choice, False), sram_bytes, self.port)
            if tiling is None:
                tiling = choose(self._ladder(key, choice, True), sram_bytes, self.port)
            if tiling is None:
                return None
            found = self._written_out(key, choice, tiling)
            self._plans[(*key, sram_bytes)] = found
        return found

    def deeper_plans(self, choice: Choice, plan: TaskPlan, sram_bytes: int) -> list[TaskPlan]:
        """``plan`` with more weight buffers, as far as its working set fits ``sram_bytes``: 4, 8,
        and so on up to all tiles. Only for a task that streams its weights through one chunk,
        which ends earlier by what was loaded before it could start; nothing for others."""
        tiling = plan.tiling
        if not tiling.streams or tiling.order is Order.RESIDENT:
            return []
        key = (choice.shape_index, choice.fragment, plan.setting.on_chip, choice.keep)
        plans = []
        count = 2 * tiling.weight_buffers
        while count <= len(plan.steps):
            deeper = tiling.deepened(count)
            if deeper.sram_bytes > sram_bytes:
                break
            plans.append(self._written_out(key, choice, deeper))
            count *= 2
        return plans

    def _written_out(
        self, key: tuple[int, int, int, bool], choice: Choice, tiling: Tiling
    ) -> TaskPlan:
        found = self._tiled.get((*key, tiling))
        if found is None:
            found = TaskPlan(self._setting(choice, key[2]), tiling, self.port)
            self._tiled[(*key, tiling)] = found
        return found

    def _ladder(
        self, key: tuple[int, int, int, bool], choice: Choice, long: bool
    ) -> tuple[Tiling, ...]:
        found = self._ladders.get((*key, long))
        if found is None:
            found = tiling_ladder(self._setting(choice, key[2]), self.port, long)
            self._ladders[(*key, long)] = found
        return found

    def initial(self) -> State:
        """The state before the first decision."""
        from fragenv.schedule.state import initial_state

        return initial_state(self)

    def apply(self, state: State, action: int) -> State:
        """The state after ``action``; ``state`` stays as it is.

        Raises:
            ValueError: the action is illegal in this state.
        """
        from fragenv.schedule.transition import apply

        return apply(self, state, action)

    def legal_actions(self, state: State) -> list[int]:
        """The legal actions, in ascending order; empty when the state is finished."""
        from fragenv.schedule.transition import legal_actions

        return legal_actions(self, state)

    def cost(self, state: State) -> float:
        """The default cost: latency and traffic, each over its lower bound, added."""
        return (
            state.latency_cycles / self.bound.latency_cycles
            + state.traffic_bytes / self.bound.traffic_bytes
        )


def _without_names(shape: TaskShape) -> TaskShape:
    return replace(
        shape,
        sources=tuple(replace(s, tensor="") for s in shape.sources),
        residuals=tuple(replace(s, tensor="") for s in shape.residuals),
    )


def concatenation_parts(graph: DataflowGraph) -> Mapping[str, tuple[str, ...]]:
    """Concatenated tensor -> the tensors it consists of, concatenations of concatenations too."""
    parts: dict[str, tuple[str, ...]] = {}
    for op in graph.operators:
        if op.kind is OpKind.CONCAT:
            parts[op.output] = tuple(p for t in op.inputs for p in parts.get(t, (t,)))
    return parts
