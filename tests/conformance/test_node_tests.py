"""ONNX's own node tests through importer, parameters, integer reference and emitted RTL."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from compare import assert_conforms
from equivalents import as_given, equivalents
from excluded import EXCLUDED, Exclusion, exclusion_of
from node_tests import SUPPORTED, node_tests
from on_chip import on_chip

from fragenv.errors import ModelError
from fragenv.graph.from_onnx import from_onnx
from fragenv.verify.reference import evaluate

RUN = [name for name in node_tests() if exclusion_of(name) is None]


@pytest.mark.parametrize("name", RUN)
def test_node_test__reference(name: str, tmp_path: Path) -> None:
    for case in equivalents(node_tests()[name]):
        chip = on_chip(case, tmp_path)
        result = evaluate(chip.graph, chip.numbers, chip.inputs)
        assert_conforms(chip, result[chip.output])
