"""Errors: first as data, then as one clear sentence for the user."""

from __future__ import annotations

from dataclasses import dataclass


class FragenvError(Exception):
    """Something the user can put right; commands print it as one sentence and exit with code 2."""


class ProcessLostError(FragenvError):
    """A process of a command that works with several was killed from outside."""

    def __init__(self) -> None:
        super().__init__(
            "one of the processes was killed, perhaps because memory ran out; the same command "
            "goes on where this one stopped, and needs less memory with fewer --jobs"
        )


@dataclass(frozen=True, slots=True)
class Violation:
    """Why something does not fit: ``rule`` broken at ``where``; ``demand`` against ``bound``."""

    rule: str
    where: str
    demand: int | float
    bound: int | float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.rule} at {self.where}: needs {self.demand} {self.unit}, has {self.bound}"


class ModelError(FragenvError):
    """A model file or module cannot be turned into a dataflow graph."""

    def __init__(self, source: str, message: str, node: str = "", operator: str = "") -> None:
        self.source, self.node, self.operator = source, node, operator
        where = f", node '{node}'" if node else ""
        kind = f" ({operator})" if operator else ""
        super().__init__(f"{source}{where}{kind}: {message}")


class InfeasibleError(FragenvError):
    """The problem cannot be solved on this chip at all; ``violation`` says which rule breaks."""

    def __init__(self, violation: Violation, advice: str = "") -> None:
        self.violation = violation
        super().__init__(f"{violation}" + (f"; {advice}" if advice else ""))
