"""Tests of synthesis; those that run a tool are left out where it is not installed."""

from __future__ import annotations

import pytest

from fragenv.synth.tools import SynthesisError, nextpnr, yosys


@pytest.fixture(scope="session")
def needs_yosys() -> None:
    _needs(yosys)


@pytest.fixture(scope="session")
def needs_nextpnr() -> None:
    _needs(yosys)
    _needs(nextpnr)


def _needs(tool: object) -> None:
    try:
        tool()  # type: ignore[operator]
    except SynthesisError as error:
        pytest.skip(str(error))
