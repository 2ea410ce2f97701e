"""A Problem: graph, fragment library, chip and batch, with every choice the solver may make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fragenv.errors import FragenvError
from fragenv.graph.check import check_chip
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import Operator, OpKind
from fragenv.hardware.chip import DEFAULT_CHIP, Area, Chip, load_chip
from fragenv.hardware.fragment import Fragment, FusedFragment
from fragenv.hardware.library import build_library
from fragenv.hardware.timing import bind_cycles
from fragenv.schedule.bounds import LowerBound, lower_bound
from fragenv.schedule.choices import Choice
from fragenv.schedule.fused import FusedSearch, FusedSetting, FusedTiling
from fragenv.schedule.fused_plan import FusedPlan
from fragenv.schedule.layers import FusedShape
from fragenv.schedule.objective import Objective, bound_cycles, objective_cycles, objective_of
from fragenv.schedule.offers import Offers, occurrences
from fragenv.schedule.pipelines import build_pipelines
from fragenv.schedule.shape import TaskShape
from fragenv.schedule.steps import TaskPlan, written_out
from fragenv.schedule.tiling import Port, TaskSetting, Tiling
from fragenv.schedule.tiling_search import choose, chosen_tilings, tiling_ladder

if TYPE_CHECKING:
    from pathlib import Path

    from fragenv.schedule.state import State

#: fragments that may be bound at once; EVICT actions come first in the action space
MAX_SLOTS = 8
#: multiply-accumulate operators on the critical path of a pattern, at most
MAX_DEPTH = 4


Plan = TaskPlan | FusedPlan
#: (shape, fragment, sources on the chip, outputs kept) of a plan
Key = tuple[int, int, int, bool]


class Problem:
    """The decision problem. Immutable after construction but for caches.

    Args:
        graph: the network; concatenations move no data and are dissolved into their parts.
        chip: a preset's name, the path of a TOML file, or a Chip.
        batch: frames of a job, at least 1.
        max_depth: multiply-accumulate operators that a pattern may hold on its critical path.
        library: the fragments to offer, distinct, instead of those that ``build_library`` makes.
        objective: "latency" of one job, or "throughput" of jobs that overlap.

    Raises:
        InfeasibleError: an operator fits no fragment of the chip, or no tiling fits the buffer.
        FragenvError: batch or depth out of range, an unknown objective, or an operator that no chip
            runs.
    """

    def __init__(
        self,
        graph: DataflowGraph,
        chip: str | Path | Chip = DEFAULT_CHIP,
        batch: int = 1,
        max_depth: int = 1,
        library: tuple[Fragment | FusedFragment, ...] | None = None,
        objective: str = Objective.LATENCY,
    ) -> None:
        if batch < 1:
            raise FragenvError(f"batch must be at least 1, got {batch}")
        if not 1 <= max_depth <= MAX_DEPTH:
            raise FragenvError(f"max_depth must be 1 to {MAX_DEPTH}, got {max_depth}")
        check_chip(graph)
        self.graph, self.chip, self.batch, self.max_depth = graph, load_chip(chip), batch, max_depth
        self.objective = objective_of(objective)
        #: an equal part of the buffer for each job under way
        self.job_bytes = self.chip.buffer_bytes // self.objective.jobs_in_flight
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
        #: without the names of tensors, by the ``shape_index`` of choices
        self.shapes: list[TaskShape | FusedShape] = []
        # caches: (shape, fragment, sources on chip, output kept) and what the name says
        self._ladders: dict[tuple[int, int, int, bool, bool], tuple[Tiling, ...]] = {}
        self._tiled: dict[tuple[int, int, int, bool, Tiling], TaskPlan] = {}
        self._fused_ladders: dict[Key, tuple[FusedTiling, ...]] = {}
        self._fused: dict[tuple[int, int, int, bool, FusedTiling], FusedPlan] = {}
        self._plans: dict[tuple[int, int, int, bool, int], Plan] = {}
        chains, fusions = occurrences(self)
        if library is None:
            arrays = build_library([c.shape for c in chains], self.chip, self.batch)
            pipelines = build_pipelines([f.layers.shape for f in fusions], arrays, self.chip)
            library = (*arrays, *pipelines)
        self.library: tuple[Fragment | FusedFragment, ...] = library
        self.choices: tuple[tuple[Choice, ...], ...] = Offers(self).choices(chains, fusions)
        #: what the region offers to fragments
        self.region = self.chip.area
        #: per fragment and circuit: area, configuration bytes and cycles
        self.part_areas = tuple(
            tuple(part.bound_area(self.chip) for part in f.parts) for f in self.library
        )
        self.part_config_bytes = tuple(
            tuple(self.chip.config_bytes_of(part.area(self.chip.family)) for part in f.parts)
            for f in self.library
        )
        self.part_bind_cycles = tuple(
            tuple(bind_cycles(b, self.chip) for b in sizes) for sizes in self.part_config_bytes
        )
        self.areas = tuple(sum(areas, Area()) for areas in self.part_areas)
        self.config_bytes = tuple(sum(sizes) for sizes in self.part_config_bytes)
        self.bind_cycles = tuple(sum(cycles) for cycles in self.part_bind_cycles)
        #: fragments that can stand in for fragment i: itself first
        self.substitutes = tuple(
            (i, *(j for j, g in enumerate(self.library) if j != i and g.subsumes(f)))
            for i, f in enumerate(self.library)
        )
        self.bound: LowerBound = lower_bound(self)
        self.num_choices = max(len(c) for c in self.choices)
        #: EVICT per slot, then per node its choices and SPILL
        self.num_actions = MAX_SLOTS + len(self.operators) * (self.num_choices + 1)
        #: per node: (tensors read, operators that must not have run, actions) of its choices
        self.actions_by_needs = tuple(self._by_needs(node) for node in range(len(self.choices)))

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

    def _by_needs(self, node: int) -> list[tuple[tuple[int, ...], tuple[int, ...], list[int]]]:
        first = MAX_SLOTS + node * (self.num_choices + 1)
        found: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
        for number, choice in enumerate(self.choices[node]):
            # of a single chain, later operators need the first one's output
            others = tuple(n for n in choice.operators if n != node) if choice.layers else ()
            found.setdefault((choice.sources, others), []).append(first + number)
        return [(*needs, actions) for needs, actions in found.items()]

    def circuit(self, choice: Choice) -> Fragment:
        """The circuit that a choice of one chain runs on."""
        return self.library[choice.fragment].parts[choice.circuits[0]]

    def setting(self, choice: Choice, on_chip: int) -> TaskSetting:
        """A choice of one chain with the given sources on the chip (bit i: source i). Its tensors
        have no names: equal settings of several operators and problems share what is found."""
        shape = self.shapes[choice.shape_index]
        assert isinstance(shape, TaskShape)
        return TaskSetting(shape, self.circuit(choice), self.batch, on_chip, choice.keep)

    def fused_setting(self, choice: Choice, shape: FusedShape, on_chip: int) -> FusedSetting:
        """A choice of several layers with the given inputs on the chip."""
        parts = self.library[choice.fragment].parts
        numbers = [layer.circuits[0] for layer in choice.layers]
        circuits = tuple(parts[i] for i in numbers)
        units = tuple(choice.circuits.index(i) for i in numbers)
        return FusedSetting(shape, circuits, units, self.batch, on_chip, choice.keep)

    def plan(self, choice: Choice, on_chip: int, sram_bytes: int) -> Plan | None:
        """The best plan for a choice with the given sources on the chip (bit i: source i) whose
        working set fits ``sram_bytes``; None where none does."""
        key = (choice.shape_index, choice.fragment, on_chip, choice.keep)
        found = self._plans.get((*key, sram_bytes))
        if found is None:
            if choice.fused is not None:
                found = self._fused_plan(key, choice, choice.fused, sram_bytes)
            else:
                found = self._chain_plan(key, choice, sram_bytes)
            if found is not None:
                self._plans[(*key, sram_bytes)] = found
        return found

    def _chain_plan(self, key: Key, choice: Choice, sram_bytes: int) -> TaskPlan | None:
        for long in (False, True):
            tiling = choose(self._ladder(key, choice, long), sram_bytes, self.port)
            if tiling is not None:
                return self._written_out(key, choice, tiling)
        return None

    def _fused_plan(
        self, key: Key, choice: Choice, shape: FusedShape, sram_bytes: int
    ) -> FusedPlan | None:
        tiling = choose(self._fused_ladder(key, choice, shape), sram_bytes, self.port)
        if tiling is None:
            return None
        found = self._fused.get((*key, tiling))
        if found is None:
            setting = self.fused_setting(choice, shape, key[2])
            found = self._fused[(*key, tiling)] = FusedPlan(setting, tiling, self.port)
        return found

    def tilings(
        self, choice: Choice, on_chip: int, least_bytes: int, most_bytes: int
    ) -> list[Tiling | FusedTiling]:
        """The tilings of the plans that ``plan`` gives where ``least_bytes`` to ``most_bytes`` are
        free: whatever a schedule holds, one of them is taken. For lower bounds."""
        key = (choice.shape_index, choice.fragment, on_chip, choice.keep)
        if choice.fused is not None:
            ladder = self._fused_ladder(key, choice, choice.fused)
            return [*chosen_tilings(ladder, least_bytes, most_bytes, self.port)]
        short = self._ladder(key, choice, False)
        found = chosen_tilings(short, least_bytes, most_bytes, self.port)
        if not short or short[0].sram_bytes > least_bytes:
            most_bytes = min(most_bytes, short[0].sram_bytes - 1) if short else most_bytes
            long = self._ladder(key, choice, True)
            found = [*chosen_tilings(long, least_bytes, most_bytes, self.port), *found]
        return [*found]

    def _fused_ladder(self, key: Key, choice: Choice, shape: FusedShape) -> tuple[FusedTiling, ...]:
        found = self._fused_ladders.get(key)
        if found is None:
            setting = self.fused_setting(choice, shape, key[2])
            found = self._fused_ladders[key] = FusedSearch(setting, self.port).ladder()
        return found

    def tiling_costs(
        self, choice: Choice, on_chip: int, sram_bytes: int
    ) -> list[tuple[int, int, int]]:
        """What ``plan`` chooses from: of each tiling that fits ``sram_bytes`` its working set, and
        the cycles and DRAM bytes that it is estimated to take; by rising working set."""
        key = (choice.shape_index, choice.fragment, on_chip, choice.keep)
        ladders: Iterator[tuple[FusedTiling, ...] | tuple[Tiling, ...]]
        if choice.fused is not None:
            ladders = iter([self._fused_ladder(key, choice, choice.fused)])
        else:
            ladders = (self._ladder(key, choice, long) for long in (False, True))
        for ladder in ladders:
            fitting = [t for t in ladder if t.sram_bytes <= sram_bytes]
            if fitting:
                return [(t.sram_bytes, t.latency_cycles, t.dram_bytes) for t in fitting]
        return []

    def _written_out(self, key: Key, choice: Choice, tiling: Tiling) -> TaskPlan:
        found = self._tiled.get((*key, tiling))
        if found is None:
            found = written_out(self.setting(choice, key[2]), tiling, self.port)
            self._tiled[(*key, tiling)] = found
        return found

    def _ladder(self, key: Key, choice: Choice, long: bool) -> tuple[Tiling, ...]:
        found = self._ladders.get((*key, long))
        if found is None:
            found = tiling_ladder(self.setting(choice, key[2]), self.port, long)
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
        """The default cost: the objective's cycles and traffic, each over its lower bound, added.
        It never decreases from a state to the next."""
        return self.cost_of(self.cycles(state), state.traffic_bytes)

    def cost_of(self, cycles: int, traffic_bytes: int) -> float:
        """``cost`` of any state with these cycles of the objective and this traffic."""
        return cycles / self.bound_cycles + traffic_bytes / self.bound.traffic_bytes

    def cycles(self, state: State) -> int:
        """The cycles that the objective counts, see ``objective_cycles``."""
        return objective_cycles(self, state)

    @property
    def bound_cycles(self) -> int:
        """The lower bound of ``cycles``."""
        return bound_cycles(self)

    def frames_per_second(self, state: State) -> float:
        """Frames that the chip finishes per second, job after job, by a finished state."""
        return self.batch * self.chip.clock_mhz * 1e6 / state.period_cycles


def concatenation_parts(graph: DataflowGraph) -> Mapping[str, tuple[str, ...]]:
    """Concatenated tensor -> the tensors it consists of, concatenations of concatenations too."""
    parts: dict[str, tuple[str, ...]] = {}
    for op in graph.operators:
        if op.kind is OpKind.CONCAT:
            parts[op.output] = tuple(p for t in op.inputs for p in parts.get(t, (t,)))
    return parts
