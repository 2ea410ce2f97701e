"""Tables, tools that are missing, commands that are used wrongly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fragenv.hardware.resources import Resources
from fragenv.synth import tools
from fragenv.synth.place import Placement
from fragenv.synth.report import Row, as_json, as_markdown

ROOT = Path(__file__).parents[2]


def test_table__shows_how_far_a_prediction_is_off() -> None:
    placement = Placement(91.26, "a", "b", 88.04, 3)
    rows = [
        Row(0, "whole", Resources(1100, 10, 7, 0), Resources(1000, 20, 7, 0), placement),
        Row(1, "whole", Resources(5, 5, 5, 5), Resources(5, 5, 5, 5)),
    ]
    text = as_markdown(rows)
    assert "| LUT | FF | DSP | block RAM | MHz routed | after placement | seed |" in text
    assert "| 0 | whole | 1,100 / 1,000 (+10%) | 10 / 20 (-50%) | 7 | 0 | 91.3 | 88.0 | 3 |" in text
    assert "| 1 | whole | 5 | 5 | 5 | 5 |  |  |  |" in text
    estimated = Row(0, "whole", None, rows[1].found, Placement(70.5, "a", "b", 70.5, 1, False))
    assert "| not routed | 70.5 | 1 |" in as_markdown([estimated])
    assert as_json(rows)[0]["found"] == {"lut": 1000, "ff": 20, "dsp": 7, "sram": 0}


def test_tools__a_missing_one_says_what_to_install() -> None:
    with pytest.raises(tools.SynthesisError, match=r"no never found; run: pip install"):
        tools._find(("never-there", "never"), "-V", "pip install 'fragenv[synth]'")


def test_script__refuses_a_folder_that_is_no_emission(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "synth.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 2
    assert "no manifest.json" in result.stderr or "pip install" in result.stderr
