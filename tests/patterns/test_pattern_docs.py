"""The examples of docs/patterns.md run and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "patterns.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_docs__examples_print_what_their_comments_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(EXAMPLES) == 3
    for example in EXAMPLES:
        exec(compile(example, "docs/patterns.md", "exec"), {})
        printed = capsys.readouterr().out
        for comment in re.findall(r"^print.*  # (.*)$", example, re.MULTILINE):
            assert comment.split(" passes")[0] in printed
