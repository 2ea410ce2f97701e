"""Names from models: whatever they are, the emitted Verilog is legal."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fragenv.graph.dataflow import DataflowGraph
from fragenv.models.load import load_graph
from fragenv.rtl.emit import emit_folder
from fragenv.rtl.names import (
    MAX_LENGTH,
    RESERVED,
    comment_text,
    identifier,
    unique_identifiers,
)
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.verify.build import Design, lint
from fragenv.verify.run import lint_emission

NASTY = (
    *("", " ", "_", "0", "42nd", "a" * 10_000, "a" * 9_999, "A" * 10_000, "'", '"', '\\"', "\\"),
    *(
        "a\nendmodule",
        "endmodule",
        "a\r\n`define x y",
        "`include",
        "*/",
        "/* verilator lint_off */",
    ),
    *(
        "// synopsys translate_off",
        "{braces}",
        "{{}}",
        "%s%n",
        "$display",
        "naïve",
        "层/1",
        "\u202e",
    ),
    *("\x00", "\ud800", "İ", "Conv", "CONV", "conv", "conv_2", "a/b", "a.b", "a\\b", "module "),
)
LEGAL = re.compile(r"[a-z_][a-z0-9_]*")


def _check(names: list[str]) -> None:
    found = unique_identifiers(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(found)
    for text in found.values():
        assert LEGAL.fullmatch(text), text
        assert text not in RESERVED
        assert len(text) <= MAX_LENGTH


@given(st.lists(st.text() | st.sampled_from([*NASTY, *sorted(RESERVED)])))
def test_names__are_legal_and_unique(names: list[str]) -> None:
    _check(names)


def test_names__all_nasty_ones_together() -> None:
    _check([*NASTY, *RESERVED, *(word.upper() for word in RESERVED)])


def test_names__stay_unique_in_great_numbers() -> None:
    _check([*(chr(0x4E00 + i) for i in range(5000)), *("b" * 100 + str(i) for i in range(5000))])


def test_names__keep_what_is_legal() -> None:
    assert identifier("layer1_conv2") == "layer1_conv2"
    assert identifier("/features/0/Conv") == "features_0_conv"
    assert [identifier(word) for word in ("output", "uwire", "1step", "unique0")] == [
        *("n_output", "n_uwire", "n_1step", "n_unique0")
    ]


@given(st.text() | st.sampled_from(NASTY))
def test_comments__stay_comments(name: str) -> None:
    text = comment_text(name)
    assert len(text) <= MAX_LENGTH
    assert text.isascii() and (text.isprintable() or not text)
    assert not set(text) & set("*`\\\"'{}$@;()")


@pytest.mark.rtl
def test_names__are_accepted_by_verilator(tmp_path: Path) -> None:
    names = list(unique_identifiers([*NASTY, *RESERVED]).values())
    ports = ",\n".join(f"  input wire {name}" for name in names)
    comments = "\n".join(f"// {comment_text(name)}" for name in NASTY)
    (tmp_path / "top.sv").write_text(
        f"module top (\n{ports},\n  output wire all_o\n);\n{comments}\n"
        f"  assign all_o = ^{{{', '.join(names)}}};\nendmodule\n"
    )
    assert lint(Design("top", (tmp_path / "top.sv",), ())) == ""


def _renamed(graph: DataflowGraph) -> DataflowGraph:
    """The same network with nasty names of operators and tensors, and a nasty title."""
    names = [*NASTY, *sorted(RESERVED)]
    tensors = {old: f"{names[-1 - i]}{i}" for i, old in enumerate(graph.tensors)}
    operators = [
        replace(
            op, name=name, inputs=tuple(tensors[t] for t in op.inputs), output=tensors[op.output]
        )
        for op, name in zip(graph.operators, names, strict=False)
    ]
    return DataflowGraph(
        "net\nendmodule */ `include \\\n\ud800",
        operators,
        {tensors[old]: replace(t, name=tensors[old]) for old, t in graph.tensors.items()},
        [tensors[t] for t in graph.inputs],
        [tensors[t] for t in graph.outputs],
    )


@pytest.mark.rtl
def test_emission__of_a_network_with_nasty_names_is_lint_clean(tmp_path: Path) -> None:
    plain = load_graph("lenet")
    chip = Problem(plain, "cgra512").chip
    texts = []
    for graph, name in ((plain, "plain"), (_renamed(plain), "\n*/ endmodule `chip\\")):
        problem = Problem(graph, replace(chip, name=name))
        state = problem.initial()
        while not state.finished:
            after = (problem.apply(state, a) for a in problem.legal_actions(state))
            state = next(s for s in after if s.tasks_left < state.tasks_left)
        emission = emit_folder(problem, lower(problem, state), None, tmp_path / str(len(texts)))
        texts.append([line for line in emission.top.splitlines() if not line.startswith("//")])
    assert texts[0] == texts[1]
    assert lint_emission(tmp_path / "1") == ""
