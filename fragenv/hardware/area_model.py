"""The area model: what fragments and shells take, as fitted to synthesis.

Every resource is linear in the features below. The coefficients lie in ``area_model.json``, which
``scripts/fit_area.py`` writes from a grid of synthesised circuits; nothing in it is set by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files

from fragenv.errors import FragenvError
from fragenv.hardware.resources import RESOURCES, SRAM_BLOCK_BYTES, Resources

#: resource -> feature -> coefficient
Coefficients = Mapping[str, Mapping[str, float]]

#: stages that run on the array, and those that run on the window stage beside it
_ON_ARRAY = frozenset({"mac", "depthwise"})
_ON_WINDOWS = frozenset({"pool", "add", "lrn"})
#: stages with logic of their own beside those two
_MORE = frozenset({"depthwise", "add", "lrn"})
#: banks of the buffer, and rows of a bank that one block RAM holds, 32 bits wide
_BANKS, _BLOCK_ROWS, _BLOCK_ROW_BYTES = 8, 512, 4
#: bits of a row of a block RAM where no bytes are enabled: parity bits hold data as well
_BLOCK_ROW_BITS = 36
_SUM_BITS = 32
#: features that are block RAMs, whole or by lane (tables of a normalisation): the only ones that
#: SRAM is linear in
BLOCKS = frozenset({"accumulator_blocks", "buffer_blocks", "lrn_lanes_out"})


class AreaModelError(FragenvError):
    """There are no coefficients for a family."""


@lru_cache(maxsize=1 << 16)
def area_of(lanes_in: int, lanes_out: int, stages: tuple[str, ...], family: str) -> Resources:
    """What a fragment's circuit takes.

    Args:
        lanes_in: input lanes of its array.
        lanes_out: output lanes.
        stages: names of its stages.
        family: of FPGAs, a key of ``area_model.json``.

    Raises:
        AreaModelError: the model does not know the family.
    """
    coefficients = _model(family)["fragment"]
    return predict(coefficients, fragment_features(lanes_in, lanes_out, stages))


@lru_cache(maxsize=1 << 16)
def shell_area(
    buffer_bytes: int,
    readers: tuple[int, ...],
    writers: tuple[int, ...],
    circuits: int,
    family: str,
) -> Resources:
    """What the static part of a chip takes: sequencer, queues, DMA, configuration port, buffer.

    Args:
        buffer_bytes: capacity of the tensor buffer.
        readers: bytes per cycle of each of its reader ports, the DMA's first.
        writers: the same of its writer ports.
        circuits: fragments that are bound at once.
        family: of FPGAs, a key of ``area_model.json``.

    Raises:
        AreaModelError: the model does not know the family.
    """
    coefficients = _model(family)["shell"]
    return predict(coefficients, shell_features(buffer_bytes, readers, writers, circuits))


def fragment_features(lanes_in: int, lanes_out: int, stages: Iterable[str]) -> dict[str, float]:
    """What a fragment's resources are linear in."""
    names = {str(s) for s in stages}
    features: dict[str, float] = {"constant": 1, "lanes_out": lanes_out}
    if _ON_ARRAY & names:
        features |= {
            "array": 1,
            "array_lanes_in": lanes_in,
            "array_lanes_out": lanes_out,
            "multipliers": lanes_in * lanes_out,
            # channels of a group are counted by a multiplication that is a shift otherwise
            "uneven_lanes_in": float(lanes_in & (lanes_in - 1) != 0),
            "accumulator_blocks": 2 * -(-_SUM_BITS * lanes_out // _BLOCK_ROW_BITS),
        }
    if _ON_WINDOWS & names or not _ON_ARRAY & names:
        features |= {"windows": 1, "windows_lanes_out": lanes_out}
    for name in sorted(_MORE & names):
        features |= {name: 1, f"{name}_lanes_out": lanes_out}
    return features


def shell_features(
    buffer_bytes: int, readers: Sequence[int], writers: Sequence[int], circuits: int
) -> dict[str, float]:
    """What a shell's resources are linear in."""
    row = row_bytes(max(*readers, *writers))
    return {
        "constant": 1,
        "circuits": circuits,
        "readers": len(readers),
        "beat_bytes": readers[0],
        # a port's multiplexers are as wide as a row, its registers as what it asks for
        "reader_rows": len(readers) * row,
        "writer_rows": len(writers) * row,
        "port_bytes": sum(readers) + sum(writers),
        "section_rows": _sections(buffer_bytes, row) * row,
        "buffer_blocks": buffer_blocks(buffer_bytes, row),
    }


def row_bytes(widest_port: int) -> int:
    """Bytes of a row of the buffer: the least power of two that the widest port fits."""
    return 1 << max(2, (widest_port - 1).bit_length())


def buffer_blocks(buffer_bytes: int, row: int) -> int:
    """Block RAMs of a buffer. Its rows are dealt to pairs of banks (see fe_bank_address.sv)."""
    pair_bytes = 2 * _BLOCK_ROWS * row
    return -(-buffer_bytes // pair_bytes) * 2 * (row // _BLOCK_ROW_BYTES)


def _sections(buffer_bytes: int, row: int) -> int:
    """Memories that the buffer's banks are made of beyond one each (see fe_bank.sv); what they give
    is put together."""
    pages, rest = divmod(-(-buffer_bytes // row), _BANKS * _BLOCK_ROWS)
    longer = 2 * -(-rest // (2 * _BLOCK_ROWS))
    of_banks = [pages + (bank < longer) for bank in range(_BANKS)]
    return sum(max(0, blocks.bit_count() - 1) for blocks in of_banks)


def sram_bytes(resources: Resources, family: str) -> int:
    """Block RAM in bytes, as chips count it."""
    return resources.sram * SRAM_BLOCK_BYTES[family]


def predict(coefficients: Coefficients, features: Mapping[str, float]) -> Resources:
    """The model's value, rounded; never negative."""
    return Resources(
        **{
            name: max(
                0, round(sum(coefficients[name].get(k, 0.0) * v for k, v in features.items()))
            )
            for name in RESOURCES
        }
    )


@lru_cache(maxsize=1)
def _families() -> dict[str, dict[str, Coefficients]]:
    path = files("fragenv.hardware") / "area_model.json"
    if not path.is_file():
        return {}
    text = path.read_text("utf-8")
    model: dict[str, dict[str, Coefficients]] = json.loads(text)["families"]
    return model


def _model(family: str) -> dict[str, Coefficients]:
    found = _families().get(family)
    if found is None:
        known = ", ".join(_families()) or "none"
        raise AreaModelError(
            f"no area model for family '{family}'; known are {known}; scripts/fit_area.py fits one"
        )
    return found
