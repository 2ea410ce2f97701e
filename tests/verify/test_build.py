"""Builds: what the paths of a design may be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fragenv.verify.build import QUICK, Design, build

HARNESS = """
#include "Vmodel.h"
double sc_time_stamp() { return 0; }
int main() { Vmodel model; model.a = 2; model.eval(); return model.b; }
"""


@pytest.mark.rtl
def test_build__takes_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the folder's name makes the source new: nothing comes from the cache
    source = f"// {tmp_path}\nmodule top(input [7:0] a, output [7:0] b);\n"
    source += "  part u_part(.a(a), .b(b));\nendmodule\n"
    part = "module part(input [7:0] a, output [7:0] b);\n  assign b = a + 8'd3;\nendmodule\n"
    monkeypatch.chdir(tmp_path)
    Path("top.sv").write_text(source)
    Path("part.sv").write_text(part)
    Path("main.cpp").write_text(HARNESS)
    sources = (Path("top.sv"), Path("part.sv"))
    model = build(Design("top", sources, (Path(),)), [Path("main.cpp")], QUICK)
    assert subprocess.run([str(model)], check=False).returncode == 5
