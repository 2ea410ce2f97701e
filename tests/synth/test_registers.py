"""Registers in multipliers: the same values, cycle by cycle, as beside them."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
import pytest

from fragenv.synth.registers import absorb_registers

CLOCK = 2
#: nets of the inputs: two operands of 8 bits, four enables
X, W, ENABLES = range(10, 18), range(20, 28), range(30, 34)


class Netlist:
    """A module of Yosys' JSON, made cell by cell; the inputs above drive it."""

    def __init__(self) -> None:
        inputs = [CLOCK, *X, *W, *ENABLES]
        self.module: dict[str, Any] = {"ports": {"in": {"direction": "input", "bits": inputs}}}
        self.module["cells"] = {}
        self.nets = 100

    def new(self, count: int) -> list[int]:
        self.nets += count
        return list(range(self.nets - count, self.nets))

    def registers(
        self, data: list[int], enable: int | None = None, reset: int | str = "0"
    ) -> list[int]:
        out = self.new(len(data))
        for d, q in zip(data, out, strict=True):
            settings = {"CEMUX": "1 " if enable is None else "CE", "CLKMUX": "CLK"}
            nets = {"CLK": [CLOCK], "DI": [d], "LSR": [reset], "Q": [q]}
            if enable is not None:
                nets["CE"] = [enable]
            self._add("TRELLIS_FF", settings | {"REGSET": "RESET"}, nets, "Q")
        return out

    def multiplier(self, a: list[int], b: list[int]) -> list[int]:
        """Signed operands of 8 bits; the 16 bits of the product that matter."""
        out = self.new(16)
        nets: dict[str, list[int | str]] = {}
        for i in range(18):
            nets[f"A{i}"], nets[f"B{i}"] = [a[min(i, 7)]], [b[min(i, 7)]]
        for i in range(36):
            nets[f"P{i}"] = [out[i]] if i < 16 else []
        self._add("MULT18X18D", {}, nets, "P")
        return out

    def output(self, name: str, bits: list[int]) -> None:
        self.module["ports"][name] = {"direction": "output", "bits": bits}

    def _add(
        self, kind: str, parameters: dict[str, str], nets: dict[str, Any], output: str
    ) -> None:
        directions = {p: "output" if p.startswith(output) else "input" for p in nets}
        self.module["cells"][f"{kind}_{len(self.module['cells'])}"] = {
            "type": kind,
            "parameters": parameters,
            "port_directions": directions,
            "connections": nets,
        }


class Simulation:
    """Values of all nets in a cycle, and what registers hold, those in multipliers too."""

    def __init__(self, module: dict[str, Any]) -> None:
        cells = module["cells"].values()
        self.registers = [c for c in cells if c["type"] == "TRELLIS_FF"]
        self.multipliers = [c for c in cells if c["type"] == "MULT18X18D"]
        #: by cell and place
        self.held = {(id(c), place): 0 for c in cells for place in ("Q", "INPUTA", "INPUTB")}
        self.held |= {(id(c), "OUTPUT"): 0 for c in cells}
        self.value: dict[Any, int] = {}

    def cycle(self, inputs: dict[Any, int]) -> None:
        """The nets' values from the inputs and what is held."""
        self.value = {"0": 0, "1": 1} | inputs
        for cell in self.registers:
            self.value[cell["connections"]["Q"][0]] = self.held[id(cell), "Q"]
        for _ in self.multipliers:  # the operand of one may be the product of another
            for cell in self.multipliers:
                product = self._inside(cell, "OUTPUT", self._product(cell))
                for i in range(36):
                    for net in cell["connections"][f"P{i}"]:
                        self.value[net] = product >> i & 1

    def edge(self) -> None:
        """What is held after the clock's edge."""
        after = dict(self.held)
        for cell in self.registers:
            if cell["parameters"]["CEMUX"] != "CE" or self._port(cell, "CE"):
                after[id(cell), "Q"] = self._port(cell, "DI")
            if self._port(cell, "LSR"):
                after[id(cell), "Q"] = 0
        for cell in self.multipliers:
            new = {"INPUTA": self._wires(cell, "A"), "INPUTB": self._wires(cell, "B")}
            new["OUTPUT"] = self._product(cell)
            for place, value in new.items():
                enable = cell["parameters"].get(f"REG_{place}_CE")
                if enable is not None and self._port(cell, enable):
                    assert self._port(cell, cell["parameters"][f"REG_{place}_RST"]) == 0
                    after[id(cell), place] = value
        self.held = after

    def _port(self, cell: dict[str, Any], name: str) -> int:
        return self.value[cell["connections"][name][0]]

    def _wires(self, cell: dict[str, Any], side: str) -> int:
        """An operand's 18 bits as a signed number."""
        nets = [cell["connections"][f"{side}{i}"][0] for i in range(18)]
        bits = [self.value.get(net, 0) for net in nets]
        return sum(b << i for i, b in enumerate(bits)) - (bits[-1] << 18)

    def _product(self, cell: dict[str, Any]) -> int:
        a, b = (self._inside(cell, f"INPUT{s}", self._wires(cell, s)) for s in "AB")
        return a * b

    def _inside(self, cell: dict[str, Any], place: str, outside: int) -> int:
        """What a place in the block gives: what it holds where it is a register."""
        is_register = f"REG_{place}_CLK" in cell["parameters"]
        return self.held[id(cell), place] if is_register else outside


