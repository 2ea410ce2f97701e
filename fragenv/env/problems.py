"""Problems shared within the process: many environments of one network build it once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fragenv.graph.dataflow import DataflowGraph
from fragenv.hardware.chip import Chip, load_chip
from fragenv.models.load import load_graph
from fragenv.schedule.objective import Objective
from fragenv.schedule.problem import Problem

if TYPE_CHECKING:
    from torch import nn


def shared_problem(
    model: str | Path | nn.Module | DataflowGraph,
    chip: str | Path | Chip,
    batch: int,
    max_depth: int,
    input_shape: tuple[int, ...] | None = None,
    objective: str = Objective.LATENCY,
) -> Problem:
    """The problem of these arguments, built at most once while it is among the last 16.

    A file that has changed and a module (which may have changed) are read again; give a
    ``DataflowGraph`` to share the problem of a module.

    Raises:
        FragenvError: see ``load_graph``, ``load_chip`` and ``Problem``.
    """
    found = load_chip(chip)
    if isinstance(model, DataflowGraph):
        return _of_graph(model, found, batch, max_depth, objective)
    if isinstance(model, str | Path):
        path = Path(model)
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        graph = _graph_of(str(model), changed, input_shape)
        return _of_graph(graph, found, batch, max_depth, objective)
    graph = load_graph(model, input_shape)
    return Problem(graph, found, batch, max_depth, objective=objective)


@lru_cache(maxsize=16)
def _graph_of(model: str, changed: int, input_shape: tuple[int, ...] | None) -> DataflowGraph:
    return load_graph(model, input_shape)


@lru_cache(maxsize=16)
def _of_graph(
    graph: DataflowGraph, chip: Chip, batch: int, max_depth: int, objective: str
) -> Problem:
    return Problem(graph, chip, batch, max_depth, objective=objective)
