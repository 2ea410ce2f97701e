"""The area model: fitting finds what is there; the committed model keeps its promise."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
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
    shell_features,
    sram_bytes,
)
from fragenv.hardware.resources import RESOURCES, Resources
from fragenv.rtl.top import BUFFER_BANKS
from fragenv.synth.area_table import LIMITS, as_csv, as_markdown, read
from fragenv.synth.fit import Checked, Measured, check, coarse_grained, fit, synthesise_all
from fragenv.synth.grid import Point, grid
from fragenv.synth.netlist import Design, synthesise
from fragenv.synth.resources import Family
from fragenv.synth.tools import SynthesisError

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "results" / "reference" / "synthesis" / "area.csv"
MODEL = ROOT / "fragenv" / "hardware" / "area_model.json"
families = pytest.mark.parametrize("family", list(Family))
fitted = pytest.mark.skipif(
    not TABLE.exists(), reason="no measurements are committed; scripts/fit_area.py makes them"
)


@lru_cache(maxsize=1)
def points() -> list[Point]:
    return grid()


@lru_cache(maxsize=1)
def table() -> dict[str, list[Measured]]:
    return read(TABLE, points())


def linear_world() -> tuple[dict[str, dict[str, dict[str, float]]], list[Measured]]:
    """Coefficients by chance, and a grid that follows them."""
    rng = np.random.default_rng(0)
    blocks = {"accumulator_blocks", "buffer_blocks"}
    truth: dict[str, dict[str, dict[str, float]]] = {}
    for point in points():
        for resource in RESOURCES:
            known = truth.setdefault(point.kind, {}).setdefault(resource, {})
            for name in point.features:
                if (name in blocks) == (resource == "sram"):
                    known.setdefault(name, float(rng.integers(1, 40)))
    return truth, [Measured(p, predict(truth[p.kind], p.features)) for p in points()]


def test_fit__finds_the_coefficients_of_a_linear_world() -> None:
    truth, measured = linear_world()
    model = fit(measured)
    for row in check(measured, model):
        assert row.predicted == row.measured.found
    # and between the points of the grid
    for features in (
        fragment_features(5, 11, ("mac", "pool")),
        shell_features(100_000, (8, 24, 24), (8, 24), 1),
    ):
        kind = "shell" if "circuits" in features else "fragment"
        assert predict(model[kind], features) == predict(truth[kind], features)


def test_fit__does_not_look_at_what_is_held_out() -> None:
    _, measured = linear_world()
    wrong = [replace(m, found=Resources()) if m.point.held_out else m for m in measured]
    assert fit(wrong) == fit(measured)
    assert any(m.point.held_out for m in measured)


def test_fit__refuses_too_few_circuits() -> None:
    _, measured = linear_world()
    with pytest.raises(SynthesisError, match=r"do not determine the \d+ coefficients of 'lut'"):
        fit(measured[:5])


def test_predict__is_never_negative() -> None:
    assert predict({r: {"constant": -5.0} for r in RESOURCES}, {"constant": 1}) == Resources()


def test_area_of__unknown_family() -> None:
    with pytest.raises(AreaModelError, match="no area model for family 'max10'; known are"):
        area_of(8, 8, ("mac",), "max10")


def test_coarse_grained__multipliers_are_the_arrays_and_the_shell_is_free() -> None:
    truth, _ = linear_world()
    model = coarse_grained(truth)
    found = predict(model["fragment"], fragment_features(7, 12, ("mac", "add", "pool")))
    assert (found.dsp, found.sram) == (84, 12)
    assert predict(model["shell"], shell_features(100_000, (8, 8), (8,), 1)) == Resources()


def test_buffer_blocks__waste_little() -> None:
    assert row_bytes(1) == 4
    assert [row_bytes(n) for n in (16, 17, 96)] == [16, 32, 128]
    assert buffer_blocks(393_216, 16) == 192
    for capacity, row in ((359_424, 16), (483_840, 32), (1_883_520, 64), (3_538_944, 128)):
        least = -(-capacity // 2048)
        assert least <= buffer_blocks(capacity, row) <= 1.05 * least


@pytest.mark.parametrize(
    ("capacity", "row", "sections"),
    [
        (65_536, 16, 0),  # 8 banks of 512 rows
        (311_296, 16, 6),  # 6 of 2048 + 512, 2 of 2048
        (786_432, 16, 8),  # 8 of 4096 + 2048
        (16_384, 16, 0),  # 2 banks of 512, 6 without any
    ],
)
def test_shell_features__sections_of_the_banks(capacity: int, row: int, sections: int) -> None:
    assert BUFFER_BANKS == 8
    assert shell_features(capacity, (row,), (row,), 0)["section_rows"] == sections * row


def test_sram_bytes__counts_parity_as_data_sheets_do() -> None:
    assert sram_bytes(Resources(sram=208), "ecp5") == 479_232  # ECP5-85: FPGA-DS-02012, table 1.1


def test_shell_area__has_the_buffer() -> None:
    area = shell_area(359_424, (16, 8, 8), (16, 8), 1, "ecp5")
    assert area.sram == buffer_blocks(359_424, 16)
    assert area.dsp == 0


def test_table__is_read_as_it_was_written(tmp_path: Path) -> None:
    _, measured = linear_world()
    checked = check(measured, fit(measured))
    path = tmp_path / "area.csv"
    path.write_text(as_csv({"ecp5": checked}))
    assert read(path, points()) == {"ecp5": measured}
    assert read(path, points()[:3]) == {"ecp5": measured[:3]}
    assert read(tmp_path / "none.csv", points()) == {}


def test_table__what_is_beyond_the_limits_is_bold() -> None:
    point = Point("fragment", "mac 4x4", {}, Design("", {}))
    row = Checked(Measured(point, Resources(100, 100, 16, 8)), Resources(116, 100, 16, 8))
    text = as_markdown({"ecp5": [row]}, "command", "Yosys")
    assert "| ecp5 | fragment | 1 | **+16.0% mac 4x4** | 0 | 0 | 0 |" in text


def test_synthesise_all__stops_at_the_first_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def refuse(design: Design, family: str) -> Resources:
        raise SynthesisError("no room")

    monkeypatch.setattr("fragenv.synth.fit.synthesise", refuse)
    with pytest.raises(SynthesisError, match="no room"):
        synthesise_all(points(), "ecp5", 1, done.append)
    assert not done


@fitted
@families
def test_model__is_the_fit_of_the_committed_measurements(family: str) -> None:
    committed = json.loads(MODEL.read_text("utf-8"))["families"][family]
    for kind, resources in fit(table()[family]).items():
        for resource, coefficients in resources.items():
            assert coefficients == pytest.approx(committed[kind][resource], rel=1e-3), (
                kind,
                resource,
            )


@fitted
def test_model__of_arrays_follows_that_of_xilinx() -> None:
    committed = json.loads(MODEL.read_text("utf-8"))["families"]
    assert committed["cgra"] == coarse_grained(committed["xilinx"])


@fitted
@families
def test_model__keeps_its_promise(family: str) -> None:
    """Predictions against the committed results of Yosys, those that are held out included."""
    committed = json.loads(MODEL.read_text("utf-8"))["families"][family]
    for row in check(table()[family], committed):
        for resource in RESOURCES:
            error = abs(row.error(resource))
            assert error <= LIMITS[resource], (row.measured.point.name, resource, error)


@fitted
@families
def test_table__has_the_whole_grid(family: str) -> None:
    missing = {p.name for p in points()} - {m.point.name for m in table()[family]}
    assert not missing, "run scripts/fit_area.py"


@fitted
@pytest.mark.slow
@families
@pytest.mark.parametrize("name", ["mac+pool 4x4", "add 4x4", "depthwise+mac 6x6"])
def test_model__agrees_with_yosys_on_the_present_cells(
    needs_yosys: None, family: str, name: str
) -> None:
    """Fails where cells have changed since the measurements were committed."""
    point = next(p for p in points() if p.name == name)
    committed = json.loads(MODEL.read_text("utf-8"))["families"][family]
    (row,) = check([Measured(point, synthesise(point.design, family))], committed)
    for resource in RESOURCES:
        assert abs(row.error(resource)) <= LIMITS[resource], resource
