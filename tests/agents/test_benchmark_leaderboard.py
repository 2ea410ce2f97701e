"""The leaderboard: what is better is entered, what is wrong is refused, nothing leads outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.benchmark import leaderboard, submission
from agents.benchmark.leaderboard import Candidate, LeaderboardError, enter, read
from agents.benchmark.submission import faults, judge
from agents.scheduler import SCHEDULERS, Budget
from fragenv.errors import FragenvError
from fragenv.models import zoo
from fragenv.schedule.problem import Problem
from fragenv.schedule.schedule import Schedule, save_schedule
from fragenv.serialize import FileError

Json = dict[str, Any]
KEY = "lenet zu7ev b1 d1 latency"


def write_solution(path: Path, scheduler: str, objective: str = "latency") -> Path:
    """A schedule of LeNet by some scheduler."""
    problem = Problem(zoo.graph("lenet"), "zu7ev", objective=objective)
    found = SCHEDULERS.get(scheduler).solve(problem, Budget(60), 0)
    schedule = Schedule.of(problem, found.state, found.actions, "lenet", scheduler, 0)
    save_schedule(schedule, problem, found.state, path)
    return path


@pytest.fixture(scope="module")
def candidates(solutions: dict[str, Path]) -> dict[str, Candidate]:
    return {name: judge(path, "A") for name, path in solutions.items()}


@pytest.fixture(scope="module")
def solutions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("solutions")
    found = {name: write_solution(folder / f"{name}.json", name) for name in ("random", "greedy")}
    found["period"] = write_solution(folder / "period.json", "greedy", "throughput")
    return found


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_enter__keeps_the_better_one_and_its_file_alone(
    solutions: dict[str, Path], tmp_path: Path
) -> None:
    worse, better = (judge(solutions[name], " A.  Name ") for name in ("random", "greedy"))
    assert worse.entry.cost > better.entry.cost
    assert enter(tmp_path, worse) and faults(tmp_path) == []
    assert enter(tmp_path, better) and faults(tmp_path) == []
    assert not enter(tmp_path, worse) and not enter(tmp_path, better)
    entry = read(tmp_path)[KEY]
    assert (entry.author, entry.scheduler) == ("A. Name", "greedy")
    assert [p.name for p in (tmp_path / "schedules").iterdir()] == [entry.file]
    assert enter(tmp_path, judge(solutions["period"], "B"))
    assert sorted(read(tmp_path)) == [KEY, "lenet zu7ev b1 d1 throughput"]
    assert faults(tmp_path) == []
    text = (tmp_path / "leaderboard.md").read_text("utf-8")
    assert "| lenet | zu7ev | 1 | 1 | latency |" in text and "A. Name" in text


def test_judge__says_what_the_schedule_costs(solutions: dict[str, Path]) -> None:
    entry = judge(solutions["greedy"], "A").entry
    data = json.loads(solutions["greedy"].read_text("utf-8"))
    moved = data["dram_read_bytes"] + data["dram_write_bytes"] + data["config_bytes"]
    bound = data["lower_bound"]
    assert (entry.latency_cycles, entry.traffic_bytes) == (data["latency_cycles"], moved)
    assert entry.cost == pytest.approx(
        data["latency_cycles"] / bound["latency_cycles"] + moved / bound["traffic_bytes"]
    )


def changed_command(data: Json) -> None:
    """A RUN of one cycle less than its fragment takes."""
    columns, rows = data["commands"]["columns"], data["commands"]["rows"]
    run = next(row for row in rows if row[columns.index("kind")] == "run")
    run[columns.index("cycles")] -= 1


def first_action_again(data: Json) -> None:
    data["actions"].insert(0, data["actions"][0])


TAMPERED: dict[str, tuple[Callable[[Json], object], str]] = {
    "latency": (lambda d: d.update(latency_cycles=d["latency_cycles"] - 1), "other results"),
    "traffic": (lambda d: d.update(dram_read_bytes=1), "other results"),
    "action": (first_action_again, "is illegal"),
    "ends early": (lambda d: d["actions"].pop(), "before the last operator"),
    "action of another type": (lambda d: d.update(actions=["x"]), "damaged"),
    "no actions": (lambda d: d.pop("actions"), "damaged"),
    "a RUN too fast": (changed_command, "'commands' differs"),
    "commands of another type": (lambda d: d.update(commands=7), "'commands' differs"),
    "smaller fragment": (
        lambda d: d["fragments"][0]["circuits"][0]["area"].update(multipliers=1),
        "'fragments' differs",
    ),
    "larger region": (lambda d: d["region"].update(lut=10**9), "'region' differs"),
    "lower bound": (lambda d: d["lower_bound"].update(latency_cycles=1), "'lower_bound' differs"),
    "more fields": (lambda d: d.update(note="x"), "'note' differs"),
    "faster chip": (lambda d: d["chip"].update(dram_bytes_per_cycle=999), "not the preset's"),
    "own network": (lambda d: d.update(model="../../net.onnx"), "not in the zoo"),
    "another network": (lambda d: d.update(model="lenet_avg"), "the networks differ"),
    "another objective": (lambda d: d.update(objective="throughput"), "is illegal|other results"),
    "huge batch": (lambda d: d.update(batch=10**9), "batch 1000000000"),
    "version": (lambda d: d.update(version=1), "version 1"),
    "another format": (lambda d: d.update(format="fragenv-agent"), "not a fragenv-schedule"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_judge__refuses_what_was_tampered_with(
    name: str, solutions: dict[str, Path], tmp_path: Path
) -> None:
    change, reason = TAMPERED[name]
    data = json.loads(solutions["greedy"].read_text("utf-8"))
    change(data)
    path = tmp_path / "schedule.json"
    path.write_text(json.dumps(data), "utf-8")
    with pytest.raises(FragenvError, match=reason):
        judge(path, "A")


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", '{"format": "fragenv-schedule"}'])
def test_judge__refuses_damaged_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(text, "utf-8")
    with pytest.raises(FragenvError, match=r"schedule\.json"):
        judge(path, "A")
    with pytest.raises(FileError, match="cannot read"):
        judge(tmp_path / "nothing.json", "A")


@pytest.mark.parametrize("author", ["", "  ", "x" * 61, "a\x07b"])
def test_judge__refuses_authors_that_cannot_be_listed(
    author: str, solutions: dict[str, Path]
) -> None:
    with pytest.raises(FragenvError, match="author"):
        judge(solutions["greedy"], author)


def test_judge__believes_neither_program_alone(
    solutions: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = submission.check_schedule
    monkeypatch.setattr(
        submission, "check_schedule", lambda data: replace(checked(data), dram_write_bytes=1)
    )
    with pytest.raises(FragenvError, match=r"dram_write_bytes is [\d,]+ by the transition, 1 by"):
        judge(solutions["greedy"], "A")


def filled(folder: Path, candidates: dict[str, Candidate]) -> Json:
    """A leaderboard of two entries, as data."""
    for name in ("greedy", "period"):
        assert enter(folder, candidates[name])
    data: Json = json.loads((folder / "leaderboard.json").read_text("utf-8"))
    return data


@pytest.mark.parametrize(
    "name", ["../outside.json", "/outside.json", "a/b.json", "..", "", ".hidden.json", "a\\b.json"]
)
def test_read__no_name_leads_out_of_the_folder(
    name: str, candidates: dict[str, Candidate], tmp_path: Path
) -> None:
    data = filled(tmp_path, candidates)
    data["entries"][0]["file"] = name
    (tmp_path / "leaderboard.json").write_text(json.dumps(data), "utf-8")
    before = everything(tmp_path)
    with pytest.raises(LeaderboardError, match="nothing outside is read"):
        read(tmp_path)
    with pytest.raises(LeaderboardError):
        enter(tmp_path, candidates["greedy"])
    assert everything(tmp_path) == before


def test_faults__a_link_leads_nowhere(candidates: dict[str, Candidate], tmp_path: Path) -> None:
    folder = tmp_path / "board"
    folder.mkdir()
    filled(folder, candidates)
    entry = read(folder)[KEY]
    inside, outside = folder / "schedules" / entry.file, tmp_path / "outside.json"
    inside.rename(outside)
    inside.symlink_to(outside)
    (fault,) = faults(folder)
    assert "leads out" in fault
    # not even to be written over by a better one
    data = json.loads((folder / "leaderboard.json").read_text("utf-8"))
    data["entries"] = [{**data["entries"][0], "cost": entry.cost + 1}]
    (folder / "leaderboard.json").write_text(json.dumps(data), "utf-8")
    with pytest.raises(LeaderboardError, match="leads out"):
        enter(folder, candidates["greedy"])
    assert outside.is_file()


def test_faults__finds_what_is_off(candidates: dict[str, Candidate], tmp_path: Path) -> None:
    data = filled(tmp_path, candidates)
    path = tmp_path / "schedules" / data["entries"][0]["file"]
    content = path.read_bytes()
    assert faults(tmp_path) == []
    path.write_bytes(content.replace(b'"seed":0', b'"seed":1'))
    assert "sha256" in faults(tmp_path)[0]
    path.unlink()
    assert "no file" in faults(tmp_path)[0]
    path.write_bytes(content)
    for name, value in (("cost", 1.0), ("scheduler", "x"), ("traffic_bytes", 1), ("chip", "zz")):
        wrong = json.loads(json.dumps(data))
        wrong["entries"][0][name] = value
        (tmp_path / "leaderboard.json").write_text(json.dumps(wrong), "utf-8")
        try:
            (fault,) = faults(tmp_path)
        except LeaderboardError as error:
            fault = str(error)
        assert ("other figures" in fault) != (name == "chip"), fault


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["entries"][0].pop("author"),
        lambda d: d["entries"][0].update(cost="low"),
        lambda d: d["entries"][0].update(batch=True),
        lambda d: d["entries"][0].update(cost=float("nan")),
        lambda d: d["entries"].append(d["entries"][0]),
        lambda d: d["entries"].append(7),
        lambda d: d.update(entries={}),
    ],
)
def test_read__refuses_a_damaged_list(
    change: Callable[[Json], object], candidates: dict[str, Candidate], tmp_path: Path
) -> None:
    data = filled(tmp_path, candidates)
    change(data)
    (tmp_path / "leaderboard.json").write_text(json.dumps(data), "utf-8")
    with pytest.raises(LeaderboardError, match=r"leaderboard\.json"):
        read(tmp_path)


def test_enter__loses_nothing_when_the_list_cannot_be_written(
    candidates: dict[str, Candidate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert enter(tmp_path, candidates["random"])
    before = read(tmp_path)

    def full(*_: object) -> None:
        raise FileError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(leaderboard, "write_json", full)
        with pytest.raises(FileError):
            enter(tmp_path, candidates["greedy"])
    assert read(tmp_path) == before and faults(tmp_path) == []


def test_file_name__is_legal_whatever_the_instance() -> None:
    instance = submission.Instance("../é b", "/c", 1, 1, "x\n")
    name = leaderboard.file_name(instance, "0" * 64)
    assert leaderboard.LEGAL_NAME.fullmatch(name)
