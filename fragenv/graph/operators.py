"""Operators: the nodes of a dataflow graph, each a loop nest over one output tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class OpKind(StrEnum):
    """What an operator computes.

    ``SOFTMAX`` runs on the host and may only end a graph that a chip runs. The kinds after it are
    for graphs that are mined, not scheduled (``virtual`` imports): a product of two activations,
    a layer normalisation, a smooth activation, constants of any shape added or multiplied, and
    what copies elements to other places.
    """

    CONV = "conv"
    GEMM = "gemm"
    MAXPOOL = "maxpool"
    AVGPOOL = "avgpool"
    GLOBALAVG = "globalavg"
    ADD = "add"
    RELU = "relu"
    CLIP = "clip"
    CONCAT = "concat"
    LRN = "lrn"
    SOFTMAX = "softmax"
    MATMUL = "matmul"
    NORM = "norm"
    GELU = "gelu"
    AFFINE = "affine"
    MOVE = "move"


#: operators that multiply and accumulate; the critical-path depth of a pattern counts these
MAC_KINDS = frozenset({OpKind.CONV, OpKind.GEMM, OpKind.MATMUL})
#: operators that no fragment runs
HOST_KINDS = frozenset(
    {OpKind.SOFTMAX, OpKind.MATMUL, OpKind.NORM, OpKind.GELU, OpKind.AFFINE, OpKind.MOVE}
)
#: operators that change values one by one and need no buffer
ACTIVATION_KINDS = frozenset({OpKind.RELU, OpKind.CLIP})
#: operators that slide a window over space without weights
POOL_KINDS = frozenset({OpKind.MAXPOOL, OpKind.AVGPOOL, OpKind.GLOBALAVG})


@dataclass(frozen=True, slots=True)
class LoopNest:
    """Loop bounds of one operator, for ONE frame (the batch is a property of the problem).

    k output channels, c input channels (all groups), p x q output rows x columns, r x s kernel,
    h x w input rows x columns. A fully connected layer is the case p=q=r=s=h=w=1.
    """

    k: int
    c: int
    p: int = 1
    q: int = 1
    r: int = 1
    s: int = 1
    h: int = 1
    w: int = 1
    stride: tuple[int, int] = (1, 1)
    #: top, left, bottom, right
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for name in ("k", "c", "p", "q", "r", "s", "h", "w", "groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"loop bound {name} must be at least 1, got {getattr(self, name)}")
        if self.c % self.groups or self.k % self.groups:
            raise ValueError(
                f"channels c={self.c}, k={self.k} do not divide into {self.groups} groups"
            )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one frame (for a pool: window operations)."""
        return self.k * (self.c // self.groups) * self.p * self.q * self.r * self.s


@dataclass(frozen=True, slots=True)
class Operator:
    """One node. ``inputs`` are tensor names (weights are not tensors); ``output`` is one tensor."""

    name: str
    kind: OpKind
    nest: LoopNest
    inputs: tuple[str, ...]
    output: str
    #: int8 weights, 0 for operators without
    weight_bytes: int = 0
    #: int32 biases (4 bytes per output channel), 0 for operators without
    bias_bytes: int = 0
    #: kind-specific scalars, sorted (name, value): clip min/max, lrn size/alpha/beta/bias,
    #: avgpool count_include_pad, softmax log
    attributes: tuple[tuple[str, float], ...] = field(default=())

    @property
    def is_mac(self) -> bool:
        return self.kind in MAC_KINDS

    @property
    def is_depthwise(self) -> bool:
        """A convolution with one input and one output channel per group."""
        nest = self.nest
        return self.kind is OpKind.CONV and nest.groups > 1 and nest.groups == nest.c == nest.k

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one frame; 0 for operators that do not multiply."""
        return self.nest.macs if self.is_mac else 0

    @property
    def parameter_bytes(self) -> int:
        """Bytes loaded from DRAM beside the inputs: int8 weights and int32 biases."""
        return self.weight_bytes + self.bias_bytes

    def attribute(self, name: str, default: float = 0.0) -> float:
        return dict(self.attributes).get(name, default)
