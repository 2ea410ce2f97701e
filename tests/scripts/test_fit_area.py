"""fit_area.py with a synthesis tool that answers at once: files, interruption, families."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fragenv.hardware.resources import Resources
from fragenv.synth.fit import coarse_grained
from fragenv.synth.grid import grid
from fragenv.synth.netlist import Design
from fragenv.synth.tools import SynthesisError, Tool

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
import fit_area  # noqa: E402
import typer  # noqa: E402

sys.path.remove(str(SCRIPTS))


class World:
    """What each circuit takes; which ones were synthesised."""

    def __init__(self) -> None:
        self.points = {id(p.design): p for p in grid()}
        self.asked: list[str] = []
        self.fails_at: int | None = None
        self.more = 0

    def synthesise(self, design: Design, family: str) -> Resources:
        if len(self.asked) == self.fails_at:
            raise SynthesisError("yosys refuses the design")
        point = self.points[id(design)]
        self.asked.append(f"{family} {point.name}")
        # different circuits have different features, all of them integers
        total = round(sum(point.features.values())) + self.more
        blocks = ("accumulator_blocks", "buffer_blocks")
        sram = round(sum(point.features.get(name, 0) for name in blocks))
        return Resources(lut=2 * total, ff=total, dsp=0, sram=sram)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    points = [p for p in made.points.values()]
    monkeypatch.setattr("fragenv.synth.fit.synthesise", made.synthesise)
    monkeypatch.setattr(fit_area, "grid", lambda: points)
    monkeypatch.setattr(fit_area, "yosys", lambda: Tool("yosys", "Yosys 0.70 (git)"))
    monkeypatch.setattr(fit_area, "known", lambda design, family: None)
    return made


def run(folder: Path, *options: str) -> Result:
    app = typer.Typer()
    app.command()(fit_area.main)
    where = ["--output", str(folder / "out"), "--model", str(folder / "model.json")]
    return CliRunner().invoke(app, [*where, "--jobs", "1", *options])


def test_fit_area__writes_model_table_and_summary(world: World, tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    families = json.loads((tmp_path / "model.json").read_text())["families"]
    assert list(families) == ["ecp5", "xilinx", "cgra"]
    assert families["cgra"] == coarse_grained(families["xilinx"])
    assert len((tmp_path / "out" / "area.csv").read_text().splitlines()) == 1 + len(world.asked)
    assert "fragment, held out" in (tmp_path / "out" / "area.md").read_text()


def test_fit_area__an_interrupted_run_leaves_no_file(world: World, tmp_path: Path) -> None:
    world.fails_at = 5
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "yosys refuses the design" in result.output
    assert list(tmp_path.iterdir()) == []


def test_fit_area__one_family_leaves_the_other_as_it_was(world: World, tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 0
    before = json.loads((tmp_path / "model.json").read_text())["families"]
    world.asked, world.more = [], 1000
    assert run(tmp_path, "--family", "ecp5").exit_code == 0
    after = json.loads((tmp_path / "model.json").read_text())["families"]
    assert all(name.startswith("ecp5 ") for name in world.asked)
    assert after["xilinx"] == before["xilinx"]
    assert after["ecp5"] != before["ecp5"]


def test_fit_area__too_few_circuits_are_refused(world: World, tmp_path: Path) -> None:
    result = run(tmp_path, "--cached")
    assert result.exit_code == 2
    assert "synthesise more of the grid" in result.output
    assert not world.asked
    assert list(tmp_path.iterdir()) == []
