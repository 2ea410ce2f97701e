"""What ``docs/conformance.md`` says: counts per operator, and every exclusion with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import onnx
from equivalents import equivalents
from excluded import EXCLUDED, RUN, exclusion_of
from node_tests import node_tests

_HEAD = """\
# Conformance with ONNX's node tests

The `onnx` package ships tests that others wrote: one operator, its inputs, its expected outputs.
Every test of an operator that the importer knows either runs or stands in the table of exclusions
(`tests/conformance/excluded.py`); a test sees to it. What runs goes through

1. the importer, the parameters and the integer reference (`test_node_tests.py`),
2. the emitted Verilog, all tests side by side in one simulated chip (`test_node_tests_rtl.py`):
   the same bytes as the reference, and the same comparison with the expected outputs.

Integer tests are compared exactly; the chip rounds halves up where ONNX rounds them to even, so a
difference of one is allowed where the exact value is half-way. Float tests are quantised with
their own input as calibration and compared within the error that the steps of input, weight and
output can cause (`compare.py` has the bound). How a test becomes a model of the chip, with
constant weights and int8 outputs, is said in `equivalents.py`.

    pytest tests/conformance          # both levels
    python scripts/conformance.py     # prints this page
"""


def page() -> str:
    """The page, in Markdown."""
    tests = node_tests()
    total = Counter(test.operator for test in tests.values())
    run = Counter(tests[name].operator for name in RUN)
    models = Counter(tests[name].operator for name in RUN for _ in equivalents(tests[name]))
    rows = [
        (operator, count, run[operator], models[operator], count - run[operator])
        for operator, count in sorted(total.items())
    ]
    rows.append(("all", *(sum(row[i] for row in rows) for i in range(1, 5))))
    counts = _table(("operator", "tests", "run", "models made of them", "excluded"), rows)
    reasons = _table(("tests", "number", "reason"), _exclusions())
    return (
        f"{_HEAD}\n## Tests of onnx {onnx.__version__}\n\n{counts}\n"
        "## Exclusions\n\nThe importer or the reader of scales refuses every one of these files "
        f"with a message that names the node.\n\n{reasons}"
    )


def _exclusions() -> Iterable[Sequence[object]]:
    left_out = [name for name in node_tests() if exclusion_of(name) is not None]
    for line in EXCLUDED:
        count = sum(fnmatchcase(name, line.pattern) for name in left_out)
        yield f"`{line.pattern}`", count, line.reason


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown; numbers stand right."""
    body = list(rows)
    rule = ["---:" if isinstance(cell, int) else "---" for cell in body[0]]
    lines = [head, rule, *body]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
