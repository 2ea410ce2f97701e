"""Tracing: a loop nest, written as a Python function, becomes its scalar dataflow graph.

The function is called once with arrays whose elements record what is done to them; nothing is
parsed or evaluated from text. Loop bounds, indices and conditions must not depend on elements.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NoReturn

from fragenv.errors import FragenvError
from fragenv.patterns.scalar_graph import ScalarGraph

#: operations that a trace may hold: about 0.5 GiB
MOST_OPERATIONS = 5_000_000


class TraceError(FragenvError):
    """A loop nest cannot be unrolled into a fixed graph of scalar operations."""


def trace(function: Callable[..., object], **arguments: tuple[int, ...] | int) -> ScalarGraph:
    """The scalar dataflow graph of ``function``.

    >>> def fully_connected(x, w, y):
    ...     for k in range(2):
    ...         total = 0
    ...         for c in range(3):
    ...             total += w[k, c] * x[c]
    ...         y[k] = total
    >>> trace(fully_connected, x=(3,), w=(2, 3), y=(2,))
    ScalarGraph('fully_connected', 10 operations)

    Elements that are assigned become outputs; one that is read before it is assigned is a leaf.
    Elements can be added, subtracted, multiplied, divided and negated, among each other and with
    numbers, and compared by ``maximum`` and ``minimum``. Adding the number 0 makes no operation, so
    that sums may start at 0.

    Args:
        arguments: for each parameter the shape of an array, or a number that is passed as it is.

    Raises:
        TraceError: a bound, index or condition depends on an element; an index is outside its
            array; nothing is assigned; more than ``MOST_OPERATIONS`` operations; parameters and
            arguments differ.
    """
    name = getattr(function, "__name__", "loop nest")
    tape = _Tape(name)
    given = {key: _argument(tape, key, value) for key, value in arguments.items()}
    try:
        inspect.signature(function).bind(**given)
    except TypeError as error:
        raise TraceError(f"{name}: {error}; give a shape or number for every parameter") from None
    function(**given)
    arrays = [array for array in given.values() if isinstance(array, TracedArray)]
    tape.graph.outputs = [node for array in arrays for node in array.assigned()]
    if not tape.graph.outputs:
        raise TraceError(f"{name}: the function assigns no element; store results, as in y[k] = s")
    return tape.graph


def maximum(a: Scalar | float, b: Scalar | float) -> Scalar:
    """The larger of two values, as an operation (``max`` would compare them now)."""
    return _tape_of(a, b).apply("max", a, b)


def minimum(a: Scalar | float, b: Scalar | float) -> Scalar:
    """The smaller of two values, as an operation."""
    return _tape_of(a, b).apply("min", a, b)


class Scalar:
    """One value of the loop nest: an element of an array or the result of an operation."""

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("node", "tape")

    def __init__(self, tape: _Tape, node: int) -> None:
        self.tape, self.node = tape, node

    def __add__(self, other: Scalar | float) -> Scalar:
        return self if _is_zero(other) else self.tape.apply("add", self, other)

    def __radd__(self, other: float) -> Scalar:
        return self if _is_zero(other) else self.tape.apply("add", other, self)

    def __sub__(self, other: Scalar | float) -> Scalar:
        return self if _is_zero(other) else self.tape.apply("sub", self, other)

    def __rsub__(self, other: float) -> Scalar:
        return self.tape.apply("sub", other, self)

    def __mul__(self, other: Scalar | float) -> Scalar:
        return self.tape.apply("mul", self, other)

    def __rmul__(self, other: float) -> Scalar:
        return self.tape.apply("mul", other, self)

    def __truediv__(self, other: Scalar | float) -> Scalar:
        return self.tape.apply("div", self, other)

    def __rtruediv__(self, other: float) -> Scalar:
        return self.tape.apply("div", other, self)

    def __neg__(self) -> Scalar:
        return Scalar(self.tape, self.tape.grown(self.tape.graph.operation("neg", self.node)))

    def _refuse(self, *_: object) -> NoReturn:
        self.tape.refuse(f"the value of {self.tape.text(self.node)} is needed as a number")

    __bool__ = __int__ = __index__ = __float__ = __round__ = __iter__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __eq__ = __ne__ = _refuse


class TracedArray:
    """An array of the loop nest; ``len`` and ``shape`` are plain numbers."""

    def __init__(self, tape: _Tape, name: str, shape: tuple[int, ...]) -> None:
        self._tape, self.name, self.shape = tape, name, shape
        self._elements: dict[tuple[int, ...], Scalar] = {}
        self._assigned: set[tuple[int, ...]] = set()

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Scalar]:
        return (self[index] for index in product(*map(range, self.shape)))

    def __getitem__(self, index: Any) -> Scalar:
        where = self._where(index)
        if where not in self._elements:
            graph = self._tape.graph
            self._elements[where] = Scalar(
                self._tape, self._tape.grown(graph.leaf(self.name, where))
            )
        return self._elements[where]

    def __setitem__(self, index: Any, value: Scalar | float) -> None:
        where = self._where(index)
        self._elements[where] = self._tape.scalar(value)
        self._assigned.add(where)

    def assigned(self) -> list[int]:
        """The values that the assigned elements have in the end."""
        return [self._elements[where].node for where in sorted(self._assigned)]

    def _where(self, index: Any) -> tuple[int, ...]:
        parts = index if isinstance(index, tuple) else (index,)
        for part in parts:
            if isinstance(part, Scalar):
                self._tape.refuse(
                    f"{self.name} is indexed by the value of {self._tape.text(part.node)}"
                )
        if len(parts) != len(self.shape) or not all(isinstance(p, int) for p in parts):
            raise TraceError(
                f"{self._tape.graph.name}: {self.name}[{index}] is no element; give "
                f"{len(self.shape)} whole numbers, as in "
                f"{self.name}[{', '.join('ijklmn'[: len(self.shape)])}]"
            )
        if any(not 0 <= p < size for p, size in zip(parts, self.shape, strict=True)):
            raise TraceError(
                f"{self._tape.graph.name}: {self.name}[{', '.join(map(str, parts))}] is outside "
                f"its shape {self.shape}; check the loop bounds"
            )
        return parts


class _Tape:
    """The graph under construction, and the leaves that stand for numbers."""

    def __init__(self, name: str) -> None:
        self.graph = ScalarGraph(name)
        self._constants: dict[float, int] = {}

    def apply(self, kind: str, a: Scalar | float, b: Scalar | float) -> Scalar:
        left, right = self.scalar(a), self.scalar(b)
        return Scalar(self, self.grown(self.graph.operation(kind, left.node, right.node)))

    def scalar(self, value: Scalar | float) -> Scalar:
        if isinstance(value, Scalar):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TraceError(
                f"{self.graph.name}: {value!r} is neither an element nor a number; loop nests "
                "compute with scalars"
            )
        if value not in self._constants:
            self._constants[value] = self.grown(self.graph.leaf("constant", (value,)))
        return Scalar(self, self._constants[value])

    def grown(self, node: int) -> int:
        if node >= MOST_OPERATIONS:
            raise TraceError(
                f"{self.graph.name}: more than {MOST_OPERATIONS:,} scalar values; trace a smaller "
                "tile of the loop nest"
            )
        return node

    def text(self, node: int) -> str:
        if node in self.graph.leaf_of:
            name, index = self.graph.leaf_of[node]
            return f"{name}[{', '.join(map(str, index))}]"
        return f"a computed {self.graph.kind(node)}"

    def refuse(self, reason: str) -> NoReturn:
        raise TraceError(
            f"{self.graph.name}: {reason}; loop bounds, indices and conditions must not depend on "
            "data (pass them as numbers, and use maximum and minimum in place of comparisons)"
        )


def _argument(tape: _Tape, name: str, value: tuple[int, ...] | int) -> TracedArray | int:
    if isinstance(value, int):
        return value
    if not value or not all(isinstance(n, int) and n >= 1 for n in value) or len(value) > 6:
        raise TraceError(
            f"{tape.graph.name}: shape {value} of '{name}' must be 1 to 6 whole numbers above 0"
        )
    return TracedArray(tape, name, tuple(value))


def _tape_of(*values: Scalar | float) -> _Tape:
    for value in values:
        if isinstance(value, Scalar):
            return value.tape
    raise TraceError("maximum and minimum need an element of an array; use max and min on numbers")


def _is_zero(value: object) -> bool:
    return isinstance(value, int | float) and value == 0
