"""The cells of NAS-Bench-201 (Dong, Yang: ICLR 2020): operators on the edges of a 4-node graph.

A cell is written ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...~0|...~1|...~2|``: for each node
after the first, what comes from every node before it. Of the 5^6 = 15,625 cells, 15,284 have a path
from input to output.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from fragenv.generate.architecture import INPUT, OUTPUT, SKIP, Architecture, ArchitectureError

#: the published names and ours; ``none`` is no edge at all
NAMES = {
    "none": None,
    "skip_connect": SKIP,
    "nor_conv_1x1": "conv1x1",
    "nor_conv_3x3": "conv3x3",
    "avg_pool_3x3": "avgpool3x3",
}
#: (from, to) of the six edges, in the order of the text
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
#: operators that a cell may hold
OPERATORS = tuple(op for op in NAMES.values() if op is not None)

#: what stands on each of ``EDGES``, published names
Choices = tuple[str, str, str, str, str, str]


def all_choices() -> Iterator[Choices]:
    """Every cell of the space, runnable or not, in a fixed order."""
    yield from product(NAMES, repeat=len(EDGES))


@lru_cache(maxsize=1)
def runnable_choices() -> tuple[Choices, ...]:
    """The cells that have a path from input to output, in the order of ``all_choices``."""
    return tuple(choices for choices in all_choices() if _runs(choices))


def text(choices: Choices) -> str:
    """The published notation of a cell."""
    nodes = []
    for node in (1, 2, 3):
        inputs = [(e, src) for e, (src, dst) in enumerate(EDGES) if dst == node]
        nodes.append("|" + "".join(f"{choices[e]}~{src}|" for e, src in inputs))
    return "+".join(nodes)


def parse(cell: str) -> Choices:
    """The choices of a cell in the published notation.

    Raises:
        ArchitectureError: it is not of that form, or an operator is unknown.
    """
    parts = [part for node in cell.strip().split("+") for part in node.strip("|").split("|")]
    names = [part.split("~")[0] for part in parts]
    for name in names:
        if name not in NAMES:
            raise ArchitectureError(
                f"'{cell}': unknown operator '{name}'; known are {', '.join(NAMES)}"
            )
    if len(names) != len(EDGES) or text(tuple(names)) != cell.strip():  # type: ignore[arg-type]
        raise ArchitectureError(
            f"'{cell}' is not a NAS-Bench-201 cell; write "
            f"{text(('none',) * len(EDGES))} with operators in place of 'none'"  # type: ignore[arg-type]
        )
    return tuple(names)  # type: ignore[return-value]


def from_choices(choices: Choices) -> Architecture:
    """The architecture with a node for every edge of the cell that carries an operator.

    Raises:
        ArchitectureError: no path from input to output.
    """
    held = [e for e in range(len(EDGES)) if NAMES[choices[e]] is not None]
    number = {e: i + 1 for i, e in enumerate(held)}
    last = len(held) + 1
    edges = []
    for e in held:
        src, dst = EDGES[e]
        sources = [number[f] for f in held if EDGES[f][1] == src]
        edges += [(s, number[e]) for s in ([0] if src == 0 else sources)]
        if dst == EDGES[-1][1]:
            edges.append((number[e], last))
    ops = (INPUT, *(str(NAMES[choices[e]]) for e in held), OUTPUT)
    return Architecture(ops, tuple(edges), f"nb201 {text(choices)}")


def from_text(cell: str) -> Architecture:
    """The architecture of a cell in the published notation.

    Raises:
        ArchitectureError: not of that form, or no path from input to output.
    """
    return from_choices(parse(cell))


def _runs(choices: Choices) -> bool:
    reached = {0}
    for (src, dst), name in zip(EDGES, choices, strict=True):
        if src in reached and NAMES[name] is not None:
            reached.add(dst)
    return EDGES[-1][1] in reached
