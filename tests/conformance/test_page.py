"""The page of the documentation is the one that the tests give."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from page import page

PAGE = Path(__file__).parent.parent.parent / "docs" / "conformance.md"


def test_page__is_up_to_date() -> None:
    written = PAGE.read_text("utf-8")
    if f"onnx {onnx.__version__}\n" not in written:
        pytest.skip("the page is of another version of onnx, which has other tests")
    assert written == page(), "run: python scripts/conformance.py --output docs/conformance.md"
