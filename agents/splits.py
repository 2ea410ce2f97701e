"""Which networks of the zoo are trained on, chosen by, and tested on: ``splits.toml``."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path

from fragenv.errors import FragenvError
from fragenv.models import zoo

SPLITS = Path(__file__).with_name("splits.toml")
PARTS = ("train", "validation", "test")


@lru_cache
def models_of(part: str) -> tuple[str, ...]:
    """The networks of a part of the split; of "all", every one of the zoo.

    Raises:
        FragenvError: no such part.
    """
    if part == "all":
        return tuple(zoo.names())
    if part not in PARTS:
        raise FragenvError(f"unknown split '{part}'; choose one of {', '.join(PARTS)} or all")
    return tuple(tomllib.loads(SPLITS.read_text("utf-8"))[part]["models"])


def part_of(model: str) -> str:
    """The part of the split that a network belongs to; "" for none."""
    return next((part for part in PARTS if model in models_of(part)), "")
