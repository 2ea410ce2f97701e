"""What a choice takes at least, by whatever plan the transition may place it.

The plans are few: how much of the buffer is free decides the tiling, and a task's place in the
graph decides what else may lie in the buffer then. Their bytes are what the exact search for
tilings finds for the buffer's whole size, so that a task whose weights or inputs must pass twice
counts them twice (I/O lower bounds: Hong and Kung, STOC 1981; of convolutions: Demmel and Dinh,
arXiv 1802.06905, and Chen et al., HPCA 2020, which are asymptotic where these are exact).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING

from fragenv.hardware.fragment import Stage
from fragenv.hardware.timing import ceil_div, vector_cycles
from fragenv.schedule.bounds_plan import (
    LayerWork,
    OutputTimes,
    SourceTimes,
    TaskLeast,
    smallest,
    task_least,
)
from fragenv.schedule.fused import FusedTiling
from fragenv.schedule.fused_plan import FusedPlan
from fragenv.schedule.steps import TaskPlan
from fragenv.schedule.tiling import Tiling

if TYPE_CHECKING:
    from fragenv.schedule.choices import Choice
    from fragenv.schedule.problem import Plan, Problem

#: settings (choices x sets of sources on the chip) of a problem up to which every plan of each is
#: looked at, which takes up to 50 ms each; above it, and for tasks with more sources than
#: ``MAX_FREE``, closed forms stand in
MAX_SETTINGS = 500
MAX_FREE = 4
#: RUNs of a plan up to which it is written out
MAX_STEPS = 3000


class TaskBounds:
    """``TaskLeast`` of every choice of a problem, found when asked for."""

    def __init__(
        self,
        problem: Problem,
        max_settings: int = MAX_SETTINGS,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.problem, self.watch = problem, watch
        self._known: dict[tuple[int, int, int, bool, int], TaskLeast | None] = {}
        self._others: dict[tuple[int, ...], int] = {}
        self.ancestors, self.descendants = _relatives(problem)
        chains = {ch.shape for options in problem.choices for c in options for ch in c.chains}
        #: whether an output row may need no input row at all, so that a task starts without any
        self.padded = any(not s.window.needed(s.pool.needed(1)) for s in chains)
        #: tensors that some choice keeps on the chip
        self.keepable = frozenset(
            t for options in problem.choices for c in options if c.keep for t in c.outputs
        )
        settings = {
            (c.shape_index, c.fragment, c.keep, len(self._free(c, frozenset())))
            for options in problem.choices
            for c in options
        }
        #: whether every plan is looked at
        self.exact = sum(1 << free for *_, free in settings) <= max_settings

    def _free(self, choice: Choice, in_dram: frozenset[int]) -> list[int]:
        """Sources that may be on the chip when the choice runs."""
        return [i for i, t in enumerate(choice.sources) if t in self.keepable and t not in in_dram]

    def variants(self, choice: Choice, in_dram: frozenset[int] = frozenset()) -> list[TaskLeast]:
        """What a choice takes at least, for every set of its sources that may be on the chip when
        it runs.

        Args:
            choice: of the problem.
            in_dram: tensors that are not on the chip.
        """
        free = self._free(choice, in_dram)
        if not self.exact or len(free) > MAX_FREE:
            return [closed_form(self.problem, choice, frozenset(free))]
        found = []
        for count in range(len(free) + 1):
            for chosen in combinations(free, count):
                least = self._least(choice, sum(1 << i for i in chosen))
                if least is not None:
                    found.append(least)
        return found

    def _least(self, choice: Choice, on_chip: int) -> TaskLeast | None:
        """With exactly these sources on the chip; None where no plan fits."""
        problem = self.problem
        held = [t for i, t in enumerate(choice.sources) if on_chip >> i & 1]
        held += choice.outputs if choice.keep else ()
        room = problem.chip.buffer_bytes - sum(problem.tensor_bytes[t] for t in held)
        if room <= 0:
            return None
        # where jobs overlap, a task may be given less than there is
        unused = problem.chip.buffer_bytes - problem.job_bytes
        least = max(1, room - unused - self._beside(choice))
        key = (choice.shape_index, choice.fragment, on_chip, choice.keep, least)
        if key not in self._known:
            self.watch()
            tilings = problem.tilings(choice, on_chip, least, room)
            found = [self._of_tiling(choice, on_chip, t, room) for t in tilings]
            self._known[key] = smallest(found) if found else None
        return self._known[key]

    def _of_tiling(
        self, choice: Choice, on_chip: int, tiling: Tiling | FusedTiling, room: int
    ) -> TaskLeast:
        problem = self.problem
        if tiling.steps > MAX_STEPS:
            on = frozenset(i for i in range(len(choice.sources)) if on_chip >> i & 1)
            return closed_form(problem, choice, on)
        plan: Plan
        if isinstance(tiling, Tiling):
            plan = TaskPlan(problem.setting(choice, on_chip), tiling, problem.port)
        else:
            assert choice.fused is not None
            setting = problem.fused_setting(choice, choice.fused, on_chip)
            plan = FusedPlan(setting, tiling, problem.port)
        counts = len(choice.sources), len(choice.outputs)
        plans = [plan, *plan.deeper_plans(room)]
        return smallest([task_least(one, *counts) for one in plans])

    def _beside(self, choice: Choice) -> int:
        """Bytes that tensors which are neither read nor made by the choice may take of the buffer
        while it runs: those made before or beside it that something reads after or beside it."""
        problem = self.problem
        key = choice.operators
        if key not in self._others:
            own = {*choice.sources, *choice.outputs}
            before = set().union(*(self.ancestors[n] for n in choice.operators))
            after = set().union(*(self.descendants[n] for n in choice.operators))
            total = 0
            for tensor in self.keepable - own:
                made = tensor - problem.num_inputs
                waits = any(
                    tensor in read and n not in before for n, read in enumerate(problem.reads)
                )
                if waits and made not in after and made not in choice.operators:
                    total += problem.tensor_bytes[tensor]
            self._others[key] = total
        return self._others[key]


def _relatives(problem: Problem) -> tuple[list[set[int]], list[set[int]]]:
    """Per node: nodes that it depends on, and nodes that depend on it."""
    ancestors: list[set[int]] = [set() for _ in problem.operators]
    descendants: list[set[int]] = [set() for _ in problem.operators]
    for node, read in enumerate(problem.reads):  # operators come in topological order
        for tensor in read:
            maker = tensor - problem.num_inputs
            if maker >= 0:
                ancestors[node] |= {maker} | ancestors[maker]
        for before in ancestors[node]:
            descendants[before].add(node)
    return ancestors, descendants


def closed_form(problem: Problem, choice: Choice, free: frozenset[int]) -> TaskLeast:
    """What a choice takes at least by whatever plan: the array takes a pixel per cycle and weight
    block, a vector stage an element per cycle; weights, outputs that are not kept and sources that
    must be loaded pass the port once.

    Args:
        problem: whose choice it is.
        choice: of the problem.
        free: numbers of its sources that may be on the chip.
    """
    batch, port = problem.batch, problem.port
    loaded = {t for i, t in enumerate(choice.sources) if i not in free}
    kept = choice.outputs if choice.keep else ()
    works: list[LayerWork] = []
    frames: list[int] = []
    for chain in choice.chains:
        shape = chain.shape
        frames.append(_cycles(problem, chain, 1))
        moved = shape.weight_bytes
        if chain.output in choice.outputs and chain.output not in kept:
            moved += shape.out_bytes * batch
        rows = shape.window.touched(0, shape.window.needed(shape.array_rows))
        residual_rows = shape.array_rows if shape.residual_before_pool else shape.out_rows
        sizes = [rows * s.row_bytes for s in shape.sources]
        sizes += [residual_rows * s.row_bytes for s in shape.residuals]
        for tensor, size in zip(chain.sources, sizes, strict=True):
            if tensor in loaded:
                # layers may share what one of them loads
                loaded -= {tensor} if choice.layers else set()
                moved += size * batch
        cycles = _cycles(problem, chain, batch)
        works.append(LayerWork(cycles, moved, moved // port.bytes_per_cycle))
    times = []
    for tensor in choice.sources:
        # the layer that reads it and has least to do
        readers = [i for i, c in enumerate(choice.chains) if tensor in c.sources]
        frame = min(frames[i] for i in readers)
        whole = min(works[i].run_cycles for i in readers)
        one = OutputTimes(frame, frame, whole)
        times.append(SourceTimes(whole, (one,) * len(choice.outputs)))
    return TaskLeast(tuple(works), tuple(times))


def _cycles(problem: Problem, chain: Choice, frames: int) -> int:
    """Cycles of some frames of one layer on its circuit at least. A weight block is shifted in
    once at least, and a pixel of every frame passes it."""
    shape, circuit = chain.shape, problem.circuit(chain)
    pixels = shape.array_rows * shape.array_cols * frames
    rows = circuit.lanes_in if shape.array is Stage.MAC else 1
    blocks = shape.blocks_per_group(circuit) * shape.output_groups(circuit)
    cycles = blocks * max(pixels, rows)
    groups = ceil_div(shape.k, circuit.lanes_out)
    if shape.array is None:
        cycles += vector_cycles(pixels * groups, shape.vector_passes)
    pooled = shape.out_rows * shape.out_cols * groups * frames
    return cycles + vector_cycles(pooled, shape.pool_window)
