"""The command that trains generators: it writes whole files and goes on where it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
import bench_generators  # noqa: E402
import bench_gvae  # noqa: E402
import train_generator  # noqa: E402

from fragenv.generate.architecture import Architecture  # noqa: E402
from fragenv.generate.attributes import cell_attributes  # noqa: E402
from fragenv.generate.dgmg_training import load_dgmg  # noqa: E402
from fragenv.generate.graphrnn import load_graphrnn  # noqa: E402
from fragenv.generate.training import Trainer  # noqa: E402

sys.path.remove(str(SCRIPTS))

APP = typer.Typer()
APP.command()(train_generator.main)


def call(path: Path, *more: str) -> str:
    arguments = ["dgmg-cycles", "--output", str(path), "--steps", "3", *more]
    return str(CliRunner().invoke(APP, arguments).output)


def test_training__goes_on_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_generator, "SAVE_EVERY_S", -1.0)
    (tmp_path / "whole").mkdir()
    whole, broken = tmp_path / "whole" / "m.safetensors", tmp_path / "m.safetensors"
    assert "is a cycle with probability" in call(whole)
    step = Trainer.step

    def fail(trainer: Trainer) -> float:
        if trainer.step_number == 2:
            raise RuntimeError("interrupted")
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", fail)
    call(broken)
    assert not broken.exists() and broken.with_suffix(".state").exists()
    monkeypatch.setattr(Trainer, "step", step)
    assert "with other options; remove it" in " ".join(call(broken, "--seed", "1").split())
    call(broken)
    assert not broken.with_suffix(".state").exists()
    for name, value in load_dgmg(whole).state_dict().items():
        assert torch.equal(load_dgmg(broken).state_dict()[name], value)


def test_training__refuses_an_unknown_system(tmp_path: Path) -> None:
    result = CliRunner().invoke(APP, ["dgmg-cycle"])
    assert result.exit_code == 2
    assert "did you mean 'dgmg-cycles'" in result.output


def test_training__of_a_family_is_judged_and_loads(tmp_path: Path) -> None:
    path = tmp_path / "ladder.safetensors"
    arguments = ["graphrnn-ladder", "--output", str(path), "--steps", "2"]
    result = CliRunner().invoke(APP, arguments)
    assert "discrepancy of degrees" in result.output, result.output
    assert load_graphrnn(path).config.max_nodes == 20


def test_bench__refuses_an_unknown_system_and_counts_operators() -> None:
    app = typer.Typer()
    app.command()(bench_generators.main)
    result = CliRunner().invoke(app, ["graphrnm"])
    assert result.exit_code == 2 and "did you mean 'graphrnn'" in result.output
    one = Architecture(("input", "skip", "conv3x3", "output"), ((0, 1), (1, 2), (2, 3)))
    other = Architecture(("input", "skip", "output"), ((0, 1), (1, 2)))
    assert bench_generators.operator_distance([one], [other]) == 0.5
    assert bench_generators.operator_distance([one], [one]) == 0


def test_bench__reference_cells_are_the_best_and_the_best_that_is_exceeded() -> None:
    latency = "latency_cycles_cgra512"
    table = cell_attributes()
    best, exceeded = (table[choices] for choices in bench_gvae.references(latency).values())
    assert all(bench_gvae.quality(cell) <= bench_gvae.quality(best) for cell in table.values())
    better = [
        cell for cell in table.values() if bench_gvae.quality(cell) > bench_gvae.quality(exceeded)
    ]
    assert bench_gvae.dominating(best, latency) == 0 < bench_gvae.dominating(exceeded, latency)
    assert better and all(bench_gvae.dominating(cell, latency) == 0 for cell in better)
