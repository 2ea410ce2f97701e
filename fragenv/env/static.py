"""The part of an observation that no decision changes: the network, its choices and the chip."""

from __future__ import annotations

from hashlib import blake2b
from math import log2
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fragenv.graph.operators import OpKind
from fragenv.hardware.chip import Area
from fragenv.hardware.fragment import Fragment, FusedFragment
from fragenv.hardware.timing import bind_cycles
from fragenv.schedule.choices import busiest_cycles
from fragenv.schedule.objective import Objective

if TYPE_CHECKING:
    from fragenv.schedule.choices import Choice
    from fragenv.schedule.problem import Problem

#: kinds that run on the chip and move data; convolutions without depthwise ones
_KINDS = (
    OpKind.CONV,
    OpKind.GEMM,
    OpKind.MAXPOOL,
    OpKind.AVGPOOL,
    OpKind.GLOBALAVG,
    OpKind.ADD,
    OpKind.RELU,
    OpKind.CLIP,
    OpKind.LRN,
)
NODE_STATIC = (
    *(f"is_{kind}" for kind in _KINDS),
    "is_depthwise",
    # over the whole network's
    "macs_share",
    "weights_share",
    # multiply-accumulates over the chip's multipliers, and bytes of the weights, input and output
    # over the DRAM's bytes per cycle: over the bound on latency
    "compute_over_bound",
    "memory_over_bound",
    # bytes x of all frames against the buffer b: x / (x + b)
    "inputs_against_buffer",
    "output_against_buffer",
    "weights_against_buffer",
    "channels_out_log",
    "channels_in_log",
    "groups_log",
    "rows_out_log",
    "kernel_log",
    "stride_log",
    "readers_log",
    # the output ends in DRAM in any case
    "output_required",
    # longest paths from an input and to an output, over the longest of the graph
    "depth",
    "height",
)
CHOICE_STATIC = (
    # 1; 0 where the operator has fewer choices
    "exists",
    "keep",
    # operators that it runs, over the most of any choice
    "operators",
    "lanes_in_log",
    "lanes_out_log",
    # largest share of a resource of the chip
    "area_share",
    # time to bind it, over the bound on latency
    "config_over_bound",
    # cycles of the array and the vector stages without waiting, and of the transfers if everything
    # passes once, over the bound on latency
    "cycles_over_bound",
    "transfer_over_bound",
    # weights, inputs and, unless kept, outputs once, over the bound on traffic
    "traffic_over_bound",
    # what it keeps on the chip, over the buffer
    "kept_over_buffer",
    # multiply-accumulates over multipliers x cycles
    "utilisation",
)
CHIP = (
    "multipliers_log",
    "dram_bytes_per_cycle_log",
    "batch_log",
    # the three parts of the bound on latency, over it
    "compute_over_bound",
    "memory_over_bound",
    "path_over_bound",
    # one transfer's fixed latency, and a configuration of the whole chip, over the bound
    "dram_latency_over_bound",
    "config_over_bound",
    # configuration bytes of the whole chip over the bound on traffic
    "config_over_traffic",
    # bytes x of all weights, of the largest tensor, against the buffer b: x / (x + b)
    "weights_against_buffer",
    "tensor_against_buffer",
    "operators_log",
    "fragments_log",
    # the objective is throughput
    "overlap",
)

Array = npt.NDArray[np.float32]


def log_feature(value: float) -> float:
    """log2(1 + value) / 16: 1 for 65,535."""
    return log2(1 + value) / 16


class Static:
    """The static arrays of a problem, flat and read-only; see ``observation`` for their meaning."""

    def __init__(self, arrays: dict[str, npt.NDArray[np.generic]], fragments: list[Array]) -> None:
        digest = blake2b(digest_size=3)
        for key, array in sorted(arrays.items()):
            digest.update(f"{key}{array.shape}".encode())
            digest.update(array.tobytes())
        # 24 bits: a policy sees it as float32
        self.id = int.from_bytes(digest.digest(), "big")
        self.arrays = {
            **{key: array.reshape(-1) for key, array in arrays.items()},
            "static_id": np.array([self.id], np.int32),
        }
        for array in self.arrays.values():
            array.flags.writeable = False
        #: per fragment: lanes_in_log, lanes_out_log, area_share
        self.fragments = [tuple(float(x) for x in row) for row in fragments]

    def copies(self) -> dict[str, npt.NDArray[np.generic]]:
        """New arrays: Gymnasium's checker demands that observations share nothing."""
        return {key: array.copy() for key, array in self.arrays.items()}


def static_arrays(
    problem: Problem, nodes: int, edges: int, choices: int, feature_max: float
) -> Static:
    """The static arrays of ``problem`` for the given padding."""
    node = np.zeros((nodes, len(NODE_STATIC)), np.float32)
    count = len(problem.operators)
    node[:count] = _node_features(problem)
    choice = np.zeros((nodes, choices, len(CHOICE_STATIC)), np.float32)
    fragments = [
        _fragment_features(fragment, area, problem.region)
        for fragment, area in zip(problem.library, problem.areas, strict=True)
    ]
    most = max(len(c.operators) for options in problem.choices for c in options)
    cycles: dict[tuple[int, int], int] = {}
    for i, options in enumerate(problem.choices):
        for j, option in enumerate(options):
            key = (option.shape_index, option.fragment)
            if key not in cycles:
                cycles[key] = busiest_cycles(option, problem.library[option.fragment])
            choice[i, j] = _choice_features(problem, option, fragments, cycles[key], most)
    pairs = [
        (tensor - problem.num_inputs, reader)
        for reader, read in enumerate(problem.reads)
        for tensor in read
        if tensor >= problem.num_inputs
    ]
    edge_index = np.zeros((2, edges), np.int32)
    edge_mask = np.zeros(edges, np.int8)
    if pairs:
        edge_index[:, : len(pairs)] = np.array(pairs).T
        edge_mask[: len(pairs)] = 1
    node_mask = np.zeros(nodes, np.int8)
    node_mask[:count] = 1
    return Static(
        {
            "node_static": node.clip(0, feature_max),
            "choice_static": choice.clip(0, feature_max),
            "chip": np.array(_chip_features(problem), np.float32).clip(0, feature_max),
            "edge_index": edge_index,
            "node_mask": node_mask,
            "edge_mask": edge_mask,
        },
        fragments,
    )


