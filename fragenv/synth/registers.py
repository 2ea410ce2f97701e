"""Registers into multipliers: what Yosys leaves beside an ECP5's multiplier block moves into it.

A MULT18X18D has registers at its inputs and at its output, each with an enable and none with more.
Yosys maps the multiplication alone, so that a product would cross the chip twice in one cycle: from
the register of an operand to the block, and from the block to the register of the product.

A register moves where it has no reset and the rising edge of the clock. One that others read too
is copied. The two halves of a block, and those beside it, share four wires for enables (Lattice
FPGA-TN-02205, sysDSP): one net has the same wire everywhere, and the nets that most registers need
get them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MULTIPLIER, REGISTER = "MULT18X18D", "TRELLIS_FF"
OPERAND_BITS, PRODUCT_BITS = 18, 36
#: enables that a block can tell apart
ENABLES = 4
#: a net of Yosys' JSON: its number, or a constant
Bit = int | str
Cell = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Control:
    """What registers must share to be one register of a multiplier."""

    clock: Bit
    enable: Bit


@dataclass(frozen=True, slots=True)
class _Found:
    """Registers around a multiplier that may move into it, by bit: of each operand, of the
    product."""

    operands: Mapping[str, Mapping[int, str]]
    product: Mapping[int, str]

    def controls(self, cells: Mapping[str, Cell]) -> dict[str, _Control]:
        """What controls the registers, by the place in the block."""
        groups = {f"INPUT{side}": names for side, names in self.operands.items()}
        if self.product:
            groups["OUTPUT"] = self.product
        found = {place: _common(names.values(), cells) for place, names in groups.items()}
        return {place: control for place, control in found.items() if control is not None}


def absorb_registers(module: dict[str, Any]) -> int:
    """Moves registers into the multipliers of a mapped module of Yosys' JSON, in place.

    Returns:
        How many multipliers took some.
    """
    cells: dict[str, Cell] = module["cells"]
    nets = _Nets(module)
    multipliers = [name for name, cell in cells.items() if cell["type"] == MULTIPLIER]
    products = {name: _product(cells[name], cells, nets) for name in multipliers}
    taken = {register for product in products.values() for register in product.values()}
    found = {
        name: _Found(_operands(cells[name], cells, nets, taken), products[name])
        for name in multipliers
    }
    wanted = Counter(c.enable for f in found.values() for c in f.controls(cells).values())
    # in the order of the netlist where counts are equal, so that equal designs stay equal
    wires = {net: f"CE{i}" for i, (net, _) in enumerate(wanted.most_common(ENABLES))}
    moved = [_move(cells, cells[name], around, wires) for name, around in found.items()]
    _drop_unread(module)
    return sum(moved)


class _Nets:
    """Who drives and who reads each net of a module."""

    def __init__(self, module: Mapping[str, Any]) -> None:
        self.register_of: dict[Bit, str] = {}
        self.readers: dict[Bit, list[str]] = defaultdict(list)
        for name, cell in module["cells"].items():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "input":
                    for bit in bits:
                        self.readers[bit].append(name)
                elif cell["type"] == REGISTER:
                    self.register_of[bits[0]] = name
        for name, port in module["ports"].items():
            for bit in port["bits"]:
                self.readers[bit].append(name)


def _operands(
    multiplier: Cell, cells: Mapping[str, Cell], nets: _Nets, taken: Container[str]
) -> dict[str, dict[int, str]]:
    """Registers of both operands, or none: the block's timing is known for those two cases."""
    found = {}
    for side in "AB":
        bits = _bits(multiplier, side, OPERAND_BITS)
        names = {i: nets.register_of.get(b, "") for i, b in bits.items() if b != "0"}
        if _common(names.values(), cells) is None or any(n in taken for n in names.values()):
            return {}
        found[side] = names
    return found


def _product(multiplier: Cell, cells: Mapping[str, Cell], nets: _Nets) -> dict[int, str]:
    """Registers of the product, where all its bits go to one each and nowhere else."""
    found = {}
    for i, bit in _bits(multiplier, "P", PRODUCT_BITS).items():
        readers = nets.readers[bit]
        if readers:
            cell = cells.get(readers[0], {}) if len(readers) == 1 else {}
            stored = cell.get("type") == REGISTER and cell["connections"]["DI"][0] == bit
            found[i] = readers[0] if stored else ""
    return {} if _common(found.values(), cells) is None else found


def _bits(cell: Cell, port: str, width: int) -> dict[int, Bit]:
    """The nets of the ports ``port``0, ``port``1 and so on."""
    found = {}
    for i in range(width):
        net: Sequence[Bit] = cell["connections"].get(f"{port}{i}", ())
        if net:
            found[i] = net[0]
    return found


def _common(names: Iterable[str], cells: Mapping[str, Cell]) -> _Control | None:
    """What controls all of these registers; None where they differ, or one is no register."""
    found = {_control(cells[name]) if name else None for name in names}
    return found.pop() if len(found) == 1 else None


def _control(register: Cell) -> _Control | None:
    settings, nets = register["parameters"], register["connections"]
    if settings.get("CLKMUX", "CLK") != "CLK" or nets.get("LSR", ["0"]) != ["0"]:
        return None
    if settings.get("REGSET", "RESET") != "RESET":  # it starts as 1, the block's as 0
        return None
    match settings.get("CEMUX", "1").strip():  # a blank keeps Yosys from writing a number
        case "1":
            return _Control(nets["CLK"][0], "1")
        case "CE":
            return _Control(nets["CLK"][0], nets["CE"][0])
    return None


def _move(
    cells: dict[str, Cell], multiplier: Cell, found: _Found, wires: Mapping[Bit, str]
) -> bool:
    controls = found.controls(cells)
    if not all(control.enable in wires for control in controls.values()):
        return False
    nets = multiplier["connections"]
    for place, control in controls.items():
        wire = wires[control.enable]
        multiplier["parameters"] |= {
            f"REG_{place}_CLK": "CLK0",
            f"REG_{place}_CE": wire,
            f"REG_{place}_RST": "RST0",
        }
        for port, bit in (("CLK0", control.clock), (wire, control.enable), ("RST0", "0")):
            nets[port] = [bit]
            multiplier["port_directions"][port] = "input"
    for side, names in found.operands.items():
        for i, name in names.items():
            nets[f"{side}{i}"] = list(cells[name]["connections"]["DI"])
    for i, name in found.product.items():
        nets[f"P{i}"] = cells.pop(name)["connections"]["Q"]
    return bool(controls)


def _drop_unread(module: dict[str, Any]) -> None:
    """Takes away the registers that nobody reads any more."""
    cells: dict[str, Cell] = module["cells"]
    while True:
        readers = _Nets(module).readers
        unread = [
            name
            for name, cell in cells.items()
            if cell["type"] == REGISTER and not readers[cell["connections"]["Q"][0]]
        ]
        if not unread:
            return
        for name in unread:
            del cells[name]
