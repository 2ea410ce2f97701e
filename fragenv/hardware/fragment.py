"""Fragments: patterns made into circuits, with their lanes, area and the operators they run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fragenv.graph.operators import Operator, OpKind
from fragenv.hardware.area_model import area_of, sram_bytes
from fragenv.hardware.chip import Area, Chip


class Stage(StrEnum):
    """What a fragment's pipeline can contain, beside the vector stage that all have (bias,
    requantisation, activation)."""

    MAC = "mac"
    DEPTHWISE = "depthwise"
    ADD = "add"
    POOL = "pool"
    LRN = "lrn"


def stages_of(operator: Operator) -> frozenset[Stage]:
    """The stages that an operator needs; empty for activations, which every fragment applies."""
    match operator.kind:
        case OpKind.CONV if operator.is_depthwise:
            return frozenset({Stage.DEPTHWISE})
        case OpKind.CONV | OpKind.GEMM:
            return frozenset({Stage.MAC})
        case OpKind.MAXPOOL | OpKind.AVGPOOL | OpKind.GLOBALAVG:
            return frozenset({Stage.POOL})
        case OpKind.ADD:
            return frozenset({Stage.ADD})
        case OpKind.LRN:
            return frozenset({Stage.LRN})
        case _:
            return frozenset()


@dataclass(frozen=True, slots=True)
class Fragment:
    """A circuit: ``lanes_in`` x ``lanes_out`` multipliers (MAC), or ``lanes_out`` channels side by
    side (all other stages). A MAC fragment with a depthwise stage runs it on one row of its array,
    so that stage costs it no multiplier."""

    lanes_in: int
    lanes_out: int
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if self.lanes_in < 1 or self.lanes_out < 1:
            raise ValueError(f"lanes must be positive, got {self.lanes_in} x {self.lanes_out}")
        object.__setattr__(self, "stages", tuple(sorted(set(self.stages))))

    @property
    def key(self) -> str:
        """A short unique name, such as ``mac+pool 7x64``."""
        return f"{'+'.join(self.stages) or 'vector'} {self.lanes_in}x{self.lanes_out}"

    @property
    def parts(self) -> tuple[Fragment, ...]:
        """Its circuits: itself."""
        return (self,)

    @property
    def has_array(self) -> bool:
        return Stage.MAC in self.stages or Stage.DEPTHWISE in self.stages

    @property
    def multipliers(self) -> int:
        """Multipliers of the array; requantisation takes more (see ``area``)."""
        if Stage.MAC in self.stages:
            return self.lanes_in * self.lanes_out
        return self.lanes_out if Stage.DEPTHWISE in self.stages else 0

    def area(self, family: str) -> Area:
        """Resources of the circuit, by the model that was fitted to synthesis for a family of
        chips.

        Raises:
            AreaModelError: the model does not know the family.
        """
        found = area_of(self.lanes_in, self.lanes_out, self.stages, family)
        return Area(found.dsp, found.lut, sram_bytes(found, family))

    @property
    def read_ports(self) -> tuple[int, ...]:
        """Bytes per cycle of its readers of the buffer: pixels, weights, residuals."""
        weights = (self.lanes_out,) if self.has_array else ()
        residuals = (self.lanes_out,) if Stage.ADD in self.stages else ()
        return (max(self.lanes_in, self.lanes_out), *weights, *residuals)

    def bound_area(self, chip: Chip) -> Area:
        """Resources that the fragment takes of a chip's region while it is bound: the circuit, and
        what the shell has on its account, a queue and ports of the buffer.

        A fragment wider than the DRAM's port makes all rows of the buffer wider. It pays for the
        shell's own; ports of narrower fragments beside it are counted as if they were alone.

        Raises:
            AreaModelError: the model does not know the chip's family.
        """
        shell = chip.shell(self.read_ports, (self.lanes_out,), 1) - chip.shell((), (), 0)
        return self.area(chip.family) + shell

    def implements(self, needed: Iterable[Stage]) -> bool:
        """Whether every needed stage is there; unused ones are bypassed."""
        return set(needed) <= set(self.stages)

    def subsumes(self, other: Fragment | FusedFragment) -> bool:
        """Whether this circuit can stand in for the other, cycle for cycle."""
        if isinstance(other, FusedFragment):
            return False
        same = (self.lanes_in, self.lanes_out) == (other.lanes_in, other.lanes_out)
        return same and self.implements(other.stages)


@dataclass(frozen=True, slots=True)
class FusedFragment:
    """Circuits that are bound together: layers of a pattern run on them as a pipeline, one on
    each, and single operators on any of them."""

    parts: tuple[Fragment, ...]

    @property
    def key(self) -> str:
        """A short unique name, such as ``mac 7x8 > depthwise 1x16``."""
        return " > ".join(part.key for part in self.parts)

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(sorted({stage for part in self.parts for stage in part.stages}))

    @property
    def multipliers(self) -> int:
        return sum(part.multipliers for part in self.parts)

    def subsumes(self, other: Fragment | FusedFragment) -> bool:
        """Whether these circuits can stand in for the other's, each for its own."""
        return len(self.parts) == len(other.parts) and all(
            mine.subsumes(its) for mine, its in zip(self.parts, other.parts, strict=True)
        )
