"""The commands as a user runs them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(script: str, *arguments: str, code: int = 0) -> str:
    """A script's output; its exit code must be ``code``."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training of LeNet."""
    folder = tmp_path_factory.mktemp("run") / "lenet"
    arguments = ("--timesteps", "1024", "--budget", "500", "--output", str(folder))
    run("train.py", "--env", "LeNetChip-v0", *arguments)
    return folder


def test_train__writes_the_whole_run(finished: Path) -> None:
    for name in (
        *("summary.json", "schedule.json", "comparison.csv", "comparison.md", "timeline.png"),
        *("graph.png", "training.png", "agent/agent.json", "agent/weights.safetensors"),
        *("rtl/manifest.json", "rtl/rtl/fragenv_top.sv"),
    ):
        assert (finished / name).stat().st_size > 0, name
    assert list((finished / "tensorboard").glob("events*"))
    summary = json.loads((finished / "summary.json").read_text("utf-8"))
    assert summary["env"] == "LeNetChip-v0"
    best = summary["schedulers"][summary["best"]]
    wanted = {"latency_cycles", "latency_ms", "dram_read_bytes", "dram_write_bytes", "config_bytes"}
    assert wanted | {"return", "apply_calls", "wall_s"} <= set(best)
    assert best["return"] == max(row["return"] for row in summary["schedulers"].values())
    assert best["latency_cycles"] >= summary["lower_bound"]["latency_cycles"]
    with (finished / "comparison.csv").open(newline="", encoding="utf-8") as file:
        assert {row["scheduler"] for row in csv.DictReader(file)} == set(summary["schedulers"])


def test_train__resumes(finished: Path) -> None:
    run("train.py", "--env", "LeNetChip-v0", "--timesteps", "2048", "--budget", "200", "--no-rtl",
        "--resume", str(finished))  # fmt: skip
    state = json.loads((finished / "training.json").read_text("utf-8"))
    assert state["timesteps"] >= 2048


@pytest.mark.slow
def test_train__takes_drawn_networks_and_search_the_agent(tmp_path: Path) -> None:
    run("train.py", "--env", "GeneratedChip-v0", "--timesteps", "16", "--budget", "50", "--no-rtl",
        "--output", str(tmp_path / "t"))  # fmt: skip
    summary = json.loads((tmp_path / "t" / "summary.json").read_text("utf-8"))
    assert summary["model"] == str(tmp_path / "t" / "network.onnx")
    run("search.py", "--chip", "cgra512", "--target-latency", "12000", "--budget", "4",
        "--per-round", "2", "--oracle", "agent", "--agent", str(tmp_path / "t" / "agent"),
        "--finalists", "1", "--full-budget", "60", "--no-rtl", "--output",
        str(tmp_path / "s"))  # fmt: skip
    found = json.loads((tmp_path / "s" / "summary.json").read_text("utf-8"))
    assert set(found["schedulers"]) == {"beam", "annealing", "agent"}


def test_evaluate__runs_an_agent_on_another_network(finished: Path, tmp_path: Path) -> None:
    said = run(
        "evaluate.py", "--agent", str(finished / "agent"), "--model", "squeezenet",
        "--chip", "xc7z020", "--budget", "300", "--output", str(tmp_path / "e"),
        "--objective", "throughput",
    )  # fmt: skip
    assert "ppo" in said and "cost: period and traffic" in said
    summary = json.loads((tmp_path / "e" / "summary.json").read_text("utf-8"))
    assert summary["chip"] == "xc7z020" and summary["objective"] == "throughput"
    best = summary["schedulers"][summary["best"]]
    assert best["period_cycles"] <= best["latency_cycles"]


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("train.py", ["--env", "AlexnetChip-v0"], "did you mean 'AlexNetChip-v0'"),
        ("train.py", ["--env", "LeNetChip-v0", "--chip", "nothing"], "unknown chip 'nothing'"),
        ("train.py", ["--env", "LeNetChip-v0", "--reward", "no.such:thing"], "no.such"),
        ("train.py", ["--env", "ModelChip-v0"], "needs a model"),
        ("train.py", ["--env", "ModelChip-v0", "--model", "missing.onnx"], "missing.onnx"),
        ("train.py", ["--env", "LeNetChip-v0", "--output", "/proc/nothing"], "/proc/nothing"),
        ("train.py", ["--env", "LeNetChip-v0", "--objective", "speed"], "'throughput'"),
        ("train.py", ["--env", "LeNetChip-v0", "--device", "foo"], "unknown device 'foo'"),
        ("train.py", ["--env", "LeNetChip-v0", "--scheduler", "beem"], "did you mean 'beam'"),
        ("train.py", ["--env", "LeNetChip-v0", "--timesteps", "-5"], "--timesteps"),
        ("train.py", ["--env", "LeNetChip-v0", "--batch", "0"], "--batch"),
        ("train.py", ["--env", "LeNetChip-v0", "--weights", "no.onnx"], "no.onnx"),
        ("train.py", ["--env", "LeNetChip-v0", "--resume", "nowhere"], "nowhere"),
        ("train.py", ["--env", "LeNetChip-v0", "--generator", "random"], "has its own model"),
        ("train.py", ["--env", "GeneratedChip-v0", "--generator", "randon"], "mean 'random'"),
        ("evaluate.py", ["--agent", "nowhere", "--env", "LeNetChip-v0"], "nowhere"),
        ("evaluate.py", ["--agent", "nowhere"], "--env ID or --model"),
        ("evaluate.py", ["--agent", "nowhere", "--env", "GeneratedChip-v0"], "network.onnx"),
    ],
)
def test_commands__bad_input_is_one_sentence(
    script: str, arguments: list[str], message: str
) -> None:
    said = run(script, *arguments, code=2)
    assert message in said
    assert "Traceback" not in said


def test_train__resumes_on_nothing_else(finished: Path) -> None:
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    said = run("train.py", "--env", "LeNetChip-v0", "--chip", "cgra512", "--resume",
               str(finished), code=2)  # fmt: skip
    assert "cgra512" in said
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before
    assert not (ROOT / "nowhere").exists()
