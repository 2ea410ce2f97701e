"""The dataflow graph: operators as nodes of a networkx graph, tensors as its edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from types import MappingProxyType

import networkx as nx

from fragenv.errors import ModelError
from fragenv.graph.operators import HOST_KINDS, Operator


@dataclass(frozen=True, slots=True)
class Tensor:
    """An activation. ``shape`` is one frame's, without the batch: (channels, rows, columns) or
    (features,). One byte per element on the chip (int8)."""

    name: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Bytes of one frame."""
        return prod(self.shape)


class DataflowGraph:
    """An immutable directed acyclic graph of operators.

    ``operators`` are in a topological order. ``inputs`` and ``outputs`` name the tensors that come
    from and go to the host. ``nx`` is a ``networkx.MultiDiGraph``: nodes are operator names with an
    ``op`` attribute, edges carry ``tensor`` (its name) and ``slot`` (position among the inputs).

    Raises:
        ModelError: a cycle, a tensor without a producer or shape, two producers of one tensor,
            no operator at all.
    """

    def __init__(
        self,
        name: str,
        operators: Iterable[Operator],
        tensors: Mapping[str, Tensor],
        inputs: Iterable[str],
        outputs: Iterable[str],
    ) -> None:
        self.name = name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.tensors: Mapping[str, Tensor] = MappingProxyType(dict(tensors))
        by_name: dict[str, Operator] = {}
        producer: dict[str, str] = {}
        for op in operators:
            if op.name in by_name:
                raise ModelError(name, "two operators have this name", op.name, op.kind)
            if op.output in producer or op.output in self.inputs:
                raise ModelError(name, f"tensor '{op.output}' has two producers", op.name, op.kind)
            by_name[op.name] = op
            producer[op.output] = op.name
        if not by_name:
            raise ModelError(name, "the graph has no operator to run on the chip")
        graph = self._connect(by_name, producer)
        for tensor in (*self.inputs, *self.outputs, *producer):
            if tensor not in self.tensors:
                raise ModelError(name, f"tensor '{tensor}' has no shape")
        for tensor in self.outputs:
            if tensor not in producer:
                raise ModelError(name, f"nothing produces output '{tensor}'")
        position = {op: i for i, op in enumerate(by_name)}
        try:
            order = list(nx.lexicographical_topological_sort(graph, key=position.__getitem__))
        except nx.NetworkXUnfeasible:
            cycle = " -> ".join(edge[0] for edge in nx.find_cycle(graph))
            raise ModelError(name, f"the graph has a cycle: {cycle}") from None
        self.nx: nx.MultiDiGraph = nx.freeze(graph)
        self.operators: tuple[Operator, ...] = tuple(by_name[n] for n in order)
        self.producer: Mapping[str, str] = MappingProxyType(producer)

    def _connect(
        self, by_name: Mapping[str, Operator], producer: Mapping[str, str]
    ) -> nx.MultiDiGraph:
        graph = nx.MultiDiGraph(name=self.name)
        for op in by_name.values():
            graph.add_node(op.name, op=op)
        for op in by_name.values():
            for slot, tensor in enumerate(op.inputs):
                if tensor in producer:
                    graph.add_edge(producer[tensor], op.name, tensor=tensor, slot=slot)
                elif tensor not in self.inputs:
                    raise ModelError(
                        self.name, f"nothing produces input '{tensor}'", op.name, op.kind
                    )
        return graph

    def __repr__(self) -> str:
        return f"DataflowGraph({self.name!r}, {len(self.operators)} operators, {self.macs:,} MACs)"

    def __reduce__(self) -> tuple[type[DataflowGraph], tuple[object, ...]]:
        # pickled for environments in other processes
        arguments = (self.name, self.operators, dict(self.tensors), self.inputs, self.outputs)
        return DataflowGraph, arguments

    def __deepcopy__(self, memo: object) -> DataflowGraph:
        # immutable; Gymnasium copies the arguments of an environment
        return self

    def op(self, name: str) -> Operator:
        """The operator called ``name``; KeyError where there is none."""
        result: Operator = self.nx.nodes[name]["op"]
        return result

    @cached_property
    def consumers(self) -> Mapping[str, tuple[str, ...]]:
        """Tensor name -> names of the operators that read it (once each), in topological order."""
        readers: dict[str, list[str]] = {t: [] for t in self.tensors}
        for op in self.operators:
            for tensor in dict.fromkeys(op.inputs):
                readers[tensor].append(op.name)
        return MappingProxyType({t: tuple(ops) for t, ops in readers.items()})

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one frame."""
        return sum(op.macs for op in self.operators)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all weights and biases."""
        return sum(op.parameter_bytes for op in self.operators)

    @property
    def chip_operators(self) -> tuple[Operator, ...]:
        """The operators that the chip runs: all but a final softmax, which the host does."""
        return tuple(op for op in self.operators if op.kind not in HOST_KINDS)
