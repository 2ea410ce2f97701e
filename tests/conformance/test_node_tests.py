"""ONNX's own node tests through importer, parameters and integer reference."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import onnx
import pytest
from compare import assert_conforms
from equivalents import as_given, equivalents
from excluded import EXCLUDED, RUN, exclusion_of
from node_tests import SUPPORTED, NodeTest, node_tests
from on_chip import on_chip

from fragenv.errors import ModelError
from fragenv.graph.from_onnx import from_onnx
from fragenv.models.parameters import load_parameters
from fragenv.verify.reference import evaluate

LEFT_OUT = tuple(name for name in node_tests() if exclusion_of(name) is not None)


@pytest.mark.parametrize("name", RUN)
def test_node_test__reference(name: str, tmp_path: Path) -> None:
    for case in equivalents(node_tests()[name]):
        chip = on_chip(case, tmp_path)
        result = evaluate(chip.graph, chip.numbers, chip.inputs)
        assert_conforms(chip, result[chip.output])


@pytest.mark.parametrize("name", LEFT_OUT)
def test_excluded_test__is_refused(name: str, tmp_path: Path) -> None:
    """Nothing that is left out here gets numbers for the chip, and nothing fails unclearly."""
    exclusion = exclusion_of(name)
    assert exclusion is not None
    path = _saved(node_tests()[name], tmp_path)
    with pytest.raises(ModelError) as caught:
        graph = from_onnx(path)
        assert not exclusion.refusal, "the importer takes it"
        load_parameters(path, graph)
    assert re.search(exclusion.refusal, str(caught.value))


def _saved(test: NodeTest, folder: Path) -> Path:
    """The test as it is, its weights as initialisers where they are tensors."""
    path = folder / "node.onnx"
    tensors = all(v.dtype != object for v in (*test.inputs.values(), *test.expected))
    onnx.save(as_given(test).model() if tensors else test.model, path)
    return path


def test_node_tests__there_are_some_of_every_supported_operator() -> None:
    """No supported operator is without a test, and no test is lost between the two tables."""
    operators = {test.operator for test in node_tests().values()}
    assert operators == SUPPORTED
    assert len(RUN) + len(LEFT_OUT) == len(node_tests())
    assert len(RUN) >= 100


def test_exclusions__each_is_needed_and_no_test_has_two() -> None:
    for line in EXCLUDED:
        assert any(fnmatchcase(name, line.pattern) for name in node_tests()), line.pattern
    for name in LEFT_OUT:
        matching = [line.pattern for line in EXCLUDED if fnmatchcase(name, line.pattern)]
        assert len(matching) == 1, name
