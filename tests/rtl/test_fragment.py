"""fe_fragment as a whole: chains of records in one buffer, with additions, against plain loops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from arithmetic import added, random_addition, random_limits, requantised
from cell import Cell
from convolution import Convolution, Lanes, random_convolution, random_runs
from ports import Ports, Reader, Writer
from test_lrn import Constants
from test_pool_stage import lrn_case
from windows import (
    RESIDUAL_BITS,
    RUN_BITS,
    SOURCE_BITS,
    Array,
    Ring,
    Space,
    Windows,
    random_windows_over,
    record,
    run_target,
    sources_record,
)

from fragenv.rtl import isa

pytestmark = pytest.mark.rtl
PIXELS = 16
PARTS = 2
Fields = dict[str, int]


class Fragment:
    """The cell with its ports."""

    def __init__(self, lanes: Lanes, pixels: int = PIXELS, parts: int = PARTS, **has: int) -> None:
        self.lanes, self.parts = lanes, parts
        widest = max(lanes.inputs, lanes.outputs)
        self.x = Reader("x_read", widest, "x_data_i", "x_valid_i", counted=True)
        self.w = Reader("w_read", lanes.outputs, "w_data_i", "w_valid_i")
        self.r = Reader("r_read", lanes.outputs, "r_data_i", "r_valid_i")
        self.writer = Writer(lanes.outputs, watched=True)
        self.ports = (self.x, self.w, self.r, self.writer)
        inputs = {**dict.fromkeys(("clk_i", "rst_ni", "start_i"), 1)}
        inputs["record_i"] = RUN_BITS + parts * SOURCE_BITS + RESIDUAL_BITS
        outputs = {"done_o": 1}
        for port in self.ports:
            inputs |= port.inputs()
            outputs |= port.outputs()
        self.cell = Cell(
            "fe_fragment",
            inputs,
            outputs,
            LanesIn=lanes.inputs,
            LanesOut=lanes.outputs,
            Pixels=pixels,
            Parts=parts,
            RunBits=RUN_BITS,
            SourceBits=SOURCE_BITS,
            ResidualBits=RESIDUAL_BITS,
            **has,
        )

    def on(self, memory: np.ndarray, seed: int) -> Ports:
        return Ports(self.cell, memory, (self.x, self.w, self.r), self.writer, seed)

    def follow(self, ports: Ports, run: Fields, sources: list[Fields], residual: Fields) -> int:
        """One record: cycles from start_i to done_o."""
        value = record(isa.RUN_FIELDS, run) | sources_record(sources) << RUN_BITS
        value |= record(isa.RESIDUAL_FIELDS, residual) << (RUN_BITS + self.parts * SOURCE_BITS)
        first = ports.cycle
        ports.settle(start_i=1, record_i=value)
        ports.tick()
        while not ports.stuck:
            ports.settle(start_i=0)
            done, cycles = self.cell.get("done_o"), ports.cycle - first
            ports.tick()
            if done:
                return cycles
        raise AssertionError("it is stuck")


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor (frames, rows, columns, channels) that lies in the buffer."""

    ring: Ring
    values: Array


