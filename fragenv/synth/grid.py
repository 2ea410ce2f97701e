"""The circuits that the area model is fitted to, and those that it is tried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from fragenv.hardware.area_model import fragment_features, shell_features
from fragenv.hardware.chip import Chip, load_chip
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.synth.configurations import fragments_of, shell, shell_of, top_of
from fragenv.synth.netlist import Design

MAC, POOL, ADD, DEPTHWISE, LRN = Stage.MAC, Stage.POOL, Stage.ADD, Stage.DEPTHWISE, Stage.LRN

ShellSizes: TypeAlias = tuple[int, int, tuple[Stage, ...], tuple[tuple[int, int], ...]]

FRAGMENTS: tuple[Fragment, ...] = (
    *(
        Fragment(i, o, (MAC,))
        for i, o in ((1, 6), (4, 4), (8, 8), (4, 16), (16, 4), (7, 12), (3, 24), (16, 16))
    ),
    *(
        Fragment(i, o, stages)
        for i, o in ((4, 4), (8, 12))
        for stages in (
            (MAC, POOL),
            (MAC, ADD, DEPTHWISE, POOL),
            (POOL,),
            (ADD,),
            (LRN,),
        )
    ),
    *(Fragment(1, o, (DEPTHWISE,)) for o in (4, 12)),
)
#: (bytes of the buffer, bytes per cycle of the DRAM's port, stages, lanes of the circuits that are
#: bound at once) of the shells
SHELLS: tuple[ShellSizes, ...] = (
    (65_536, 4, (MAC, POOL), ((8, 8),)),
    (65_536, 16, (MAC, POOL), ((4, 4),)),
    (311_296, 16, (MAC, POOL), ((8, 8),)),
    (311_296, 16, (MAC, ADD, POOL), ((8, 8),)),
    (311_296, 16, (MAC, POOL), ((4, 16), (4, 4))),
    (311_296, 16, (MAC, POOL), ((4, 16), (4, 4), (8, 4))),
    (786_432, 16, (MAC, POOL), ((16, 16),)),
    (786_432, 16, (MAC, POOL), ((8, 32), (8, 8))),
    (425_984, 32, (MAC, POOL), ((8, 16),)),
    (425_984, 32, (MAC, ADD, POOL), ((8, 16),)),
    (425_984, 32, (MAC, POOL), ((8, 16), (8, 8))),
    (1_638_400, 64, (MAC, POOL), ((16, 16),)),
)
#: the same of circuits that the model is not fitted to
HELD_OUT_FRAGMENTS: tuple[Fragment, ...] = (
    Fragment(16, 8, (MAC, POOL)),
    Fragment(5, 10, (MAC, ADD, POOL)),
    Fragment(6, 6, (MAC, DEPTHWISE)),
    Fragment(1, 8, (ADD, DEPTHWISE, POOL)),
)
HELD_OUT_SHELLS: tuple[ShellSizes, ...] = (
    (327_680, 16, (MAC, ADD, POOL), ((6, 8), (4, 4))),
    (393_216, 32, (MAC, POOL), ((12, 12),)),
)


@dataclass(frozen=True, slots=True)
class Point:
    """A circuit: what its resources depend on, and how it is synthesised."""

    kind: str
    name: str
    features: Mapping[str, float]
    design: Design
    #: the model is tried on it, not fitted to it
    held_out: bool = False


def grid() -> list[Point]:
    """All circuits, those that are held out last."""
    return [
        *(_fragment(f, False) for f in FRAGMENTS),
        *(_shell(*s, False) for s in SHELLS),
        *(_fragment(f, True) for f in HELD_OUT_FRAGMENTS),
        *(_shell(*s, True) for s in HELD_OUT_SHELLS),
    ]


def _fragment(fragment: Fragment, held_out: bool) -> Point:
    top = top_of(_chip(65_536, 16), (fragment,))
    design = next(iter(fragments_of(top).values()))
    features = fragment_features(fragment.lanes_in, fragment.lanes_out, fragment.stages)
    return Point("fragment", fragment.key, features, design, held_out)


def _shell(
    buffer_bytes: int,
    beat_bytes: int,
    stages: tuple[Stage, ...],
    shapes: tuple[tuple[int, int], ...],
    held_out: bool,
) -> Point:
    top = top_of(_chip(buffer_bytes, beat_bytes), [Fragment(i, o, stages) for i, o in shapes])
    of = shell_of(top)
    features = shell_features(of.buffer_bytes, of.readers, of.writers, of.circuits)
    lanes = " ".join(f"{i}x{o}" for i, o in shapes)
    name = f"{buffer_bytes} B, beats of {beat_bytes}: {'+'.join(sorted(stages))} {lanes}"
    return Point("shell", name, features, shell(top), held_out)


def _chip(buffer_bytes: int, beat_bytes: int) -> Chip:
    """A chip of which the shell's sizes matter alone, so that no preset changes the circuits."""
    preset = load_chip("ecp5-85")
    return replace(preset, name="grid", buffer_bytes=buffer_bytes, dram_bytes_per_cycle=beat_bytes)
