"""Choices: the ways to run an operator, and the circuits that a fused task's layers run on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from fragenv.hardware.fragment import Fragment, FusedFragment
from fragenv.schedule.layers import FusedShape
from fragenv.schedule.shape import TaskShape


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to run an operator: the occurrence that starts there, the fragment, and whether the
    outputs stay on the chip. Operators and tensors are indices into the problem's lists."""

    node: int
    operators: tuple[int, ...]
    pattern: str
    fragment: int
    #: numbers of the fragment's circuits that it runs on
    circuits: tuple[int, ...]
    keep: bool
    sources: tuple[int, ...]
    #: what leaves the task; more than one only where layers are fused
    outputs: tuple[int, ...]
    #: of fused layers: that of the last one
    shape: TaskShape
    #: equal for tasks that differ in the names of their tensors alone
    shape_index: int
    #: the layers of a fused task, as tasks of their own; empty for others
    layers: tuple[Choice, ...] = ()
    fused: FusedShape | None = None

    @property
    def output(self) -> int:
        """The last tensor that it makes."""
        return self.outputs[-1]

    @property
    def chains(self) -> tuple[Choice, ...]:
        """Its layers, or itself: tasks that one circuit each runs."""
        return self.layers or (self,)


def frame_cycles(shape: TaskShape, circuit: Fragment) -> int:
    """Cycles of one frame in one RUN with everything on the chip (closed form, no tiling)."""
    blocks = (0, shape.blocks_per_group(circuit) * shape.output_groups(circuit))
    return shape.run_cycles(circuit, blocks, shape.array_rows, shape.out_rows, shape.k)


def busiest_cycles(choice: Choice, fragment: Fragment | FusedFragment) -> int:
    """Cycles of one frame on the circuit of a choice that has most to do."""
    busy: dict[int, int] = {}
    for chain in choice.chains:
        circuit = fragment.parts[chain.circuits[0]]
        cycles = frame_cycles(chain.shape, circuit)
        busy[chain.circuits[0]] = busy.get(chain.circuits[0], 0) + cycles
    return max(busy.values())


def circuit_for(shape: TaskShape, fragment: Fragment | FusedFragment) -> int | None:
    """The circuit on which a single chain runs fastest; None where none implements it."""
    able = [i for i, part in enumerate(fragment.parts) if part.implements(shape.stages)]
    return min(able, key=lambda i: frame_cycles(shape, fragment.parts[i]), default=None)


def circuits_for(shape: FusedShape, fragment: Fragment | FusedFragment) -> tuple[int, ...] | None:
    """The circuit of each layer: all on the only one, or each on its own, in the order of the
    circuits, so that the busiest has least to do; None where there is no such assignment."""
    layers = [layer.shape for layer in shape.layers]
    if len(fragment.parts) == 1:
        able = all(fragment.parts[0].implements(layer.stages) for layer in layers)
        return (0,) * len(layers) if able else None
    best: tuple[int, tuple[int, ...]] | None = None
    for chosen in combinations(range(len(fragment.parts)), len(layers)):
        parts = [fragment.parts[i] for i in chosen]
        if all(p.implements(s.stages) for p, s in zip(parts, layers, strict=True)):
            busiest = max(frame_cycles(s, p) for p, s in zip(parts, layers, strict=True))
            best = min(best, (busiest, chosen)) if best is not None else (busiest, chosen)
    return best[1] if best is not None else None
