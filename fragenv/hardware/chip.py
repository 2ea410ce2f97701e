"""Chips: the physical platform as data. Presets are TOML files in ``presets/``."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fragenv.errors import FragenvError
from fragenv.hardware.area_model import shell_area, sram_bytes
from fragenv.hardware.resources import SRAM_BLOCK_BYTES

DEFAULT_CHIP = "cgra512"
#: TOML types that a field's type accepts
_ACCEPTED: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,)}


class ChipError(FragenvError):
    """A chip is unknown or its file is wrong."""


@dataclass(frozen=True, slots=True)
class Area:
    """Resources of the reconfigurable region."""

    multipliers: int = 0
    lut: int = 0
    #: block RAM inside the region: accumulators
    local_bytes: int = 0

    def __add__(self, other: Area) -> Area:
        return Area(
            self.multipliers + other.multipliers,
            self.lut + other.lut,
            self.local_bytes + other.local_bytes,
        )

    def __sub__(self, other: Area) -> Area:
        return Area(
            self.multipliers - other.multipliers,
            self.lut - other.lut,
            self.local_bytes - other.local_bytes,
        )

    def fits(self, free: Area) -> bool:
        """Whether every resource is at most that of ``free``."""
        return (
            self.multipliers <= free.multipliers
            and self.lut <= free.lut
            and self.local_bytes <= free.local_bytes
        )


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip, split as partial reconfiguration does it: a static shell that holds the tensor
    buffer, DMA and sequencer, and a reconfigurable region in which fragments are bound.

    ``multipliers`` and ``lut`` are those of the whole device, as its data sheet counts them; what
    the shell takes of them is found by the area model. SRAM is divided by the file itself.

    All rates are per cycle of ``clock_mhz``; all sizes in bytes.
    """

    name: str
    multipliers: int
    lut: int
    #: SRAM of the shell, for tensors and weights: what its block RAMs hold. Bytes are written one
    #: by one, which leaves an FPGA's parity bits unused: 2 KiB of a block of 18 Kbit
    buffer_bytes: int
    #: SRAM of the region, for the fragments' accumulators, parity bits included
    local_bytes: int
    dram_bytes_per_cycle: int
    dram_latency_cycles: int
    #: bytes of a configuration of the whole region
    config_bytes: int
    config_bytes_per_cycle: float
    clock_mhz: float
    #: whose synthesis the area of fragments follows: a key of ``area_model.json``
    family: str = "cgra"
    #: energy of one DRAM byte, one SRAM byte and one int8 multiply-accumulate, in picojoules
    dram_pj_per_byte: float = 0.0
    sram_pj_per_byte: float = 0.0
    mac_pj: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        positive = ("multipliers", "lut", "buffer_bytes", "local_bytes", "dram_bytes_per_cycle")
        for name in (*positive, "config_bytes", "config_bytes_per_cycle", "clock_mhz"):
            if getattr(self, name) <= 0:
                raise ChipError(f"chip '{self.name}': {name} must be positive")
        if self.dram_latency_cycles < 0:
            raise ChipError(f"chip '{self.name}': dram_latency_cycles must not be negative")
        if self.family not in SRAM_BLOCK_BYTES:
            known = ", ".join(SRAM_BLOCK_BYTES)
            raise ChipError(
                f"chip '{self.name}': unknown family '{self.family}'; known are {known}"
            )

    @property
    def area(self) -> Area:
        """What the region offers to fragments: all but the shell of a chip without circuits.

        Raises:
            AreaModelError: the model does not know the family.
        """
        return _region(self)

    def shell(self, readers: tuple[int, ...], writers: tuple[int, ...], circuits: int) -> Area:
        """What the shell takes, buffer included.

        Args:
            readers: bytes per cycle of the buffer's reader ports beside the DMA's.
            writers: the same of its writer ports.
            circuits: fragments, each of which has a queue.

        Raises:
            AreaModelError: the model does not know the family.
        """
        beat = self.dram_bytes_per_cycle
        ports = (beat, *readers), (beat, *writers)
        found = shell_area(self.buffer_bytes, *ports, circuits, self.family)
        return Area(found.dsp, found.lut, sram_bytes(found, self.family))

    def config_bytes_of(self, area: Area) -> int:
        """Configuration bytes of a circuit: the whole region's, times the largest share of a
        resource that the circuit takes (frames of a column are configured together)."""
        total = self.area
        share = max(
            area.multipliers / total.multipliers,
            area.lut / total.lut,
            area.local_bytes / total.local_bytes,
        )
        return max(1, round(self.config_bytes * share))

    def milliseconds(self, cycles: int) -> float:
        """Cycles as milliseconds at the chip's clock."""
        return cycles / (self.clock_mhz * 1e3)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def preset_names() -> list[str]:
    """Names of the chips that ship with the package."""
    folder = files("fragenv.hardware") / "presets"
    names = (path.name for path in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def chip_from_dict(data: dict[str, Any], origin: str) -> Chip:
    """A chip from its fields.

    Raises:
        ChipError: a field is missing, unknown or of another type.
    """
    types = {f.name: str(f.type) for f in fields(Chip)}
    unknown = sorted(set(data) - set(types))
    if unknown:
        raise ChipError(f"{origin}: unknown field '{unknown[0]}'; known are {', '.join(types)}")
    for name, value in data.items():
        if isinstance(value, bool) or not isinstance(value, _ACCEPTED[types[name]]):
            raise ChipError(f"{origin}: field '{name}' must be of type {types[name]}")
    try:
        return Chip(**data)
    except TypeError as error:
        raise ChipError(f"{origin}: {str(error).removeprefix('Chip.__init__() ')}") from None


@lru_cache(maxsize=256)
def _region(chip: Chip) -> Area:
    """``Chip.area``, which solvers ask for in every step."""
    shell = chip.shell((), (), 0)
    return Area(chip.multipliers, chip.lut - shell.lut, chip.local_bytes)


def load_chip(chip: str | Path | Chip) -> Chip:
    """A preset by name, or a user's chip by the path of a TOML file.

    Raises:
        ChipError: no such preset or file, or a wrong file.
    """
    if isinstance(chip, Chip):
        return chip
    path = Path(chip)
    if str(chip) in preset_names():
        text = (files("fragenv.hardware") / "presets" / f"{chip}.toml").read_text("utf-8")
    elif path.suffix == ".toml":
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ChipError(f"cannot read the chip file '{path}': {error}") from None
    else:
        raise ChipError(
            f"unknown chip '{chip}'; presets are {', '.join(preset_names())}; "
            "a chip of your own is the path of a .toml file"
        )
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ChipError(f"{chip}: not a TOML file: {error}") from None
    return chip_from_dict(data, str(chip))
