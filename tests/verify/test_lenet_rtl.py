"""LeNet on digits through the emitted RTL: every byte equals the reference, cycles as predicted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lenet_case import SMALL, emitted, quantised_lenet

from fragenv.graph.from_onnx import from_onnx
from fragenv.models.digits import load_split
from fragenv.rtl.isa import END_UNIT, header, wait_words
from fragenv.schedule.problem import MAX_SLOTS, Problem
from fragenv.schedule.schedule import Schedule, save_schedule
from fragenv.verify.check import verify
from fragenv.verify.run import VerifyError, lint_emission, read_manifest

pytestmark = pytest.mark.rtl
ROOT = Path(__file__).parents[2]

#: cycles in which accesses to the buffer meet in a bank, as a share of all
MEETING = 0.01
#: of two random schedules, (seed, batch): a fully connected layer of three frames on 1 x 7 lanes
#: reads a pixel for every seven weights, and they meet
MEETING_MORE = {(4, 3): 0.02, (5, 3): 0.02}


@pytest.fixture(scope="module")
def max_lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantised_lenet(tmp_path_factory.mktemp("max"), "max")


@pytest.fixture(scope="module")
def average_lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantised_lenet(tmp_path_factory.mktemp("average"), "average")


@pytest.fixture(scope="module")
def on_default_chip(max_lenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("default") / "emitted"
    emitted(max_lenet, "cgra512", 1, None, folder)
    return folder


def test_emitted_lenet__equals_the_reference_on_20_images(on_default_chip: Path) -> None:
    images = load_split(0).test_images
    verdict = verify(on_default_chip, 20, images=images)
    assert (verdict.frames, verdict.bytes, verdict.wrong_bytes) == (20, 200, 0)
    assert abs(verdict.cycle_error) < MEETING


def test_emitted_lenet__is_lint_clean(on_default_chip: Path) -> None:
    assert lint_emission(on_default_chip) == ""


def test_emitted_lenet_with_average_pools__equals_the_reference(
    average_lenet: Path, tmp_path: Path
) -> None:
    emitted(average_lenet, SMALL, 2, None, tmp_path / "e")
    verdict = verify(tmp_path / "e", 20, images=load_split(0).test_images)
    assert verdict.bytes == 200
    assert verdict.wrong_bytes == 0
    assert abs(verdict.cycle_error) < MEETING


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("batch", [1, 3])
def test_random_schedules__equal_the_reference(
    seed: int, batch: int, max_lenet: Path, average_lenet: Path, tmp_path: Path
) -> None:
    model = max_lenet if seed % 2 else average_lenet
    chip = SMALL if seed % 4 < 2 else "cgra512"
    emitted(model, chip, batch, seed, tmp_path / "e")
    verdict = verify(tmp_path / "e", 2 * batch, seed)
    assert verdict.wrong_bytes == 0
    assert abs(verdict.cycle_error) < MEETING_MORE.get((seed, batch), MEETING)


def test_verify_script__fails_on_wrong_weights(on_default_chip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    _copy(on_default_chip, broken)
    memory = bytearray((broken / "memory.bin").read_bytes())
    weights = np.flatnonzero(np.frombuffer(memory, np.uint8))
    for position in weights[len(weights) // 2 :][:2000]:
        memory[position] ^= 0x55
    (broken / "memory.bin").write_bytes(memory)
    assert _script(broken).returncode == 2  # the files are not those of the manifest
    manifest = read_manifest(broken)
    del manifest["files"]["memory.bin"]
    (broken / "manifest.json").write_text(json.dumps(manifest))
    result = _script(broken)
    assert result.returncode == 1, result.stderr
    assert _script(on_default_chip).returncode == 0


def test_verify__refuses_unusable_folders(on_default_chip: Path, tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match=r"no manifest\.json"):
        verify(tmp_path, 1)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(VerifyError, match="damaged"):
        verify(tmp_path, 1)
    (tmp_path / "manifest.json").write_text('{"version": 0}')
    with pytest.raises(VerifyError, match="another version"):
        verify(tmp_path, 1)
    with pytest.raises(VerifyError, match="images have shape"):
        verify(on_default_chip, 1, images=np.zeros((1, 1, 8, 8), np.float32))


def test_harness__stops_a_chip_that_does_not_end(on_default_chip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    _copy(on_default_chip, broken)
    words = np.fromfile(broken / "program.bin", np.uint64)
    manifest = read_manifest(broken)
    waits = [int(w) for w in words[-wait_words(len(manifest["units"])) :]]
    waits[-1] += 1  # the end waits for a command that never comes
    words[-len(waits) - 1 :] = [header(END_UNIT, waits), *waits]
    words.tofile(broken / "program.bin")
    del manifest["files"]["program.bin"]
    (broken / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(VerifyError, match="does not end"):
        verify(broken, 1)


def _copy(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target)


def _script(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "verify.py"), str(folder), "--images", "2"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _schedule_file(model: Path, folder: Path) -> None:
    """The schedule that takes the first legal RUN each time."""
    problem = Problem(from_onnx(model))
    state, actions = problem.initial(), []
    while not state.finished:
        actions.append(next(a for a in problem.legal_actions(state) if a >= MAX_SLOTS))
        state = problem.apply(state, actions[-1])
    schedule = Schedule.of(problem, state, tuple(actions), str(model), "first", 0)
    save_schedule(schedule, problem, state, folder / "schedule.json")


def test_emit_script__emits_what_verify_accepts(max_lenet: Path, tmp_path: Path) -> None:
    _schedule_file(max_lenet, tmp_path)
    output = tmp_path / "e"
    result = _emit(tmp_path, "--output", str(output), "--weights", str(max_lenet))
    assert result.returncode == 0, result.stderr
    verdict = verify(output, 1)
    assert verdict.wrong_bytes == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not a fragenv-schedule file"),
        ({"version": 7}, "of version 7"),
        ({"chip": {"name": "nothing"}}, "missing"),
        ({"actions": [0]}, "illegal"),
        ({"actions": []}, "ends before the last operator"),
        ({"model": "squeezenet"}, "does not belong"),
        ({"latency_cycles": 1}, "other results"),
    ],
)
def test_emit_script__refuses_bad_schedules(
    changes: dict[str, object], message: str, max_lenet: Path, tmp_path: Path
) -> None:
    _schedule_file(max_lenet, tmp_path)
    path = tmp_path / "schedule.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}))
    result = _emit(tmp_path, "--output", str(tmp_path / "e"))
    assert result.returncode == 2
    assert message in result.stderr
    assert not (tmp_path / "e").exists()


def _emit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "emit.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
