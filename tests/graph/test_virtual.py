"""Virtual imports: attention as it is written, exported and packed; chips still refuse it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from fragenv.errors import ModelError
from fragenv.graph import DataflowGraph, OpKind
from fragenv.graph.check import check_chip, check_graph
from fragenv.graph.from_onnx import from_onnx
from fragenv.graph.from_torch import from_torch
from fragenv.models import zoo
from fragenv.models.export import export_onnx
from fragenv.models.load import load_graph
from fragenv.schedule.problem import Problem

TOKENS, WIDTH, HEADS = 10, 32, 4
SHAPE = (TOKENS, WIDTH)


def split_heads(y: torch.Tensor) -> torch.Tensor:
    return y.view(*y.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)


class Written(nn.Module):
    """Attention spelled out, three projections."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (split_heads(part(x)) for part in (self.q, self.k, self.v))
        weights = (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1)
        return x + self.o((weights @ v).transpose(1, 2).reshape(x.shape))


class Packed(nn.Module):
    """One projection whose result is split, a normalisation before it, a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.o = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (split_heads(y) for y in self.qkv(self.norm(x)).split(WIDTH, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.o(y.transpose(1, 2).reshape(x.shape))


class Library(nn.Module):
    """PyTorch's own, which moves the batch axis about."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.m(x, x, x, need_weights=False)[0]


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True, activation="gelu")


#: module -> MACs of one frame, by hand: projections, scores, weighted sums, feed-forward
ATTENTION_MACS = 4 * TOKENS * WIDTH**2 + 2 * TOKENS**2 * WIDTH
BLOCKS = [
    (Written, ATTENTION_MACS),
    (Packed, ATTENTION_MACS),
    (Library, ATTENTION_MACS),
    (encoder, ATTENTION_MACS + 2 * TOKENS * WIDTH * 64),
]


def kinds(graph: DataflowGraph) -> Counter[OpKind]:
    return Counter(op.kind for op in graph.operators)


@pytest.mark.parametrize(("make", "macs"), BLOCKS)
@pytest.mark.parametrize("as_file", [False, True])
def test_virtual__attention(
    make: type[nn.Module], macs: int, as_file: bool, tmp_path: Path
) -> None:
    if as_file:
        export_onnx(make().eval(), SHAPE, tmp_path / "a.onnx")
        graph = from_onnx(tmp_path / "a.onnx", virtual=True)
    else:
        graph = from_torch(make(), SHAPE, virtual=True)
    found = kinds(graph)
    assert found[OpKind.MATMUL] == 2 and found[OpKind.SOFTMAX] == 1
    assert found[OpKind.CONV] == 0  # every bias and number is folded
    assert graph.macs == macs
    scores, mixed = (op for op in graph.operators if op.kind is OpKind.MATMUL)
    assert graph.tensors[scores.output].shape == (HEADS, TOKENS, TOKENS)
    assert graph.tensors[mixed.output].shape == (HEADS, TOKENS, WIDTH // HEADS)
    softmax = next(op for op in graph.operators if op.kind is OpKind.SOFTMAX)
    assert mixed.inputs[0] == softmax.output
    check_graph(graph, virtual=True)


def test_virtual__no_chip_runs_it() -> None:
    graph = from_torch(Written(), SHAPE, virtual=True)
    with pytest.raises(ModelError, match=r"\(move\): no fragment runs this operator"):
        check_chip(graph)
    with pytest.raises(ModelError, match="can be mined only"):
        Problem(graph)
    with pytest.raises(ModelError, match="moves data"):
        from_torch(Written(), SHAPE)


@pytest.mark.parametrize("name", ["squeezenet", "mobilenetv2", "alexnet_lrn"])
def test_virtual__changes_nothing_for_what_chips_run(name: str, tmp_path: Path) -> None:
    plain = zoo.graph(name)
    entry = zoo.entry(name)
    with torch.device("meta"):
        module = entry.make()
    graph = from_torch(module, entry.input_shape, name, virtual=True)
    assert [(op.name, op.kind, op.inputs) for op in graph.operators] == [
        (op.name, op.kind, op.inputs) for op in plain.operators
    ]
    check_chip(graph)


class Encoded(nn.Module):
    """Constants of a whole plane, a SiLU, a part of the result."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positions", torch.ones(TOKENS, WIDTH))
        self.fc = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(functional.silu(x + self.positions))[:, 0]


def test_virtual__constants_of_a_plane_and_parts() -> None:
    graph = load_graph(Encoded(), SHAPE, virtual=True)
    wanted = [OpKind.AFFINE, OpKind.GELU, OpKind.GEMM, OpKind.MOVE]
    assert [op.kind for op in graph.operators] == wanted
    assert graph.tensors[graph.outputs[0]].shape == (WIDTH,)


REFUSED = {
    "constant first factor": (lambda x: torch.ones(TOKENS, TOKENS) @ x, "first factor is constant"),
    "broadcast product": (lambda x: x.view(1, 1, TOKENS, WIDTH).expand(1, 2, TOKENS, WIDTH) * 1.5,
                          "not supported"),
    "broadcast sum": (lambda x: x + x.mean(2, keepdim=True), "means|broadcasting"),
    "several results": (lambda x: x.max(2)[0], "not supported"),
    "product of activations": (lambda x: x * x, "may only be added"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_virtual__refuses_clearly(name: str) -> None:
    function, message = REFUSED[name]

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(self.fc(x))

    with pytest.raises(ModelError, match=message):
        from_torch(Module(), SHAPE, virtual=True)


def test_virtual__needs_a_batch_of_one(tmp_path: Path) -> None:
    export_onnx(Written().eval(), SHAPE, tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(ModelError, match="only a batch of 1 can be mined, the file has 2"):
        from_onnx(tmp_path / "two.onnx", virtual=True)
