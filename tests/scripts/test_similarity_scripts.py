"""The scripts of similarity: a training of seconds, and tables that hold what was measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
import bench_sharing  # noqa: E402
import bench_similarity  # noqa: E402
import train_similarity  # noqa: E402

from fragenv.models import zoo  # noqa: E402
from fragenv.patterns.similarity.corpus import network_graphs  # noqa: E402
from fragenv.patterns.similarity.encoder import EncoderConfig  # noqa: E402
from fragenv.patterns.similarity.training import Trainer, TrainingConfig  # noqa: E402
from fragenv.patterns.similarity.weights import (  # noqa: E402
    WeightsError,
    load_encoder,
    read_tensors,
)
from fragenv.schedule.pattern_tasks import pattern_tasks  # noqa: E402

sys.path.remove(str(SCRIPTS))

TINY = EncoderConfig(hidden=8, layers=1, codes=4)


def test_training__goes_on_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_similarity, "TRAINING_NETWORKS", ("lenet",))
    monkeypatch.setattr(train_similarity, "SAVE_EVERY", 2)
    config = TrainingConfig(steps=6, encoder=TINY)
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    train_similarity.run(config, 4, whole, "make whole")
    step = Trainer.step

    def fail(trainer: Trainer) -> object:
        if trainer.step_number == 5:
            raise KeyboardInterrupt
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(KeyboardInterrupt):
        train_similarity.run(config, 4, broken, "make broken")
    assert not broken.exists()
    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(WeightsError, match="with other options; remove it"):
        train_similarity.run(TrainingConfig(steps=7, encoder=TINY), 4, broken, "")
    assert int(read_tensors(broken.with_suffix(".state"))[0]["step"]) == 4
    train_similarity.run(config, 4, broken, "make broken")
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".state"] == []
    for name, value in load_encoder(whole).state_dict().items():
        torch.testing.assert_close(load_encoder(broken).state_dict()[name], value)


def test_training__says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    runner = CliRunner()
    app = train_similarity.typer.Typer()
    app.command()(train_similarity.main)
    result = runner.invoke(app, ["--output", str(tmp_path / "file" / "e.safetensors")])
    assert result.exit_code == 2
    assert "cannot make" in result.output


def test_similarity__table_holds_what_was_measured() -> None:
    held = bench_similarity.held_out(network_graphs(zoo.graph("resnet18"), most=4), 150)
    assert len(held.pairs) == 150
    exact = bench_similarity.row("resnets", "exact", held.exact, held)
    assert exact.overall == pytest.approx(1) and exact.near == pytest.approx(1)
    backwards = bench_similarity.row("resnets", "worst", -held.exact, held)
    assert backwards.overall == pytest.approx(-1)
    models = bench_similarity.models_of([])
    rows = bench_similarity.rows_of(bench_similarity.ALL_UNTOUCHED, held, models)
    assert len(bench_similarity.wl_estimates(held)) == 24
    assert rows[0].estimate == "encoder" and len(rows) in (2, 3)
    text = bench_similarity.report(rows, {"encoder": (0.5, 0.25)}, "Fast.", "python it")
    assert "`python it`" in text and "Fast." in text and "| encoder | 0.500 | 0.250 |" in text
    assert f"| {rows[0].overall:.3f} | {rows[0].near:.3f} |" in text


def test_similarity__others_need_a_name_and_a_file() -> None:
    with pytest.raises(bench_similarity.FragenvError, match="is not NAME=FILE"):
        bench_similarity.models_of(["file"])
    with pytest.raises(WeightsError, match="there is no file 'missing'"):
        bench_similarity.models_of(["name=missing"])


def test_sharing__tables_hold_what_was_measured() -> None:
    graph = zoo.graph("lenet")
    tasks = pattern_tasks(graph)
    found, sharer = bench_sharing.savings("lenet", "xc7z020", tasks, (1, 100))
    assert found.patterns == len(tasks) and set(found.by_budget) == {1, 100}
    for areas in found.by_budget.values():
        assert set(areas) == {*bench_sharing.PROPOSERS, "random"}
        assert all(found.all_pairs - 1e-9 <= a <= found.unshared + 1e-9 for a in areas.values())
    times = bench_sharing.latencies(graph, "xc7z020", 1, tasks, sharer)
    assert all(cycles > 0 for cycles in times.cycles.values())
    suite = bench_sharing.savings(bench_sharing.SUITE, "xc7z020", tasks, (1,))[0]
    found.by_budget.update({b: found.by_budget[1] for b in bench_sharing.BUDGETS})
    text = bench_sharing.report([found, suite], [times], "python it")
    assert "`python it`" in text and f"{found.unshared:.2f}" in text
    mean = times.cycles["encoder"] / times.cycles["unshared"]
    assert f"| geometric mean over unshared | | | 1 | {mean:.2f} |" in text


def test_suite__holds_each_pattern_once_with_the_tasks_of_all() -> None:
    found = {name: pattern_tasks(zoo.graph(name)) for name in ("lenet", "lenet_avg")}
    merged = bench_sharing.suite_tasks(found)
    assert len({t.pattern for t in merged}) == len(merged) < sum(map(len, found.values()))
    count = sum(len(t.shapes) for tasks in found.values() for t in tasks)
    assert sum(len(t.shapes) for t in merged) == count
    assert all(t.shapes for t in merged)
