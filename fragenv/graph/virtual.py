"""Graphs to be mined, not scheduled: attention, normalisations and moved data are let in.

A chip of this library computes with constant weights over channels-first images. The virtual
platform, where patterns are looked for, has no such limits: tensors are in row-major order, so that
a reshape moves nothing, while a transposition or a part of a tensor is an operator of its own.
"""

from __future__ import annotations

from math import prod

from fragenv.graph.builder import GraphBuilder, Shape, Value
from fragenv.graph.operators import LoopNest, OpKind
from fragenv.graph.refused import RefusedError


def frame_shape(batched: Shape) -> Shape:
    """A shape of the model without its batch of 1, wherever that stands (attention moves it)."""
    return batched[1:] if len(batched) > 1 and batched[0] == 1 else batched


def moves_data(batched: Shape, order: list[int]) -> bool:
    """Whether transposing the axes of ``batched`` into ``order`` changes the order in memory."""
    kept = [axis for axis in order if batched[axis] != 1]
    return kept != sorted(kept)


class VirtualBuilder(GraphBuilder):
    """A builder that also takes what no chip runs."""

    virtual = True

    def reshape(self, x: Value, shape: Shape) -> Value:
        """Row-major data seen with any shape of as many elements."""
        if prod(shape) != prod(x.shape):
            raise RefusedError(
                f"cannot reshape {x.shape} to {shape}: the numbers of elements differ"
            )
        return Value(x.tensor, shape)

    def _check_rows(self, stored: Shape) -> None:
        """Rows of anything multiply."""

    def scale_by(self, name: str, x: Value, out: str, constant: Shape) -> Value:
        """As in the base class, by one number for each feature of the last axis too; constants of
        any other shape (masks, encodings of positions) make an operator."""
        if len(x.shape) > 2 and constant and prod(constant) == constant[-1] == x.shape[-1]:
            rows = Value(x.tensor, (prod(x.shape[:-1]), x.shape[-1]))
            return Value(super().scale_by(name, rows, out, constant[-1:]).tensor, x.shape)
        try:
            return super().scale_by(name, x, out, constant)
        except RefusedError:
            return self._flat(name, OpKind.AFFINE, x, out)

    def softmax(self, name: str, x: Value, out: str, axis: int, log: bool = False) -> Value:
        """Softmax over any axis, anywhere in the graph."""
        attributes = (("log", 1.0),) if log else ()
        return self._flat(name, OpKind.SOFTMAX, x, out, attributes)

    def norm(self, name: str, x: Value, out: str) -> Value:
        """Layer normalisation with its scale and shift."""
        return self._flat(name, OpKind.NORM, x, out)

    def gelu(self, name: str, x: Value, out: str) -> Value:
        """The activation GELU, or one as smooth (SiLU)."""
        return self._flat(name, OpKind.GELU, x, out)

    def add(self, name: str, a: Value, b: Value, out: str) -> Value:
        """The sum of two values of one size, however their axes of size 1 stand."""
        if prod(a.shape) != prod(b.shape):
            raise RefusedError(f"cannot add {a.shape} and {b.shape}: broadcasting is not supported")
        nest = self._rows(a.shape)
        return self._add(name, OpKind.ADD, nest, (a, b), out, a.shape)

    def move(self, name: str, x: Value, out: str, shape: Shape) -> Value:
        """A transposition, or a part of a tensor: elements copied to other places."""
        return self._add(name, OpKind.MOVE, self._rows(shape), (x,), out, shape)

    def matmul(self, name: str, a: Value, b: Value, out: str, shape: Shape) -> Value:
        """The product of two activations, ``shape`` its result: (matrices x) rows x columns, the
        matrices of ``a`` and ``b`` in pairs."""
        rows, columns = shape[-2:] if len(shape) > 1 else (1, shape[0])
        groups = max(1, prod(shape[:-2]))
        inner = prod(a.shape) // (groups * rows)
        if groups * rows * inner != prod(a.shape) or groups * inner * columns != prod(b.shape):
            raise RefusedError(
                f"cannot multiply {a.shape} and {b.shape}: broadcasting is not supported"
            )
        nest = LoopNest(k=groups * columns, c=groups * inner, p=rows, h=rows, groups=groups)
        return self._add(name, OpKind.MATMUL, nest, (a, b), out, shape)

    def _flat(
        self,
        name: str,
        kind: OpKind,
        x: Value,
        out: str,
        attributes: tuple[tuple[str, float], ...] = (),
    ) -> Value:
        return self._add(name, kind, self._rows(x.shape), (x,), out, x.shape, attributes)

    @staticmethod
    def _rows(shape: Shape) -> LoopNest:
        """The loops over a tensor of any rank: rows of the last axis."""
        features, rows = (shape[-1], prod(shape[:-1])) if shape else (1, 1)
        return LoopNest(k=features, c=features, p=rows, h=rows)
