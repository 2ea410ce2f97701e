"""The benchmark and its leaderboard as a user runs them: what is interrupted goes on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import benchmark  # noqa: E402
import submit  # noqa: E402

from agents.benchmark import run  # noqa: E402
from agents.benchmark.leaderboard import read  # noqa: E402
from agents.benchmark.suite import Case  # noqa: E402
from agents.ppo.checkpoint import AgentConfig, save_agent  # noqa: E402
from agents.ppo.network import PolicyNetwork  # noqa: E402
from fragenv.errors import InfeasibleError, Violation  # noqa: E402

sys.path.remove(str(SCRIPTS))

CHOICE: dict[str, Any] = {
    "model": ["lenet"],
    "chip": ["cgra512"],
    "objective": ["latency"],
    "scheduler": ["greedy", "random"],
    "budget": [30, 60],
    "seeds": 2,
    "settings": 0,
}
ROWS = Path("rows") / "lenet_cgra512_b1_d1_latency.json"


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Case]]:
    """The searches that were really made."""
    done: list[Case] = []
    made = run.case_row

    def counted(case: Case, *given: Any) -> Any:
        done.append(case)
        return made(case, *given)

    monkeypatch.setattr(run, "case_row", counted)
    yield done


def refusal(**options: Any) -> int:
    """The exit status of a command that does not end well."""
    with pytest.raises(typer.Exit) as caught:
        benchmark.main(**options)
    return caught.value.exit_code


def test_benchmark__writes_everything_and_makes_nothing_twice(
    tmp_path: Path, searched: list[Case]
) -> None:
    benchmark.main(**CHOICE, output=tmp_path)
    assert len(searched) == 2 * (1 + 2)
    for name in ("benchmark.md", "benchmark.csv", "gap.png", "profile.png", "pareto.png"):
        assert (tmp_path / name).stat().st_size > 0, name
    with (tmp_path / "benchmark.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row in rows:
        assert float(row["cost"]) >= float(row["bound_cost"]) >= 2.0
        assert int(row["cycles"]) >= int(row["bound_cycles"])
        assert int(row["traffic_bytes"]) >= int(row["bound_traffic_bytes"])
        assert int(row["apply_calls"]) <= int(row["limit_calls"]) + 11
    text = (tmp_path / "benchmark.md").read_text("utf-8")
    assert "6 of 6 searches" in text and "## Latency, 60 calls: 1 instances" in text
    (entry,) = read(tmp_path).values()
    assert entry.cost == min(float(row["cost"]) for row in rows)
    submit.main(verify=tmp_path)
    kept = (tmp_path / ROWS).read_bytes()
    benchmark.main(**CHOICE, output=tmp_path)
    assert len(searched) == 6 and (tmp_path / ROWS).read_bytes() == kept
    # another budget is added to what there is
    benchmark.main(**{**CHOICE, "budget": [60, 90]}, output=tmp_path)
    assert len(searched) == 9 and {case.limit.calls for case in searched[6:]} == {90}


def test_benchmark__goes_on_after_an_interruption(
    tmp_path: Path, searched: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = run.case_row

    def interrupted(*given: Any) -> Any:
        if len(searched) == 4:
            raise KeyboardInterrupt
        return counted(*given)

    with monkeypatch.context() as patch:
        patch.setattr(run, "case_row", interrupted)
        assert refusal(**CHOICE, output=tmp_path) == 130
    assert len(json.loads((tmp_path / ROWS).read_text("utf-8"))["rows"]) == 1 + 4
    benchmark.main(**CHOICE, output=tmp_path)
    assert len(searched) == 6 == len({case.key for case in searched})
    assert len(read(tmp_path)) == 1


def test_benchmark__other_code_starts_anew(
    tmp_path: Path, searched: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**CHOICE, "budget": [30], "scheduler": ["greedy"]}
    benchmark.main(**options, output=tmp_path)
    monkeypatch.setattr(run, "source_digest", lambda _: "another")
    benchmark.main(**options, output=tmp_path)
    assert len(searched) == 2


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "fragenv-benchmark-rows", "version": 1}'])
def test_benchmark__says_which_file_is_damaged(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ROWS).parent.mkdir()
    (tmp_path / ROWS).write_text(text, "utf-8")
    assert refusal(**CHOICE, output=tmp_path) == 2
    assert ROWS.name in capsys.readouterr().err
    assert (tmp_path / ROWS).read_text("utf-8") == text


def test_benchmark__an_instance_that_cannot_be_has_a_row(
    tmp_path: Path, searched: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_small(_: object) -> None:
        raise InfeasibleError(Violation("buffer", "conv1", 9, 5, "bytes"))

    monkeypatch.setattr(run, "prepared", too_small)
    for _ in range(2):
        benchmark.main(**CHOICE, output=tmp_path)
    assert not searched
    assert "needs 9 bytes, has 5" in (tmp_path / "benchmark.md").read_text("utf-8")
    with (tmp_path / "benchmark.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["model"] == "lenet" and "buffer at conv1" in row["error"]


def test_benchmark__equal_seconds(tmp_path: Path) -> None:
    options = {**CHOICE, "budget": None, "seconds": [0.2], "seeds": 1}
    benchmark.main(**options, output=tmp_path)
    rows = json.loads((tmp_path / ROWS).read_text("utf-8"))["rows"][1:]
    assert [row["scheduler"] for row in rows] == ["greedy", "random"]
    assert all(row["limit_seconds"] == 0.2 and row["limit_calls"] is None for row in rows)
    assert rows[1]["wall_s"] >= 0.2
    assert "## Latency, 0.2 s" in (tmp_path / "benchmark.md").read_text("utf-8")


def test_benchmark__agents_take_part_and_are_told_apart(
    tmp_path: Path, searched: list[Case]
) -> None:
    for name in ("first", "second"):
        config = AgentConfig(hidden=8, layers=1, trained_on=f"{name}-v0")
        save_agent(PolicyNetwork(8, 1), config, tmp_path / name / "agent")
    agents = [tmp_path / name / "agent" for name in ("first", "second")]
    options = {**CHOICE, "scheduler": ["greedy"], "budget": [30], "seeds": 1}
    benchmark.main(**options, agent=agents, output=tmp_path)
    with (tmp_path / "benchmark.csv").open(newline="", encoding="utf-8") as file:
        trained = {row["scheduler"]: row["trained_on"] for row in csv.DictReader(file)}
    assert trained["greedy"] == "" and trained["ppo (first)"] == "first-v0"
    assert trained["ppo (second)"] == "second-v0"
    count = len(searched)
    # other weights are another agent, whatever its folder is called
    save_agent(PolicyNetwork(8, 1), AgentConfig(hidden=8, layers=1), agents[0])
    benchmark.main(**options, agent=agents, output=tmp_path)
    assert {case.label.split("@")[0] for case in searched[count:]} >= {"ppo (first)"}
    assert not any("second" in case.label for case in searched[count:])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheduler": ["greedi"]}, "did you mean 'greedy'"),
        ({"model": ["alexnett"]}, "alexnett"),
        ({"chip": ["nothing"]}, "unknown chip 'nothing'"),
        ({"model": None, "split": "tests"}, "unknown split 'tests'"),
        ({"objective": ["speed"]}, "'throughput'|latency, throughput"),
        ({"agent": [Path("nowhere")]}, "nowhere"),
        ({"author": " "}, "author"),
    ],
)
def test_benchmark__bad_input_is_one_sentence(
    options: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(**{**CHOICE, **options}, output=tmp_path) == 2
    text = capsys.readouterr().err
    assert any(part in text for part in said.split("|")), text
    assert text.count("\n") == 1


def test_benchmark__two_processes_find_what_one_finds(tmp_path: Path) -> None:
    options = {**CHOICE, "objective": ["latency", "throughput"], "budget": [40]}
    found = []
    for jobs in (1, 2):
        output = tmp_path / str(jobs)
        benchmark.main(**options, jobs=jobs, output=output)
        rows = [json.loads(path.read_text("utf-8"))["rows"] for path in output.glob("rows/*")]
        plain = ({**row, "wall_s": 0} for own in rows for row in own)
        found.append(sorted(plain, key=lambda row: row["key"]))
        assert len(read(output)) == 2
    assert found[0] == found[1] and len(found[0]) == 2 * (1 + 1 + 2)


def test_commands__explain_themselves() -> None:
    for script in ("benchmark.py", "submit.py"):
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / script), "--help"],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        assert "Example: python scripts/" in done.stdout


def test_submit__refuses_one_and_enters_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.main(**CHOICE, output=tmp_path / "mine")
    (good,) = (tmp_path / "mine" / "schedules").iterdir()
    bad = tmp_path / "bad.json"
    data = json.loads(good.read_text("utf-8"))
    bad.write_text(json.dumps({**data, "latency_cycles": 1}), "utf-8")
    board = tmp_path / "board"
    board.mkdir()
    with pytest.raises(typer.Exit) as caught:
        submit.main([bad, good], "A. Name", board)
    assert caught.value.exit_code == 1
    said = capsys.readouterr().out
    assert f"refused: {bad}: the decisions give other results" in said
    assert f"entered: {good}" in said
    submit.main([good], "Another", board)
    assert "no better" in capsys.readouterr().out
    (entry,) = read(board).values()
    assert entry.author == "A. Name"
    submit.main(verify=board)
    shutil.copy(bad, board / "schedules" / entry.file)
    for folder in (board, tmp_path / "nothing"):
        with pytest.raises(typer.Exit) as caught:
            submit.main(verify=folder)
        assert caught.value.exit_code == 1
    with pytest.raises(typer.Exit) as caught:
        submit.main([good], None, board)
    assert caught.value.exit_code == 2
