"""Fragments: patterns made into circuits, with their lanes, area and the operators they run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fragenv.graph.operators import Operator, OpKind
from fragenv.hardware.chip import Area
from fragenv.hardware.timing import ACC_PIXELS


class Stage(StrEnum):
    """What a fragment's pipeline can contain, beside the vector stage that all have (bias,
    requantisation, activation)."""

    MAC = "mac"
    DEPTHWISE = "depthwise"
    ADD = "add"
    POOL = "pool"
    LRN = "lrn"


#: LUTs: of a fragment's control, per multiplier, per output lane (requantiser), per output lane of
#: each stage. First estimates, of the order of the 8 x 8 array in the ECP5 synthesis of the
#: references (6,696 LUT4).
LUT_BASE = 1500
LUT_PER_MULTIPLIER = 20
LUT_PER_LANE = 400
LUT_PER_STAGE_LANE = {
    Stage.MAC: 0,
    Stage.DEPTHWISE: 40,
    Stage.ADD: 120,
    Stage.POOL: 60,
    Stage.LRN: 200,
}


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
        if Stage.MAC in self.stages:
            return self.lanes_in * self.lanes_out
        return self.lanes_out if Stage.DEPTHWISE in self.stages else 0

    @property
    def area(self) -> Area:
        """Resources that the fragment takes while it is bound."""
        per_lane = LUT_PER_LANE + sum(LUT_PER_STAGE_LANE[stage] for stage in self.stages)
        accumulators = 2 * ACC_PIXELS * self.lanes_out * 4 if self.has_array else 0
        return Area(
            multipliers=self.multipliers,
            lut=LUT_BASE + LUT_PER_MULTIPLIER * self.multipliers + per_lane * self.lanes_out,
            local_bytes=accumulators,
        )

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

    @property
    def area(self) -> Area:
        """Resources that all circuits take together."""
        return sum((part.area for part in self.parts), Area())

    def subsumes(self, other: Fragment | FusedFragment) -> bool:
        """Whether these circuits can stand in for the other's, each for its own."""
        return len(self.parts) == len(other.parts) and all(
            mine.subsumes(its) for mine, its in zip(self.parts, other.parts, strict=True)
        )
