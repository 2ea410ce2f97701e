"""What verification measures: tensors in DRAM, traffic, use of multipliers, slow memories."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lenet_case import SMALL, any_schedule, few_circuits, quantised_lenet

from fragenv.graph.from_onnx import from_onnx
from fragenv.models.digits import load_split
from fragenv.rtl.emit import emit_folder
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import CommandKind, Role
from fragenv.serialize import read_json
from fragenv.verify.check import verify
from fragenv.verify.measured import Traffic, Verdict
from fragenv.verify.run import CHIPS_DRAM, Dram, VerifyError, read_manifest, simulate_emission

pytestmark = pytest.mark.rtl
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def emission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet by a schedule that swaps circuits and sends tensors through DRAM."""
    folder = tmp_path_factory.mktemp("measured")
    model = quantised_lenet(folder, "max")
    problem = Problem(from_onnx(model), SMALL, 2)
    for seed in range(50):
        program = lower(problem, any_schedule(problem, seed))
        kinds = {c.kind for c in program.commands}
        stored = {c.tensor for c in program.commands if c.role in (Role.OUTPUT, Role.SPILL)}
        if CommandKind.BIND in kinds and len(stored) > 2:
            break
    emit_folder(problem, program, model, folder / "e")
    return folder / "e"


@pytest.fixture(scope="module")
def verdict(emission: Path) -> Verdict:
    digits = load_split(0)
    return verify(emission, 4, images=digits.test_images, labels=digits.test_labels)


def test_verify__compares_every_tensor_in_dram(emission: Path, verdict: Verdict) -> None:
    manifest = read_manifest(emission)
    places = {p["tensor"]: p for key in ("stored", "outputs") for p in manifest[key]}
    assert {t.tensor for t in verdict.tensors} == set(places)
    assert len(places) > 2
    for tensor in verdict.tensors:
        assert tensor.bytes == 4 * np.prod(places[tensor.tensor]["shape"])
        assert tensor.wrong == 0
    assert verdict.good and verdict.bytes == 40


def test_verify__measures_the_predicted_traffic(emission: Path, verdict: Verdict) -> None:
    manifest = read_manifest(emission)
    assert verdict.wrong_traffic == 0
    assert verdict.measured_bytes == manifest["read_bytes"] + manifest["write_bytes"]
    binds = [c for c in verdict.commands if c.kind == "bind"]
    assert binds and all(c.measured.read_bytes > 0 for c in binds)
    assert all(c.unit == "config" and c.task == "" for c in binds)
    # spills belong to no task
    spilled = sum((c.measured for c in verdict.commands if c.role == "spill"), Traffic())
    of_tasks = sum((t.measured for t in verdict.tasks), Traffic())
    assert (of_tasks + spilled).bytes == verdict.measured_bytes


def test_verify__says_how_busy_the_multipliers_are(verdict: Verdict) -> None:
    busy = {t.task: t for t in verdict.tasks if t.macs}
    assert sum(t.macs for t in busy.values()) == 2 * 416_520  # LeNet's, for a batch of two
    for task in busy.values():
        assert 0 < task.utilisation <= 1
        assert task.utilisation == task.macs / (task.multipliers * task.measured_run)


def test_verify__counts_what_is_classified_right(verdict: Verdict) -> None:
    counts = verdict.classified
    assert counts is not None and counts.frames == 4
    assert counts.chip == counts.reference
    assert verdict.onnx_runtime is not None
    assert verdict.onnx_runtime.elements == 40 and verdict.onnx_runtime.largest <= 1


def changed(emission: Path, target: Path, name: str, data: bytes) -> Path:
    """A copy of an emission with one other file, which its manifest does not check."""
    shutil.copytree(emission, target)
    (target / name).write_bytes(data)
    manifest = read_manifest(target)
    manifest["files"].pop(name, None)
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def test_verify__names_the_tensors_that_are_wrong(emission: Path, tmp_path: Path) -> None:
    memory = np.frombuffer((emission / "memory.bin").read_bytes(), np.uint8).copy()
    memory[np.flatnonzero(memory)[::3]] ^= 0x35
    broken = changed(emission, tmp_path / "e", "memory.bin", memory.tobytes())
    found = verify(broken, 2)
    assert found.wrong_bytes and not found.good
    assert len(found.wrong_tensors) > 1
    assert set(found.wrong_tensors) <= {t.tensor for t in found.tensors}


def test_verify__sees_bytes_that_were_not_predicted(emission: Path, tmp_path: Path) -> None:
    shutil.copytree(emission, tmp_path / "e")
    manifest = read_manifest(emission)
    load = next(c for c in manifest["commands"] if c["kind"] == "load")
    load["bytes"] += 1
    (tmp_path / "e" / "manifest.json").write_text(json.dumps(manifest))
    found = verify(tmp_path / "e", 2)
    assert found.wrong_traffic == 1 and not found.good
    assert found.predicted_bytes == found.measured_bytes + 1


