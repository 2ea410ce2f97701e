"""The state of a schedule under construction: cheap to copy, nothing hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fragenv.hardware.chip import Area
from fragenv.schedule.timeline import Timeline

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fragenv.schedule.choices import Choice
    from fragenv.schedule.fused_plan import FusedPlan
    from fragenv.schedule.problem import Problem
    from fragenv.schedule.steps import TaskPlan

#: where a tensor is
NOWHERE, DRAM, SRAM = 0, 1, 2


class Slot(NamedTuple):
    """A bound fragment. Timelines are never changed in place."""

    fragment: int
    #: per circuit: when its configuration is in; 0 for the first configuration
    bound_at: tuple[int, ...]
    #: per circuit: its RUNs
    timelines: tuple[Timeline, ...]
    #: number of the decision that used it last
    last_use: int
    #: number of its first circuit's binding among all of the schedule; the others' follow
    instance: int
    #: per circuit: cycles of its RUNs
    run_cycles: tuple[int, ...]

    @property
    def last(self) -> int:
        """When all of its circuits are free for good."""
        return max(timeline.last for timeline in self.timelines)


class BindRecord(NamedTuple):
    """A fragment's circuit bound: ``start`` and ``end`` of its configuration, None of the first
    one's."""

    instance: int
    fragment: int
    part: int
    slot: int
    start: int | None
    end: int | None
    #: instances evicted since the schedule began whose area may be used from ``start`` on
    evicted: tuple[int, ...]


class SpillRecord(NamedTuple):
    """A kept tensor sent to DRAM by one STORE."""

    tensor: int
    start: int
    end: int


class TaskRecord(NamedTuple):
    """A task placed."""

    choice: Choice
    plan: TaskPlan | FusedPlan
    slot: int
    #: of the fragment's first circuit
    instance: int
    #: bit i: source i was read on the chip
    on_chip: int
    #: per step: start of the weight LOAD, of the input LOADs, of the RUN, of the STORE; -1 where
    #: there is none; (steps, 4)
    start_cycles: npt.NDArray[np.int64]
    #: from this time on the buffer has room for the working set and a kept output
    room_at: int

    @property
    def times(self) -> list[tuple[int, int, int, int]]:
        """``start_cycles`` as plain integers."""
        return [(a, b, c, d) for a, b, c, d in self.start_cycles.tolist()]


Record = BindRecord | SpillRecord | TaskRecord


class State:
    """A node of the search tree. Solvers read it; only the transition writes new ones.

    Tensors are indices into ``problem.tensors``, nodes into ``problem.operators``. Times are in
    cycles from the first command; frames' times are tuples of ``batch`` integers.
    """

    def __init__(self) -> None:
        self.done: tuple[bool, ...] = ()
        self.tasks_left = 0
        self.location: tuple[int, ...] = ()
        #: per tensor and frame: when its bytes are at its location
        self.ready: tuple[tuple[int, ...], ...] = ()
        #: per tensor: when the last RUN that reads it on the chip is over
        self.last_read: tuple[int, ...] = ()
        #: per tensor: readers that have not run
        self.unread: tuple[int, ...] = ()
        self.kept_bytes = 0
        self.sram_releases: list[tuple[int, int]] = []
        self.slots: tuple[Slot | None, ...] = ()
        self.area_held = Area()
        #: (time, area, instance) of every eviction, the latest time first
        self.area_releases: tuple[tuple[int, Area, int], ...] = ()
        #: area that nothing has used yet
        self.untouched = Area()
        self.first_fragments: tuple[int, ...] = ()
        self.bind_count = 0
        self.dma = Timeline()
        self.config_port = Timeline()
        self.latency_cycles = 0
        #: cycles of all transfers and of all BINDs, and of the unit that has most to do
        self.dma_cycles = 0
        self.config_cycles = 0
        self.busiest_cycles = 0
        #: cycles from one job to the next, of a finished state
        self.period_cycles = 0
        self.dram_read_bytes = 0
        self.dram_write_bytes = 0
        self.weight_read_bytes = 0
        self.config_bytes = 0
        self.startup_config_bytes = 0
        self.decisions = 0
        self.finished = False
        #: newest record first: (record, the rest)
        self.history: tuple[Record, object] | None = None

    def copy(self) -> State:
        """A copy that shares everything immutable; timelines are shared until written."""
        new = State.__new__(State)
        new.__dict__.update(self.__dict__)
        return new

    @property
    def traffic_bytes(self) -> int:
        """DRAM bytes read and written and configuration bytes swapped in, of the job so far."""
        return self.dram_read_bytes + self.dram_write_bytes + self.config_bytes

    def records(self) -> list[Record]:
        """What was placed, oldest first."""
        result: list[Record] = []
        link = self.history
        while link is not None:
            result.append(link[0])
            link = link[1]  # type: ignore[assignment]
        result.reverse()
        return result


def initial_state(problem: Problem) -> State:
    """Nothing done, nothing bound; the graph's inputs are in DRAM."""
    state = State()
    count = len(problem.tensors)
    inputs = problem.num_inputs
    state.done = (False,) * len(problem.operators)
    state.tasks_left = len(problem.operators)
    state.location = (DRAM,) * inputs + (NOWHERE,) * (count - inputs)
    state.ready = ((0,) * problem.batch,) * count
    state.last_read = (0,) * count
    state.unread = problem.readers
    from fragenv.schedule.problem import MAX_SLOTS

    state.slots = (None,) * MAX_SLOTS
    state.untouched = problem.region
    return state