def simulate(module: dict[str, Any], cycles: int, seed: int) -> list[list[int]]:
    """What the outputs are in each cycle, under random inputs."""
    rng = np.random.default_rng(seed)
    outputs = [b for p in module["ports"].values() if p["direction"] == "output" for b in p["bits"]]
    simulation = Simulation(module)
    seen = []
    for _ in range(cycles):
        simulation.cycle({net: int(rng.integers(0, 2)) for net in (*X, *W, *ENABLES)})
        seen.append([simulation.value[b] for b in outputs])
        simulation.edge()
    return seen


def array() -> Netlist:
    """Two multipliers as in the array: a shared operand, weights of their own, products added."""
    made = Netlist()
    shared = made.registers(list(X), ENABLES[0])
    for name in ("p0", "p1"):
        weight = made.registers(list(W), ENABLES[1])
        product = made.multiplier(shared, weight)
        made.output(name, made.registers(product, ENABLES[2]))
    return made


def _kinds(made: Netlist) -> Counter[str]:
    return Counter(c["type"] for c in made.module["cells"].values())


def _equal_after(made: Netlist) -> int:
    before = simulate(copy.deepcopy(made.module), 60, 1)
    moved = absorb_registers(made.module)
    assert simulate(made.module, 60, 1) == before
    assert len({tuple(row) for row in before}) > 10  # something happens
    return moved


def test_absorb__all_registers_of_an_array() -> None:
    made = array()
    assert _equal_after(made) == 2
    assert _kinds(made) == {"MULT18X18D": 2}
    settings = [c["parameters"] for c in made.module["cells"].values()]
    # one net of enables has one wire in all multipliers
    assert len({s["REG_INPUTA_CE"] for s in settings}) == 1
    assert len({s[f"REG_{p}_CE"] for s in settings for p in ("INPUTA", "INPUTB", "OUTPUT")}) == 3


def test_absorb__copies_a_register_that_others_read() -> None:
    made = array()
    first = made.module["cells"]["TRELLIS_FF_0"]["connections"]["Q"]
    made.output("also", first)
    assert _equal_after(made) == 2
    assert _kinds(made) == {"MULT18X18D": 2, "TRELLIS_FF": 1}


def test_absorb__a_product_that_is_read_twice_stays_outside() -> None:
    made = Netlist()
    product = made.multiplier(made.registers(list(X)), made.registers(list(W)))
    made.output("p", made.registers(product))
    made.output("early", product[:1])
    assert _equal_after(made) == 1
    assert _kinds(made) == {"MULT18X18D": 1, "TRELLIS_FF": 16}


def test_absorb__a_product_that_is_multiplied_again() -> None:
    made = Netlist()
    product = made.registers(made.multiplier(made.registers(list(X)), made.registers(list(W))))
    made.output("q", made.registers(made.multiplier(product[:8], product[8:])))
    assert _equal_after(made) == 2


@pytest.mark.parametrize("which", ["reset", "enables", "one operand", "falling edge", "set"])
def test_absorb__leaves_other_operands_alone(which: str) -> None:
    made = Netlist()
    x, w = list(X), list(W)
    match which:
        case "reset":
            a, b = made.registers(x, reset=ENABLES[3]), made.registers(w)
        case "enables":
            a, b = [*made.registers(x[:4], ENABLES[0]), *made.registers(x[4:])], made.registers(w)
        case "one operand":
            a, b = made.registers(x), w
        case _:
            a, b = made.registers(x), made.registers(w)
    if which in ("falling edge", "set"):
        parameter, value = {"falling edge": ("CLKMUX", "INV"), "set": ("REGSET", "SET")}[which]
        made.module["cells"]["TRELLIS_FF_0"]["parameters"][parameter] = value
    made.output("p", made.multiplier(a, b))
    before = copy.deepcopy(made.module)
    assert absorb_registers(made.module) == 0
    assert made.module == before


def test_absorb__no_more_enables_than_a_block_tells_apart() -> None:
    made = Netlist()
    for enable in (*ENABLES, None):
        operands = made.registers(list(X), enable), made.registers(list(W), enable)
        made.output(f"p{enable}", made.multiplier(*operands))
    assert _equal_after(made) == 4
