"""The observation: flat float arrays with named columns, static ones apart from dynamic ones.

Every entry of the ``spaces.Dict`` is one-dimensional, as the checkers of Gymnasium and
stable-baselines3 ask for; its shape in terms of the problem is given by ``Layout.shapes``:

====================  =======================  ==================================================
key                   shape                    columns
====================  =======================  ==================================================
``node_static``       (N, F)                   ``NODE_STATIC``
``choice_static``     (N, C, K)                ``CHOICE_STATIC``
``chip``              (G,)                     ``CHIP``
``edge_index``        (2, E)                   producer, reader: node indices, 0 where padded
``node_mask``         (N,)                     1 where there is an operator
``edge_mask``         (E,)                     1 where there is an edge
``static_id``         (1,)                     equal exactly where all entries above are equal
``node_dynamic``      (N, D)                   ``NODE_DYNAMIC``
``choice_dynamic``    (N, C, d)                ``CHOICE_DYNAMIC``
``slots``             (MAX_SLOTS, S)           ``SLOTS``
``global``            (U,)                     ``GLOBAL``
====================  =======================  ==================================================

N, E and C are the problem's numbers of operators, edges and choices per operator, or the larger
padding that was asked for. Node i is ``problem.operators[i]``, choice j of it
``problem.choices[i][j]``. Features are non-negative, at most ``FEATURE_MAX``, and relative to the
problem's totals and lower bounds, so that they mean the same for every network and chip; "log"
columns are log2(1 + x) / 16. What is padded is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from fragenv.env.static import CHIP, CHOICE_STATIC, NODE_STATIC, Static, static_arrays
from fragenv.errors import FragenvError
from fragenv.schedule.problem import MAX_SLOTS
from fragenv.schedule.state import DRAM, SRAM

if TYPE_CHECKING:
    from fragenv.hardware.chip import Area
    from fragenv.schedule.problem import Problem
    from fragenv.schedule.state import State

Observation = dict[str, npt.NDArray[np.generic]]

#: no feature is larger
FEATURE_MAX = 16.0

NODE_DYNAMIC = (
    "done",
    # some choice of it may be run now
    "ready",
    "output_in_dram",
    "output_on_chip",
    # when the last frame of the output is there, over the latency so far
    "output_time",
    # readers of the output that have not run, over all its readers
    "unread_share",
    # bytes of its inputs that are on the chip, over the bytes of all its inputs
    "inputs_on_chip_share",
    # when the last of its inputs is there, over the latency so far
    "inputs_time",
)
CHOICE_DYNAMIC = (
    # the fragment, or one that can stand in for it, is bound
    "bound",
    # from when on that fragment is free for good, over the latency so far
    "bound_time",
    # it fits beside what is bound
    "fits",
    # it fits into area that nothing has used: it belongs to the first configuration
    "fits_untouched",
)
SLOTS = (
    "bound",
    "lanes_in_log",
    "lanes_out_log",
    "area_share",
    # when it is free for good, over the latency so far
    "free_time",
    # cycles of the busiest of its circuits, over the bound on the period of jobs
    "busy_over_bound",
    # decisions since it was used last, over the number of operators
    "idle_decisions",
    # it was swapped in, so that the area is not in the first configuration's state
    "swapped",
)
GLOBAL = (
    "latency_over_bound",
    "traffic_over_bound",
    "read_over_bound",
    "written_over_bound",
    "config_over_bound",
    "done_share",
    "buffer_free_share",
    "multipliers_free_share",
    "lut_free_share",
    "local_free_share",
    "multipliers_untouched_share",
    "slots_free_share",
    # cycles of the busiest unit and of the DMA, over the bound on the period of jobs
    "busiest_over_bound",
    "dma_busy_over_bound",
    # when the DMA and the configuration port are free for good, over the latency so far
    "dma_time",
    "config_port_time",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of an observation and of the action space that belongs to it."""

    nodes: int
    edges: int
    choices: int

    @classmethod
    def of(
        cls,
        problem: Problem,
        max_nodes: int | None = None,
        max_edges: int | None = None,
        max_choices: int | None = None,
    ) -> Layout:
        """The problem's own sizes, or the larger ones that are given.

        Raises:
            FragenvError: a padding smaller than the problem.
        """
        # an empty array is no Box: a graph without edges has one that is masked
        edges = max(1, sum(t >= problem.num_inputs for read in problem.reads for t in read))
        own = (len(problem.operators), edges, problem.num_choices)
        asked = (max_nodes, max_edges, max_choices)
        for name, size, wish in zip(("nodes", "edges", "choices"), own, asked, strict=True):
            if wish is not None and wish < size:
                raise FragenvError(
                    f"max_{name}={wish} is too small: {problem!r} has {size}; give at least that"
                )
        nodes, edges, choices = (w or s for s, w in zip(own, asked, strict=True))
        return cls(nodes, edges, choices)

    @property
    def num_actions(self) -> int:
        return MAX_SLOTS + self.nodes * (self.choices + 1)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Key -> the shape that its flat array has in terms of the problem."""
        return {
            "node_static": (self.nodes, len(NODE_STATIC)),
            "choice_static": (self.nodes, self.choices, len(CHOICE_STATIC)),
            "chip": (len(CHIP),),
            "edge_index": (2, self.edges),
            "node_mask": (self.nodes,),
            "edge_mask": (self.edges,),
            "static_id": (1,),
            "node_dynamic": (self.nodes, len(NODE_DYNAMIC)),
            "choice_dynamic": (self.nodes, self.choices, len(CHOICE_DYNAMIC)),
            "slots": (MAX_SLOTS, len(SLOTS)),
            "global": (len(GLOBAL),),
        }

    def space(self) -> spaces.Dict:
        """The observation space."""
        highs = {"edge_index": self.nodes - 1, "node_mask": 1, "edge_mask": 1}
        result: dict[str, spaces.Space[npt.NDArray[np.generic]]] = {}
        for key, shape in self.shapes.items():
            size = (int(np.prod(shape)),)
            if key == "static_id":
                result[key] = spaces.Box(0, 2**24 - 1, size, np.int32)
            elif key == "edge_index":
                # at least 1, so that the Box is not a point
                result[key] = spaces.Box(0, max(1, highs[key]), size, np.int32)
            elif key in highs:
                result[key] = spaces.Box(0, highs[key], size, np.int8)
            else:
                result[key] = spaces.Box(0.0, FEATURE_MAX, size, np.float32)
        return spaces.Dict(result)


def unflatten(observation: Observation, layout: Layout) -> Observation:
    """The observation's arrays in the shapes of the table above (views)."""
    return {key: observation[key].reshape(shape) for key, shape in layout.shapes.items()}


