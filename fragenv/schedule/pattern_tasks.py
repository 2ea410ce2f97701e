"""The patterns of a network with their tasks: what can share circuits, and how alike it is."""

from __future__ import annotations

from dataclasses import dataclass

from fragenv.graph.dataflow import DataflowGraph
from fragenv.patterns.mine import mine
from fragenv.patterns.pattern import Pattern
from fragenv.patterns.similarity.typed import TypedGraph, typed_graph
from fragenv.schedule.problem import concatenation_parts
from fragenv.schedule.shape import TaskShape, task_shape


@dataclass(frozen=True, slots=True)
class PatternTasks:
    """A pattern that a fragment runs: the operators and shapes of its occurrences (its tasks), and
    the typed graph of the one with the most multiplications."""

    pattern: Pattern
    operators: tuple[tuple[str, ...], ...]
    shapes: tuple[TaskShape, ...]
    typed: TypedGraph


def pattern_tasks(graph: DataflowGraph) -> tuple[PatternTasks, ...]:
    """All patterns of ``graph`` that fragments run, in the order of ``mine``."""
    parts = concatenation_parts(graph)
    found = []
    for mined in mine(graph, 1):
        tasks = [(place, task_shape(graph, place.operators, parts)) for place in mined.occurrences]
        legal = [(place, shape) for place, shape in tasks if shape is not None]
        if not legal:
            continue
        largest, _ = max(legal, key=lambda task: task[1].macs)
        found.append(
            PatternTasks(
                mined.pattern,
                tuple(place.operators for place, _ in legal),
                tuple(shape for _, shape in legal),
                typed_graph(graph, largest),
            )
        )
    return tuple(found)