@pytest.mark.parametrize("bandwidth", [3.0, 1.3, 0.2])
def test_simulation__throttles_the_memory_to_its_bandwidth(
    emission: Path, bandwidth: float
) -> None:
    own = _simulated(emission, CHIPS_DRAM)
    slow = _simulated(emission, Dram(bytes_per_cycle=bandwidth))
    assert slow.cycles[0] > own.cycles[0]
    kinds = [c["kind"] for c in read_manifest(emission)["commands"]]
    loads = [c for kind, c in zip(kinds, slow.commands, strict=True) if kind == "load"]
    large = [c for c in loads if c.read_bytes > 1000]
    assert large
    for command in large:
        cycles = command.end - command.start
        assert command.read_bytes / bandwidth - 1 <= cycles
        assert cycles <= command.read_bytes / bandwidth * 1.01 + SMALL.dram_latency_cycles + 20
    for name, values in own.outputs.items():
        assert np.array_equal(values, slow.outputs[name])


def test_simulation__waits_for_a_slow_memory(emission: Path) -> None:
    own, slow = _simulated(emission, CHIPS_DRAM), _simulated(emission, Dram(latency_cycles=500))
    assert slow.cycles[0] > own.cycles[0] + 500
    # a transfer waits for its first answer; later ones are under way meanwhile
    for before, after in zip(own.commands, slow.commands, strict=True):
        if before.read_bytes and before.end - before.start < 60:
            assert after.end - after.start == before.end - before.start + 480
    for name, values in own.outputs.items():
        assert np.array_equal(values, slow.outputs[name])


def _simulated(emission: Path, dram: Dram):  # type: ignore[no-untyped-def]
    (place,) = read_manifest(emission)["inputs"]
    frames = np.random.default_rng(0).integers(-128, 128, (2, *place["shape"]), dtype=np.int8)
    return simulate_emission(emission, {place["tensor"]: frames}, dram=dram)


def test_simulation__says_when_and_where_the_chip_failed(emission: Path, tmp_path: Path) -> None:
    program = bytearray((emission / "program.bin").read_bytes())
    program[len(program) // 2] ^= 1
    broken = changed(emission, tmp_path / "e", "program.bin", bytes(program))
    with pytest.raises(VerifyError, match=r"reports an error in cycle \d+ of job 0 \(running: "):
        _simulated(broken, CHIPS_DRAM)


def script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "verify.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_verify_script__writes_reports(emission: Path, tmp_path: Path) -> None:
    for name in ("report.json", "report.md"):
        result = script(emission, "--images", "2", "--report", tmp_path / name)
        assert result.returncode == 0, result.stderr
    data = read_json(tmp_path / "report.json", "fragenv-verification", 1)
    manifest = read_manifest(emission)
    assert data["good"] is True
    assert data["measured_read_bytes"] == manifest["read_bytes"]
    assert data["measured_written_bytes"] == manifest["write_bytes"]
    assert [t["task"] for t in data["tasks"]] == [t["name"] for t in manifest["tasks"]]
    assert len(data["commands"]) == len(manifest["commands"])
    text = (tmp_path / "report.md").read_text("utf-8")
    assert text.startswith("# Verification") and "| bind config |" in text
    result = script(emission, "--report", tmp_path / "report.txt")
    assert result.returncode == 2 and ".json or .md" in result.stderr


@pytest.mark.slow
def test_lenet_on_all_test_digits__is_as_accurate_as_the_float_model(tmp_path: Path) -> None:
    """The whole way as a user goes it, with the commands' own training."""
    import torch

    from fragenv.models.digits import accuracy, train_lenet
    from fragenv.models.export import export_onnx
    from fragenv.models.lenet import INPUT_SHAPE
    from fragenv.models.quantise import quantise_onnx

    digits, network = load_split(0), train_lenet(0)
    export_onnx(network, INPUT_SHAPE, tmp_path / "float.onnx")
    quantise_onnx(tmp_path / "float.onnx", digits.train_images[:256], tmp_path / "int8.onnx")
    with torch.no_grad():
        real = accuracy(network(torch.from_numpy(digits.test_images)).numpy(), digits.test_labels)
    problem = Problem(from_onnx(tmp_path / "int8.onnx"))
    program = lower(problem, few_circuits(problem))
    emit_folder(problem, program, tmp_path / "int8.onnx", tmp_path / "e")
    frames = len(digits.test_images)
    found = verify(tmp_path / "e", frames, images=digits.test_images, labels=digits.test_labels)
    assert found.good and found.classified is not None
    assert found.classified.frames == frames == 359
    assert found.classified.chip == found.classified.reference
    assert abs(found.classified.chip / frames - real) <= 0.01
    assert real > 0.95
