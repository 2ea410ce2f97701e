"""Small cells to learn from, and an attribute that is quick to measure."""

from __future__ import annotations

from fragenv.generate import nb201
from fragenv.generate.architecture import Architecture
from fragenv.generate.generator import Attributes


def corpus(count: int = 40, operators: int = 3) -> list[Architecture]:
    """NAS-Bench-201 cells with a number of operators, spread over the space."""
    found = [
        nb201.from_choices(c)
        for c in nb201.runnable_choices()
        if len(c) - c.count("none") == operators
    ]
    return found[:: len(found) // count][:count]


def convolutions(architecture: Architecture) -> Attributes:
    """How many operators that matter are convolutions."""
    live = (architecture.ops[node] for node in architecture.live)
    return {"convolutions": float(sum(op.startswith("conv") for op in live))}