class Chain:
    """Records one after the other in one buffer; each takes its input from the one before."""

    def __init__(self, fragment: Fragment, case: int, residuals: bool) -> None:
        self.fragment, self.residuals = fragment, residuals
        self.rng = np.random.default_rng(case)
        self.space = Space(120000, self.rng)
        self.ports = fragment.on(self.space.memory, case)
        for port in fragment.ports:
            port.stalls = float(self.rng.choice([0.0, 0.3, 0.8]))

    def convolution(self, convolution: Convolution) -> Tensor:
        rng, space = self.rng, self.space
        rings = tuple(convolution.windows.store(space, x) for x in convolution.inputs)
        runs = random_runs(rng, convolution, self.fragment.lanes, PIXELS)
        w_base = space.put(b"".join(convolution.stream(runs[0].lanes)))
        sums = convolution.sums()
        constants = np.array([convolution.constants(k) for k in range(convolution.k)], object)
        limits = random_limits(rng)
        target, residual, values = self._finish(sums, constants, limits)
        for run in runs:
            sources = run.source_fields(rings)
            first = run.groups()[0][0]
            fields = run.fields(sources, w_base) | limits | run_target(target, 0, first)
            shifted = residual | {"base": residual.get("base", 0) + first}
            self.fragment.follow(self.ports, fields, sources, shifted)
        return self._check(target, values)

    def pool(self, x: Tensor) -> Tensor:
        rng = self.rng
        windows = random_windows_over(rng, *x.values.shape[:3])
        op = int(rng.choice([isa.OP_MAX, isa.OP_SUM]))
        pad, channels = int(rng.integers(-128, 128)), x.values.shape[3]
        elements = windows.elements(x.values, pad)
        results = elements.max(axis=(3, 4)) if op == isa.OP_MAX else elements.sum(axis=(3, 4))
        bias, multiplier = int(rng.integers(-500, 500)), int(rng.integers(2**23, 2**24))
        shift = int(rng.integers(22, 27))
        constants = np.full(channels, bias & 0xFFFFFFFF | multiplier << 32 | shift << 56, object)
        run = windows.run_fields() | {"op": op, "pad_value": pad, "shift": shift}
        run |= {"bias": bias, "multiplier": multiplier}
        return self._window(run, windows.source_fields(x.ring), results, constants)

    def normalise(self, x: Tensor) -> Tensor:
        rng = self.rng
        frames, rows, cols, _ = x.values.shape
        one = (1, 1)
        windows = Windows(frames, rows, cols, one, one, (0, 0), one, (0, rows), (0, cols))
        constants = Constants(int(rng.integers(1, 2**30)), int(rng.integers(0, 2**17)), 20 << 20)
        run, source, middle, words = lrn_case(rng, windows, x.ring, x.values, constants)
        return self._window(run, source, middle, words)

    def _window(self, run: Fields, source: Fields, sums: Array, constants: Array) -> Tensor:
        """A record of the pool stage."""
        limits, channels = random_limits(self.rng), int(sums.shape[3])
        target, residual, values = self._finish(sums, constants, limits)
        run |= dict.fromkeys(("out_channels", "done_channels"), channels)
        run |= dict.fromkeys(("group_channels", "first_left"), channels)
        run |= limits | run_target(target, 0)
        self.fragment.follow(self.ports, run, [source], residual)
        return self._check(target, values)

    def _finish(self, sums: Array, constants: Array, limits: Fields) -> tuple[Ring, Fields, Array]:
        """Where the outputs go, the residual's record and the values that they must have."""
        rng, shape = self.rng, sums.shape
        values = np.zeros(shape, np.int64)
        words = np.broadcast_to(constants, shape)
        for index in np.ndindex(shape):
            values[index] = requantised(int(sums[index]), int(words[index]), limits)
        target, residual = self.space.ring(*shape), {}
        if self.residuals and rng.integers(0, 2):
            other = self.space.ring(*shape)
            b = rng.integers(-128, 128, shape)
            self.space.fill(other, b, (0, shape[1]))
            residual = random_addition(rng)
            for index in np.ndindex(shape):
                values[index] = added(residual, int(values[index]), int(b[index]))
            residual |= other.target(0)
        return target, residual, values

    def _check(self, target: Ring, values: Array) -> Tensor:
        assert np.array_equal(self.space.read(target, values.shape, 0), values)
        return Tensor(target, values)


def test_fragment__chains_of_records_under_stalls() -> None:
    fragment = Fragment(Lanes(3, 4), HasLrn=1)
    for case in range(60):
        chain = Chain(fragment, case, residuals=True)
        kind = ("plain", "parts", "grouped", "depthwise")[case % 4]
        x = chain.convolution(random_convolution(chain.rng, kind, PARTS, 7))
        x = chain.pool(x)
        if case % 3 == 0:
            x = chain.normalise(x)
        if case % 5 == 0:
            chain.pool(x)
        chain.convolution(random_convolution(chain.rng, "plain"))


@pytest.mark.parametrize("array", [True, False])
def test_fragment__of_one_stage(array: bool) -> None:
    """Circuits without the other stage and without additions."""
    lanes = Lanes(2, 3) if array else Lanes(1, 3)
    has = {"HasArray": int(array), "HasPool": int(not array), "HasResidual": 0}
    fragment = Fragment(lanes, parts=1, **has, HasDepthwise=0)
    for case in range(20):
        chain = Chain(fragment, case, residuals=False)
        if array:
            chain.convolution(random_convolution(chain.rng, "plain"))
            continue
        shape = tuple(int(v) for v in chain.rng.integers(1, 6, 4))
        values = chain.rng.integers(-128, 128, shape)
        ring = chain.space.ring(*shape)
        chain.space.fill(ring, values, (0, shape[1]))
        chain.pool(chain.pool(Tensor(ring, values)))