class Encoder:
    """Encodes states of one problem. Holds nothing that depends on a state."""

    def __init__(self, problem: Problem, layout: Layout) -> None:
        self.problem, self.layout = problem, layout
        self.static: Static = static_arrays(
            problem, layout.nodes, layout.edges, layout.choices, FEATURE_MAX
        )
        self._nodes = len(problem.operators)
        self._sizes = [
            int(np.prod(layout.shapes[key]))
            for key in ("node_dynamic", "choice_dynamic", "slots", "global")
        ]
        self._offsets = [0, *np.cumsum(self._sizes).tolist()]
        # reads of each node, the first repeated where there are fewer
        width = max((len(read) for read in problem.reads), default=1)
        self._reads = np.array([(*r, *(r[:1] * (width - len(r)))) for r in problem.reads])
        self._input_share = np.zeros((self._nodes, len(problem.tensors)), np.float32)
        for node, read in enumerate(problem.reads):
            total = sum(problem.tensor_bytes[t] for t in read)
            for tensor in read:
                self._input_share[node, tensor] = problem.tensor_bytes[tensor] / total
        readers = np.array(problem.readers[problem.num_inputs :], np.float32)
        self._per_reader = 1 / np.maximum(readers, 1)
        area = problem.region
        self._per_area = (1 / area.multipliers, 1 / area.lut, 1 / area.local_bytes)
        # fragment of each choice; one more, whose features are 0, where there is no choice
        fragments = np.full((layout.nodes, layout.choices), len(problem.library))
        for node, options in enumerate(problem.choices):
            for index, choice in enumerate(options):
                fragments[node, index] = choice.fragment
        self._fragments = fragments.reshape(-1)

    def encode(self, state: State, legal: npt.NDArray[np.bool_]) -> Observation:
        """The observation of ``state``, all arrays new; ``legal`` is its action mask."""
        buffer = np.zeros(self._offsets[-1], np.float32)
        parts = [buffer[a:b] for a, b in zip(self._offsets, self._offsets[1:], strict=False)]
        per_cycle = 1 / max(1, state.latency_cycles)
        self._encode_nodes(parts[0].reshape(self.layout.nodes, -1), state, legal, per_cycle)
        parts[1][:] = self._choice_features(state, per_cycle).take(self._fragments, 0).reshape(-1)
        parts[2][:] = self._slot_features(state, per_cycle)
        parts[3][:] = self._global_features(state, per_cycle)
        result = self.static.copies()
        result["node_dynamic"], result["choice_dynamic"] = parts[0], parts[1]
        result["slots"], result["global"] = parts[2], parts[3]
        return result

    def _encode_nodes(
        self,
        nodes: npt.NDArray[np.float32],
        state: State,
        legal: npt.NDArray[np.bool_],
        per_cycle: float,
    ) -> None:
        count, first = self._nodes, self.problem.num_inputs
        location = np.array(state.location)
        # times of tensors that are gone stay, but nobody asks for them
        ready = np.array([max(t) for t in state.ready], np.float32)
        ready *= per_cycle
        on_chip = location == SRAM
        runs = legal[MAX_SLOTS:].reshape(self.layout.nodes, -1)[:count, :-1]
        rows = nodes[:count]
        rows[:, 0] = state.done
        rows[:, 1] = runs.any(axis=1)
        rows[:, 2] = location[first:] == DRAM
        rows[:, 3] = on_chip[first:]
        rows[:, 4] = ready[first:]
        rows[:, 5] = state.unread[first:]
        rows[:, 5] *= self._per_reader
        if state.kept_bytes:
            rows[:, 6] = self._input_share @ on_chip
        rows[:, 7] = ready[self._reads].max(axis=1)

    def _choice_features(self, state: State, per_cycle: float) -> npt.NDArray[np.float32]:
        """(fragments + 1, d): the features that choices of a fragment share; the last row is 0."""
        problem = self.problem
        free_at = {s.fragment: s.last for s in state.slots if s is not None}
        room = problem.region - state.area_held if None in state.slots else None
        rows: list[tuple[float, ...]] = []
        areas: tuple[Area, ...] = problem.areas
        for index, area in enumerate(areas):
            able = [free_at[f] for f in problem.substitutes[index] if f in free_at]
            fits = room is not None and area.fits(room)
            rows.append(
                (
                    float(bool(able)),
                    min(able) * per_cycle if able else 0.0,
                    float(fits),
                    float(fits and area.fits(state.untouched)),
                )
            )
        rows.append((0.0,) * len(CHOICE_DYNAMIC))
        return np.array(rows, np.float32)

    def _slot_features(self, state: State, per_cycle: float) -> list[float]:
        result: list[float] = []
        for slot in state.slots:
            if slot is None:
                result += (0.0,) * len(SLOTS)
                continue
            lanes_in, lanes_out, share = self.static.fragments[slot.fragment]
            idle = (state.decisions - slot.last_use) / self._nodes
            result += (
                1.0,
                lanes_in,
                lanes_out,
                share,
                min(slot.last * per_cycle, 1.0),
                min(max(slot.run_cycles) / self.problem.bound.period_cycles, FEATURE_MAX),
                min(idle, FEATURE_MAX),
                float(max(slot.bound_at) > 0),
            )
        return result

    def _global_features(self, state: State, per_cycle: float) -> list[float]:
        problem = self.problem
        per_byte = 1 / problem.bound.traffic_bytes
        per_period = 1 / problem.bound.period_cycles
        return [
            min(state.latency_cycles / problem.bound.latency_cycles, FEATURE_MAX),
            min(state.traffic_bytes * per_byte, FEATURE_MAX),
            min(state.dram_read_bytes * per_byte, FEATURE_MAX),
            min(state.dram_write_bytes * per_byte, FEATURE_MAX),
            min(state.config_bytes * per_byte, FEATURE_MAX),
            1 - state.tasks_left / self._nodes,
            1 - state.kept_bytes / problem.chip.buffer_bytes,
            *self._shares(problem.region - state.area_held),
            state.untouched.multipliers * self._per_area[0],
            state.slots.count(None) / MAX_SLOTS,
            min(state.busiest_cycles * per_period, FEATURE_MAX),
            min(state.dma_cycles * per_period, FEATURE_MAX),
            min(state.dma.last * per_cycle, 1.0),
            min(state.config_port.last * per_cycle, 1.0),
        ]

    def _shares(self, area: Area) -> tuple[float, float, float]:
        multipliers, lut, local = self._per_area
        return area.multipliers * multipliers, area.lut * lut, area.local_bytes * local
