"""The fused fragments of a problem: pipelines for the patterns whose rows are worth most."""

from __future__ import annotations

from collections.abc import Sequence

from fragenv.hardware.balance import Option, balanced
from fragenv.hardware.chip import Area, Chip
from fragenv.hardware.fragment import Fragment, FusedFragment, Stage
from fragenv.hardware.library import LANES
from fragenv.schedule.choices import frame_cycles
from fragenv.schedule.fused import inner_wires
from fragenv.schedule.layers import FusedShape

#: fused fragments of a library
PIPELINES = 3
#: lanes that are tried for a circuit of a pipeline: powers of two and multiples of three
_LANES = tuple(n for n in LANES if n & (n - 1) == 0 or n % 3 == 0)


def build_pipelines(
    shapes: Sequence[FusedShape], arrays: Sequence[Fragment], chip: Chip
) -> tuple[FusedFragment, ...]:
    """A pipeline over the whole chip for each of the kinds of pattern that hide most bytes.

    Patterns are of one kind where their layers have arrays alike (MAC, depthwise or none), in the
    same order. The largest circuit carries every further stage that the single fragments have, so
    that single operators run on it too; the others what their layers need.
    """
    kinds: dict[tuple[Stage | None, ...], list[FusedShape]] = {}
    for shape in shapes:
        kinds.setdefault(tuple(layer.shape.array for layer in shape.layers), []).append(shape)
    if not kinds or all(s is None for kind in kinds for s in kind):
        return ()
    ranked = sorted(kinds.items(), key=lambda item: -sum(map(_hidden_bytes, item[1])))
    rest = {stage for fragment in arrays for stage in fragment.stages}
    found = []
    for kind, members in ranked:
        pipeline = _pipeline(kind, members, rest, chip)
        if pipeline is not None:
            found.append(pipeline)
        if len(found) == PIPELINES:
            break
    return tuple(dict.fromkeys(found))


def _hidden_bytes(shape: FusedShape) -> int:
    """Bytes of one frame of what passes between the layers."""
    return sum(shape.layers[wire.index].shape.out_bytes for wire in inner_wires(shape))


def _pipeline(
    kind: tuple[Stage | None, ...], members: list[FusedShape], rest: set[Stage], chip: Chip
) -> FusedFragment | None:
    """The balanced circuits for all patterns of a kind together."""
    needed: list[set[Stage]] = [set() for _ in kind]
    work = [0] * len(kind)
    for shape in members:
        for i, layer in enumerate(shape.layers):
            needed[i] |= layer.shape.stages
            work[i] += layer.shape.macs
    arrays = [i for i, stage in enumerate(kind) if stage is Stage.MAC]
    if arrays:
        needed[max(arrays, key=work.__getitem__)] |= rest
    options = []
    for i in range(len(kind)):
        layers = [shape.layers[i].shape for shape in members]
        circuits = _circuits(tuple(needed[i]), chip)
        options.append(
            [Option(c, area, sum(frame_cycles(s, c) for s in layers)) for c, area in circuits]
        )
    chosen = balanced(options, chip.area)
    return FusedFragment(chosen) if chosen is not None else None


def _circuits(stages: tuple[Stage, ...], chip: Chip) -> list[tuple[Fragment, Area]]:
    """Circuits with some stages that fit, and their areas."""
    room, rows = chip.area, _LANES if Stage.MAC in stages else (1,)
    found = []
    for lanes_in in rows:
        for lanes_out in _LANES:
            circuit = Fragment(lanes_in, lanes_out, stages)
            area = circuit.bound_area(chip) if circuit.multipliers <= room.multipliers else None
            if area is not None and area.fits(room):
                found.append((circuit, area))
    return found