def _node_features(problem: Problem) -> list[list[float]]:
    chip, batch, bound = problem.chip, problem.batch, problem.bound.latency_cycles
    macs = max(1, sum(op.macs for op in problem.operators))
    weights = max(1, sum(op.weight_bytes for op in problem.operators))
    depth, height = _depths(problem)
    longest = max(1, max(a + b for a, b in zip(depth, height, strict=True)))
    rows = []
    for i, op in enumerate(problem.operators):
        nest, output = op.nest, problem.num_inputs + i
        bytes_in = sum(problem.tensor_bytes[t] for t in problem.reads[i])
        bytes_out = problem.tensor_bytes[output]
        moved = op.weight_bytes + bytes_in + bytes_out
        rows.append(
            [
                *(float(op.kind is kind and not op.is_depthwise) for kind in _KINDS),
                float(op.is_depthwise),
                op.macs / macs,
                op.weight_bytes / weights,
                op.macs * batch / chip.multipliers / bound,
                moved / chip.dram_bytes_per_cycle / bound,
                bytes_in / (bytes_in + chip.buffer_bytes),
                bytes_out / (bytes_out + chip.buffer_bytes),
                op.weight_bytes / (op.weight_bytes + chip.buffer_bytes),
                log_feature(nest.k),
                log_feature(nest.c),
                log_feature(nest.groups),
                log_feature(nest.p),
                log_feature(nest.r * nest.s),
                log_feature(nest.stride[0]),
                log_feature(problem.readers[output]),
                float(output in problem.required),
                depth[i] / longest,
                height[i] / longest,
            ]
        )
    return rows


def _depths(problem: Problem) -> tuple[list[int], list[int]]:
    """Edges on the longest path from an input and to an output, per node."""
    first = problem.num_inputs
    count = len(problem.operators)
    depth, height = [0] * count, [0] * count
    for node in range(count):  # operators are in topological order
        for tensor in problem.reads[node]:
            if tensor >= first:
                depth[node] = max(depth[node], depth[tensor - first] + 1)
    for node in reversed(range(count)):
        for tensor in problem.reads[node]:
            if tensor >= first:
                height[tensor - first] = max(height[tensor - first], height[node] + 1)
    return depth, height


def _fragment_features(fragment: Fragment | FusedFragment, area: Area, total: Area) -> Array:
    share = max(
        area.multipliers / total.multipliers,
        area.lut / total.lut,
        area.local_bytes / total.local_bytes,
    )
    largest = max(fragment.parts, key=lambda part: part.multipliers)
    lanes = log_feature(largest.lanes_in), log_feature(largest.lanes_out)
    return np.array([*lanes, share], np.float32)


def _choice_features(
    problem: Problem, choice: Choice, fragments: list[Array], frame_cycles: int, most: int
) -> list[float]:
    chip, bound = problem.chip, problem.bound
    shapes = [chain.shape for chain in choice.chains]
    cycles = frame_cycles * problem.batch
    output = sum(problem.tensor_bytes[t] for t in choice.outputs)
    moved = sum(s.weight_bytes for s in shapes) + sum(
        problem.tensor_bytes[t] for t in set(choice.sources)
    )
    moved += 0 if choice.keep else output
    multipliers = max(1, problem.library[choice.fragment].multipliers)
    return [
        1.0,
        float(choice.keep),
        len(choice.operators) / most,
        *(float(x) for x in fragments[choice.fragment]),
        problem.bind_cycles[choice.fragment] / bound.latency_cycles,
        cycles / bound.latency_cycles,
        moved / chip.dram_bytes_per_cycle / bound.latency_cycles,
        moved / bound.traffic_bytes,
        output / chip.buffer_bytes if choice.keep else 0.0,
        sum(s.macs for s in shapes) / (multipliers * frame_cycles),
    ]


def _chip_features(problem: Problem) -> list[float]:
    chip, bound = problem.chip, problem.bound
    latency, largest = bound.latency_cycles, max(problem.tensor_bytes)
    weights = sum(op.weight_bytes for op in problem.operators)
    return [
        log_feature(chip.multipliers),
        log_feature(chip.dram_bytes_per_cycle),
        log_feature(problem.batch),
        bound.compute_cycles / latency,
        bound.memory_cycles / latency,
        bound.path_cycles / latency,
        chip.dram_latency_cycles / latency,
        bind_cycles(chip.config_bytes, chip) / latency,
        chip.config_bytes / bound.traffic_bytes,
        weights / (weights + chip.buffer_bytes),
        largest / (largest + chip.buffer_bytes),
        log_feature(len(problem.operators)),
        log_feature(len(problem.library)),
        float(problem.objective is Objective.THROUGHPUT),
    ]
