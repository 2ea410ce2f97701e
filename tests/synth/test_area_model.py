"""The area model: fitting finds what is there; the committed model keeps its promise."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from fragenv.hardware.area_model import (
    AreaModelError,
    area_of,
    buffer_blocks,
    fragment_features,
    predict,
    row_bytes,
    shell_area,
    sram_bytes,
)
from fragenv.hardware.resources import RESOURCES, Resources
from fragenv.synth.fit import FRAGMENTS, Measured, Point, check, fit
from fragenv.synth.netlist import Design

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "synthesis" / "area.csv"
fitted = pytest.mark.skipif(
    not REFERENCE.exists(), reason="no fit is committed; scripts/fit_area.py makes one"
)
#: largest relative error of a prediction
WANTED = {"lut": 0.15, "ff": 0.15, "dsp": 0.0, "sram": 0.05}


def test_fit__finds_the_coefficients_of_a_linear_world() -> None:
    rng = np.random.default_rng(0)
    truth: dict[str, dict[str, float]] = {r: {} for r in RESOURCES}
    measured = []
    for lanes_in, lanes_out, stages in FRAGMENTS:
        features = fragment_features(lanes_in, lanes_out, stages)
        for resource in RESOURCES:
            for name in features:
                if (name == "accumulator_blocks") != (resource == "sram"):
                    continue
                truth[resource].setdefault(name, float(rng.integers(1, 40)))
        point = Point("fragment", "", features, Design("", {}))
        measured.append(Measured(point, predict(truth, features)))
    model = fit(measured)
    for row in check(measured, model):
        assert row.predicted == row.measured.found
    # and between the points of the grid
    features = fragment_features(5, 11, ("mac", "pool"))
    assert predict(model["fragment"], features) == predict(truth, features)


def test_predict__is_never_negative() -> None:
    assert predict({r: {"constant": -5.0} for r in RESOURCES}, {"constant": 1}) == Resources()


def test_area_of__unknown_family() -> None:
    with pytest.raises(AreaModelError, match="no area model for family 'max10'; known are"):
        area_of(8, 8, ("mac",), "max10")


def test_buffer_blocks__waste_little() -> None:
    assert row_bytes(1) == 4
    assert [row_bytes(n) for n in (16, 17, 96)] == [16, 32, 128]
    assert buffer_blocks(393_216, 16) == 192
    for capacity, row in ((359_424, 16), (483_840, 32), (1_883_520, 64), (3_538_944, 128)):
        least = -(-capacity // 2048)
        assert least <= buffer_blocks(capacity, row) <= 1.05 * least


def test_sram_bytes__counts_parity_as_data_sheets_do() -> None:
    assert sram_bytes(Resources(sram=208), "ecp5") == 479_232  # ECP5-85: FPGA-DS-02012, table 1.1


@fitted
def test_shell_area__has_the_buffer() -> None:
    area = shell_area(359_424, (16, 8, 8), (16, 8), 1, "ecp5")
    assert area.sram == buffer_blocks(359_424, 16)
    assert area.dsp == 0


@fitted
@pytest.mark.parametrize("family", ["ecp5", "xilinx"])
def test_area_of__keeps_its_promise(family: str) -> None:
    """Predictions against the committed results of Yosys."""
    with REFERENCE.open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["family"] == family]
    fragments = [r for r in rows if r["kind"] == "fragment"]
    assert len(fragments) == len(FRAGMENTS)
    for row in fragments:
        stages, _, lanes = row["name"].partition(" ")
        lanes_in, _, lanes_out = lanes.partition("x")
        predicted = area_of(int(lanes_in), int(lanes_out), stages.split("+"), family)
        for resource in RESOURCES:
            found = int(row[resource])
            error = abs(getattr(predicted, resource) - found) / max(found, 1)
            assert error <= WANTED[resource], (row["name"], resource, error)
