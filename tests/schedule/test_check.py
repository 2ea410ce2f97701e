"""The checker fails on schedules that were broken on purpose."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import agents.heuristics  # noqa: F401 - registers the schedulers
from agents.scheduler import SCHEDULERS, Budget
from fragenv.models import zoo
from fragenv.schedule.check import check_schedule
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.schedule import Schedule, save_schedule, schedule_content

Json = dict[str, Any]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """A schedule of SqueezeNet with swaps, kept tensors and residuals of every kind."""
    problem = Problem(zoo.graph("squeezenet"), "cgra512", 1)
    result = SCHEDULERS.get("random").solve(problem, Budget(60), 3)
    path = tmp_path_factory.mktemp("schedule") / "schedule.json"
    schedule = Schedule.of(problem, result.state, result.actions, "squeezenet", "random", 3)
    save_schedule(schedule, problem, result.state, path)
    data: Json = json.loads(path.read_text("utf-8"))
    return data


def column(data: Json, name: str) -> int:
    return int(data["commands"]["columns"].index(name))


def first(data: Json, **wanted: str) -> int:
    """The first command whose fields are as wanted."""
    for number, row in enumerate(data["commands"]["rows"]):
        if all(row[column(data, name)] == value for name, value in wanted.items()):
            return number
    raise AssertionError(f"no command with {wanted}")


def drop(data: Json, number: int) -> None:
    """Take a command out, and correct the ids that others wait for."""
    rows, waits = data["commands"]["rows"], column(data, "waits")
    del rows[number]
    for row in rows:
        row[waits] = [w - (w > number) for w in row[waits] if w != number]


def set_field(data: Json, number: int, name: str, value: object) -> None:
    data["commands"]["rows"][number][column(data, name)] = value


def test_check__passes_the_sound_one(sound: Json) -> None:
    assert check_schedule(sound).ok


def drop_store(data: Json) -> None:
    drop(data, first(data, kind="store", role="output"))


def drop_weights(data: Json) -> None:
    drop(data, first(data, role="weights"))


def drop_input(data: Json) -> None:
    task = next(
        i for i, t in enumerate(data["tasks"]) if not t["on_chip"] and len(t["sources"]) == 1
    )
    rows = data["commands"]["rows"]
    while True:
        found = [
            i
            for i, row in enumerate(rows)
            if row[column(data, "role")] == "input" and row[column(data, "task")] == task
        ]
        if not found:
            return
        drop(data, found[0])


def drop_waits(data: Json) -> None:
    for row in data["commands"]["rows"]:
        row[column(data, "waits")] = []


def shorten_load(data: Json) -> None:
    set_field(data, first(data, kind="load"), "cycles", 1)


def forge_latency(data: Json) -> None:
    data["latency_cycles"] -= 1


def forge_traffic(data: Json) -> None:
    data["dram_read_bytes"] -= 64


def oversize_working_set(data: Json) -> None:
    data["tasks"][0]["working_bytes"] = data["chip"]["buffer_bytes"] + 1


def oversize_fragment(data: Json) -> None:
    circuits = data["fragments"][data["bindings"][0]["fragment"]]["circuits"]
    circuits[0]["area"]["multipliers"] = 10**6


def forget_operator(data: Json) -> None:
    data["tasks"][2]["operators"] = data["tasks"][2]["operators"][:-1]


def repeat_operator(data: Json) -> None:
    data["tasks"][2]["operators"] += data["tasks"][1]["operators"][:1]


def unbind(data: Json) -> None:
    data["bindings"] = data["bindings"][1:]


def other_fragment(data: Json) -> None:
    data["tasks"][0]["fragment"] += 1


def keep_the_result(data: Json) -> None:
    result = next(t["name"] for t in data["tensors"] if t["is_output"])
    for task in data["tasks"]:
        if task["output"] == result:
            task["keep_output"] = True


def read_what_is_not_kept(data: Json) -> None:
    task = next(t for t in data["tasks"] if t["sources"] and not t["on_chip"])
    other = next(t for t in data["tasks"] if not t["keep_output"] and t is not task)
    task["sources"] = task["on_chip"] = [other["output"]]


def wait_for_the_future(data: Json) -> None:
    set_field(data, 0, "waits", [5])


def shorten_weights(data: Json) -> None:
    number = first(data, role="weights")
    low, high = data["commands"]["rows"][number][column(data, "blocks")]
    set_field(data, number, "blocks", [low, high - 1])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (drop_store, "output not stored once"),
        (drop_weights, "RUN before its weights"),
        (drop_input, "source not loaded"),
        (drop_waits, "read before it is there"),
        (drop_waits, "STORE before its RUN"),
        (drop_waits, "RUN before its weights"),
        (shorten_load, "too fast"),
        (forge_latency, "result differs"),
        (forge_traffic, "result differs"),
        (oversize_working_set, "buffer exceeded"),
        (oversize_fragment, "area exceeded"),
        (forget_operator, "operator not done once"),
        (repeat_operator, "operator not done once"),
        (unbind, "fragment not bound"),
        (other_fragment, "fragment not bound"),
        (keep_the_result, "result stays on the chip"),
        (read_what_is_not_kept, "tensor is not on the chip"),
        (wait_for_the_future, "waits for a later command"),
        (shorten_weights, "RUN before its weights"),
    ],
)
def test_check__sees_what_is_broken(sound: Json, change: Callable[[Json], None], rule: str) -> None:
    data = copy.deepcopy(sound)
    change(data)
    rules = {v.rule for v in check_schedule(data).violations}
    assert rule in rules, rules


@pytest.fixture(scope="module")
def fused() -> Json:
    """A schedule whose tasks are fused wherever they can be, in turns or as pipelines."""
    problem = Problem(zoo.graph("resnet18"), "zu7ev", 2, max_depth=3)
    state, actions = problem.initial(), []
    while not state.finished:
        legal = [a for a in problem.legal_actions(state) if a >= MAX_SLOTS]
        chosen = [divmod(a - MAX_SLOTS, problem.num_choices + 1) for a in legal]
        layers = [
            len(problem.choices[node][i].layers) if i < problem.num_choices else -1
            for node, i in chosen
        ]
        # the last one of the deepest: a pipeline where there is one
        best = max(range(len(legal)), key=lambda n: (layers[n], n))
        actions.append(legal[best])
        state = problem.apply(state, legal[best])
    schedule = Schedule.of(problem, state, tuple(actions), "resnet18", "deepest", 0)
    data: Json = json.loads(json.dumps(schedule_content(schedule, problem, state)))
    assert any(
        len(f["circuits"]) > 1 for f in (data["fragments"][t["fragment"]] for t in data["tasks"])
    )
    return data


def test_check__passes_fused_tasks(fused: Json) -> None:
    assert check_schedule(fused).ok


def shrink_ring(data: Json) -> None:
    task = next(t for t in data["tasks"] if t["rings"])
    for other in data["tasks"]:
        for tensor, ring in other["rings"].items():
            if other["group"] == task["group"] and tensor in task["rings"]:
                ring["rows"] -= 1


def drop_ring_load(data: Json) -> None:
    number = next(i for i, t in enumerate(data["tasks"]) if t["rings"])
    name = next(iter(data["tasks"][number]["rings"]))
    drop(data, first(data, kind="load", tensor=name))


def pass_the_result(data: Json) -> None:
    result = next(t["name"] for t in data["tensors"] if t["is_output"])
    next(t for t in data["tasks"] if t["output"] == result)["passes_output"] = True


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (shrink_ring, "row overwritten"),
        (drop_ring_load, "row read before it is there"),
        (drop_waits, "row read before it is there"),
        (drop_weights, "RUN before its weights"),
        (pass_the_result, "result stays on the chip"),
    ],
)
def test_check__sees_what_is_broken_in_fused_tasks(
    fused: Json, change: Callable[[Json], None], rule: str
) -> None:
    data = copy.deepcopy(fused)
    change(data)
    rules = {v.rule for v in check_schedule(data).violations}
    assert rule in rules, rules


def test_schedule__file_is_small(tmp_path: Path) -> None:
    problem = Problem(zoo.graph("alexnet"), "xc7z045", 8)
    result = SCHEDULERS.get("greedy").solve(problem, Budget(1000), 0)
    schedule = Schedule.of(problem, result.state, result.actions, "alexnet", "greedy", 0)
    save_schedule(schedule, problem, result.state, tmp_path / "s.json")
    assert (tmp_path / "s.json").stat().st_size < 5_000_000
