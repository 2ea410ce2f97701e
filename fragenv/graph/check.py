"""Do the loop bounds of every operator agree with the tensors around it?"""

from __future__ import annotations

from math import prod

from fragenv.errors import ModelError
from fragenv.graph.dataflow import DataflowGraph
from fragenv.graph.operators import HOST_KINDS, POOL_KINDS, LoopNest, Operator, OpKind


def check_graph(graph: DataflowGraph, virtual: bool = False) -> None:
    """Verify what ``DataflowGraph`` itself does not: sizes, parameters, and that a chip runs every
    operator but a softmax at the end, which the host does.

    Args:
        virtual: operators that no chip runs may stand anywhere.

    Raises:
        ModelError: naming the first operator that contradicts its tensors, or that no chip runs.
    """
    for op in graph.operators:
        for rule, demand, bound in _sizes(graph, op):
            if demand != bound:
                raise ModelError(
                    graph.name, f"{rule}: the loops give {demand}, not {bound}", op.name, op.kind
                )
    if not virtual:
        check_chip(graph)


def check_chip(graph: DataflowGraph) -> None:
    """Verify that a chip runs every operator but a softmax at the end.

    Raises:
        ModelError: naming the first operator that it does not run.
    """
    for op in graph.operators:
        if op.kind is OpKind.SOFTMAX and graph.consumers[op.output]:
            raise ModelError(
                graph.name, "a softmax must end the graph; cut the model there", op.name, op.kind
            )
        if op.kind in HOST_KINDS and op.kind is not OpKind.SOFTMAX:
            raise ModelError(
                graph.name,
                "no fragment runs this operator; graphs that hold it can be mined only",
                op.name,
                op.kind,
            )


def _sizes(graph: DataflowGraph, op: Operator) -> list[tuple[str, int, int]]:
    """(what, by the loops, by the tensors or attributes)."""
    nest = op.nest
    inputs = [prod(graph.tensors[name].shape) for name in op.inputs]
    checks = [("output elements", nest.k * nest.p * nest.q, prod(graph.tensors[op.output].shape))]
    image = nest.c * nest.h * nest.w
    match op.kind:
        case OpKind.CONV | OpKind.GEMM:
            weights = nest.k * (nest.c // nest.groups) * nest.r * nest.s
            checks += [("weight bytes", weights, op.weight_bytes)]
            checks += [("bias bytes", 4 * nest.k, op.bias_bytes)]
            checks += [("input elements", image, size) for size in inputs]
        case OpKind.MATMUL:
            right = nest.c * (nest.k // nest.groups)
            checks += [("left elements", nest.c * nest.p, inputs[0])]
            checks += [("right elements", right, inputs[-1])]
        case OpKind.MOVE:
            checks += [("input elements", max(image, inputs[0]), inputs[0])]
        case OpKind.CONCAT:
            checks += [("input elements", image, sum(inputs))]
        case _:
            checks += [("input elements", image, size) for size in inputs]
    checks += [("inputs", _arity(op), len(inputs))]
    if op.kind is OpKind.CONV or op.kind in POOL_KINDS:
        rows, columns = _window_output(nest)
        checks += [("output rows", rows, nest.p), ("output columns", columns, nest.q)]
    return checks


def _arity(op: Operator) -> int:
    if op.kind is OpKind.CONCAT:
        return len(op.inputs)
    return 2 if op.kind in (OpKind.ADD, OpKind.MATMUL) else 1


def _window_output(nest: LoopNest) -> tuple[int, int]:
    """floor((size + padding - dilation*(kernel-1) - 1) / stride) + 1 for rows and columns."""
    top, left, bottom, right = nest.padding
    rows = nest.h + top + bottom - nest.dilation[0] * (nest.r - 1) - 1
    columns = nest.w + left + right - nest.dilation[1] * (nest.s - 1) - 1
    return rows // nest.stride[0] + 1, columns // nest.stride[1] + 1
