"""Windows, strides, paddings, dilations, wide rows and both pools through the emitted RTL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lenet_case import SMALL, any_schedule, few_circuits, random_numbers

from fragenv.graph.dataflow import DataflowGraph, Tensor
from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.models.load import load_graph
from fragenv.models.parameters import MacParameters, Quantisation, TensorScale
from fragenv.rtl.emit import emit, write
from fragenv.rtl.errors import EmitError
from fragenv.schedule.lower import lower
from fragenv.schedule.problem import Problem
from fragenv.schedule.program import Role
from fragenv.verify.build import Design, cells_folder, lint
from fragenv.verify.reference import evaluate
from fragenv.verify.run import lint_emission, simulate_emission

pytestmark = pytest.mark.rtl
Pair = tuple[int, int]


class _Chain:
    """Builds a chain of operators with random numbers."""

    def __init__(self, seed: int, shape: tuple[int, int, int]) -> None:
        self.rng = np.random.default_rng(seed)
        self.operators: list[Operator] = []
        self.tensors = {"x": Tensor("x", shape)}
        self.last = "x"
        self.scales = {"x": self._scale()}
        self.macs: dict[str, MacParameters] = {}

    def _scale(self) -> TensorScale:
        return TensorScale(float(self.rng.uniform(0.01, 0.1)), int(self.rng.integers(-60, 60)))

    def _add(
        self,
        kind: OpKind,
        nest: LoopNest,
        shape: tuple[int, ...],
        scale: TensorScale | None,
        **attributes: float,
    ) -> None:
        name = f"{kind}{len(self.operators)}"
        weights = nest.k * (nest.c // nest.groups) * nest.r * nest.s
        mac = kind in (OpKind.CONV, OpKind.GEMM)
        op = Operator(
            name,
            kind,
            nest,
            (self.last,),
            f"t{len(self.operators)}",
            weights if mac else 0,
            4 * nest.k if mac else 0,
            tuple(sorted(attributes.items())),
        )
        self.operators.append(op)
        self.tensors[op.output] = Tensor(op.output, shape)
        self.scales[op.output] = scale or self.scales[self.last]
        self.last = op.output

    def window(
        self,
        kind: OpKind,
        k: int,
        kernel: Pair,
        stride: Pair = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: Pair = (1, 1),
    ) -> None:
        c, h, w = self.tensors[self.last].shape
        extent = [(n - 1) * d + 1 for n, d in zip(kernel, dilation, strict=True)]
        p = (h + padding[0] + padding[2] - extent[0]) // stride[0] + 1
        q = (w + padding[1] + padding[3] - extent[1]) // stride[1] + 1
        nest = LoopNest(k, c, p, q, *kernel, h, w, stride, padding, dilation)
        keeps = kind is OpKind.MAXPOOL
        scale = None if keeps else self._scale()
        attributes = {"count_include_pad": 1.0} if kind is OpKind.AVGPOOL else {}
        self._add(kind, nest, (k, p, q), scale, **attributes)
        if kind is OpKind.CONV:
            self._parameters(k, (c, *kernel))

    def gemm(self, k: int) -> None:
        c = self.tensors[self.last].bytes
        self._add(OpKind.GEMM, LoopNest(k, c), (k,), self._scale())
        self._parameters(k, (c, 1, 1))

    def _parameters(self, k: int, shape: tuple[int, int, int]) -> None:
        weight = self.rng.integers(-127, 128, (k, *shape), dtype=np.int8)
        bias = self.rng.integers(-2000, 2000, k, dtype=np.int32)
        op = self.operators[-1]
        spread = self.scales[op.inputs[0]].scale * 70 * 75 * np.sqrt(np.prod(shape))
        scale = self.scales[op.output].scale * 40 / spread * self.rng.uniform(0.7, 1.4, k)
        self.macs[op.name] = MacParameters(weight, bias, scale)

    def relu(self) -> None:
        shape = self.tensors[self.last].shape
        nest = self.operators[-1].nest
        self._add(OpKind.RELU, LoopNest(nest.k, nest.k, nest.p, nest.q), shape, None)

    def clip(self, low: float, high: float) -> None:
        shape = self.tensors[self.last].shape
        nest = self.operators[-1].nest
        flat = LoopNest(nest.k, nest.k, nest.p, nest.q)
        self._add(OpKind.CLIP, flat, shape, None, min=low, max=high)

    def graph(self) -> DataflowGraph:
        return DataflowGraph("chain", self.operators, self.tensors, ["x"], [self.last])

    def numbers(self) -> Quantisation:
        return Quantisation(self.scales, self.macs)


def _network(seed: int, averages: bool) -> _Chain:
    chain = _Chain(seed, (3, 11, 300))  # rows longer than the accumulators
    chain.window(OpKind.CONV, 5, (3, 3), padding=(1, 1, 1, 1))
    chain.relu()
    chain.window(OpKind.MAXPOOL, 5, (3, 3), (2, 2), (1, 1, 1, 1))
    chain.window(OpKind.CONV, 19, (3, 5), (2, 3), (2, 0, 1, 4))
    chain.clip(-0.5, 1.5)
    chain.window(OpKind.CONV, 8, (3, 3), padding=(2, 2, 2, 2), dilation=(2, 2))
    chain.window(OpKind.AVGPOOL, 8, (2, 3), (1, 2), (1, 1, 0, 0))
    chain.window(OpKind.CONV, 33, (1, 1), (2, 2))
    if not averages:
        return chain
    chain.relu()
    chain.window(OpKind.GLOBALAVG, 33, chain.tensors[chain.last].shape[1:])  # type: ignore[arg-type]
    chain.gemm(7)
    return chain


@pytest.mark.parametrize(("seed", "batch"), [(0, 1), (1, 2)])
def test_every_kind__equals_the_reference(seed: int, batch: int, tmp_path: Path) -> None:
    averages = batch > 1
    chain = _network(seed, averages)
    problem = Problem(chain.graph(), SMALL, batch)
    program = lower(problem, any_schedule(problem, seed))
    emission = emit(problem, program, chain.numbers())
    write(emission, tmp_path / "e")
    x = np.random.default_rng(seed).integers(-128, 128, (2 * batch, 3, 11, 300), dtype=np.int8)
    simulation = simulate_emission(tmp_path / "e", {"x": x})
    expected = evaluate(chain.graph(), chain.numbers(), {"x": x})
    found = simulation.outputs[chain.last]
    assert np.array_equal(found, expected[chain.last])
    assert len(np.unique(found)) > (2 if averages else 40)  # not saturated
    predicted = emission.manifest["predicted_cycles"]
    assert abs(max(simulation.cycles) / predicted - 1) < 0.05


def test_emitted_alexnet__is_lint_clean_and_elaborates(tmp_path: Path) -> None:
    problem = Problem(load_graph("alexnet"))
    emission = emit(problem, lower(problem, few_circuits(problem)), None)
    write(emission, tmp_path / "e")
    assert lint_emission(tmp_path / "e") == ""


@pytest.mark.parametrize("lanes", [(1, 1), (3, 2), (7, 64)])
def test_every_cell__is_lint_clean(lanes: tuple[int, int]) -> None:
    folder = cells_folder()
    sources = tuple(sorted(folder.glob("*.sv")))
    for array, pool in ((1, 1), (1, 0), (0, 1)):
        parameters = {"LanesIn": lanes[0], "LanesOut": lanes[1], "HasArray": array, "HasPool": pool}
        assert lint(Design("fe_fragment", sources, (folder,), parameters)) == ""
    for source in sources:
        assert lint(Design(source.stem, sources, (folder,))) == ""


def test_lint__reports_what_is_wrong(tmp_path: Path) -> None:
    text = "module bad(input wire [3:0] a, output wire b);\nassign b = a;\nendmodule\n"
    (tmp_path / "bad.sv").write_text(text)
    assert "WIDTH" in lint(Design("bad", (tmp_path / "bad.sv",), ()))


@pytest.mark.slow
def test_whole_alexnet__equals_the_reference(tmp_path: Path) -> None:
    graph = load_graph("alexnet")
    problem, numbers = Problem(graph), random_numbers(graph, 0)
    emission = emit(problem, lower(problem, few_circuits(problem)), numbers)
    write(emission, tmp_path / "e")
    rng = np.random.default_rng(0)
    x = {graph.inputs[0]: rng.integers(-128, 128, (1, 3, 224, 224), dtype=np.int8)}
    simulation = simulate_emission(tmp_path / "e", x)
    expected = evaluate(graph, numbers, x)
    for name, found in simulation.outputs.items():
        assert np.array_equal(found, expected[name])
        assert len(np.unique(found)) > 20
    predicted = emission.manifest["predicted_cycles"]
    assert abs(simulation.cycles[0] / predicted - 1) < 0.01


def test_emit__refuses_rows_that_are_not_there() -> None:
    chain = _network(0, False)
    problem = Problem(chain.graph(), SMALL)
    program = lower(problem, any_schedule(problem, 0))
    index = next(c.id for c in program.commands if c.role is Role.INPUT)
    commands = list(program.commands)
    first, last = commands[index].rows
    commands[index] = commands[index]._replace(rows=(first, last - 1))
    with pytest.raises(EmitError, match="overwritten before it is used"):
        emit(problem, replace(program, commands=tuple(commands)), chain.numbers())
