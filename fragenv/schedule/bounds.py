"""Lower bounds that no schedule can beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fragenv.hardware.timing import CONSTANT_BYTES, ceil_div

if TYPE_CHECKING:
    from fragenv.schedule.choices import Choice
    from fragenv.schedule.problem import Problem


@dataclass(frozen=True, slots=True)
class LowerBound:
    """Bounds on a job of ``batch`` frames; ``latency_cycles`` is the largest of its three parts."""

    #: multiply-accumulates over the chip's multipliers (roofline, Williams et al., CACM 2009)
    compute_cycles: int
    #: compulsory bytes over the DRAM's bytes per cycle
    memory_cycles: int
    #: the longest path, each operator at its fastest on any circuit of the library; the longest
    #: operator where layers may be fused, because then they overlap
    path_cycles: int
    #: every weight, constant and input read once, every output written once
    traffic_bytes: int

    @property
    def latency_cycles(self) -> int:
        return max(1, self.compute_cycles, self.memory_cycles, self.path_cycles)

    @property
    def period_cycles(self) -> int:
        """The bound on jobs that overlap, where no path counts: the busiest of what they share."""
        return max(1, self.compute_cycles, self.memory_cycles)


def lower_bound(problem: Problem) -> LowerBound:
    """The bounds of a problem. Inputs count only the rows that some window touches."""
    graph, chip, batch = problem.graph, problem.chip, problem.batch
    weights = sum(
        op.weight_bytes + CONSTANT_BYTES * op.nest.k for op in problem.operators if op.is_mac
    )
    inputs = sum(_touched_input_bytes(problem, t) for t in range(problem.num_inputs))
    # an input may be a part of an output; it is in DRAM already
    written = (t for t in problem.required if t >= problem.num_inputs)
    outputs = sum(problem.tensor_bytes[t] for t in written)
    traffic = weights + inputs + outputs
    single = [[c for c in choices if not c.layers] for choices in problem.choices]
    options = [choices for choices in single if choices]
    macs = sum(min(_macs(choice) for choice in choices) for choices in options)
    compute = ceil_div(macs * batch, chip.multipliers)
    fastest = {
        problem.operators[choices[0].node].name: min(_array_cycles(problem, c) for c in choices)
        for choices in options
    }
    finish: dict[str, int] = {}
    for op in graph.operators:
        before = max((finish[p] for p, _ in graph.nx.in_edges(op.name)), default=0)
        finish[op.name] = fastest.get(op.name, 0) + (before if problem.max_depth == 1 else 0)
    return LowerBound(
        compute_cycles=compute,
        memory_cycles=ceil_div(traffic, chip.dram_bytes_per_cycle),
        path_cycles=max(finish.values()),
        traffic_bytes=max(1, traffic),
    )


def _array_cycles(problem: Problem, choice: Choice) -> int:
    """Cycles that the array takes at least for one frame: a pixel per cycle and weight block."""
    shape, fragment = choice.shape, problem.circuit(choice)
    blocks = shape.blocks_per_group(fragment) * shape.output_groups(fragment)
    return blocks * shape.array_rows * shape.array_cols


def _macs(choice: Choice) -> int:
    """Multiply-accumulates of one frame; a fused pool may leave rows of the array out."""
    shape = choice.shape
    if shape.array is None:
        return 0
    return shape.macs // shape.window.rows_out * shape.array_rows


def _touched_input_bytes(problem: Problem, tensor: int) -> int:
    """Bytes of a graph input that must be read: the most that any reader needs at least."""
    name = problem.tensors[tensor]
    most = 0
    for choices in problem.choices:
        touched = [_touched(choice, name) for choice in choices if not choice.layers]
        most = max(most, min(touched, default=0))
    return most * problem.batch


def _touched(choice: Choice, tensor: str) -> int:
    """Bytes of one frame of a tensor that a task reads as its main input; 0 for other tensors."""
    shape = choice.shape
    rows = shape.window.needed(shape.array_rows)
    sizes = [s.row_bytes for s in shape.sources if s.tensor == tensor]
    return shape.window.touched(0, rows) * max(sizes, default=0)
