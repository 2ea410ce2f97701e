"""Local response normalisation in integers: the contract in plain Python, and floating point."""

from __future__ import annotations

from math import exp2, floor, log2

import numpy as np
import pytest
import torch

from fragenv.graph.operators import LoopNest, Operator, OpKind
from fragenv.models.parameters import Quantisation, TensorScale
from fragenv.verify.integers import ReferenceError
from fragenv.verify.reference import evaluate_operator

#: AlexNet's, GoogLeNet's, a strong one, an even window, one wider than the channels
CASES = {
    "alexnet": (5, 1e-4, 0.75, 2.0, TensorScale(0.9, -128), TensorScale(0.5, -128)),
    "googlenet": (5, 1e-4, 0.75, 1.0, TensorScale(0.05, -3), TensorScale(0.05, 4)),
    "strong": (3, 0.5, 0.9, 1.0, TensorScale(0.02, 17), TensorScale(0.014, -20)),
    "even": (4, 0.01, 0.6, 1.5, TensorScale(0.2, 0), TensorScale(0.11, 1)),
    "wide": (31, 0.1, 0.75, 1.0, TensorScale(0.1, -128), TensorScale(0.07, -100)),
}


def make(name, channels):
    size, alpha, beta, bias, before, after = CASES[name]
    attributes = {"alpha": alpha, "beta": beta, "bias": bias, "size": float(size)}
    nest = LoopNest(channels, channels, 6, 6, h=6, w=6)
    op = Operator("n", OpKind.LRN, nest, ("x",), "y", attributes=tuple(sorted(attributes.items())))
    return op, Quantisation({"x": before, "y": after}, {})


def inputs(channels):
    return np.random.default_rng(1).integers(-128, 128, (2, channels, 6, 6), dtype=np.int8)


def one(values, c, name):
    """The contract for one element, in Python's integers; ``values`` are a pixel's channels."""
    size, alpha, beta, bias, before, after = CASES[name]
    log = [round(2**20 * log2(1 + i / 256)) for i in range(257)]
    power = [round(2**23 * exp2(i / 256)) for i in range(257)]
    first, last = c - floor((size - 1) / 2), c + -floor(-(size - 1) / 2)
    squares = sum(
        (values[j] - before.zero_point) ** 2 for j in range(len(values)) if first <= j <= last
    )
    u = round(bias * size / (alpha * before.scale**2)) + squares
    p = u.bit_length() - 1
    i, d = divmod(u * 2**20 // 2**p - 2**20, 4096)
    logarithm = p * 2**20 + log[i] + (log[i + 1] - log[i]) * d // 4096
    gain = round(
        2**20 * log2(before.scale / after.scale * (alpha * before.scale**2 / size) ** -beta)
    )
    e, g = divmod(gain - round(beta * 2**16) * logarithm // 2**16, 2**20)
    i, d = divmod(g, 4096)
    m = power[i] + (power[i + 1] - power[i]) * d // 4096
    shift = min(23 - e, 62)
    y = (2 * (values[c] - before.zero_point) * m + 2**shift) // 2 ** (shift + 1)
    return max(-128, min(127, y + after.zero_point))


@pytest.mark.parametrize("name", CASES)
def test_response__is_the_contract(name):
    op, numbers = make(name, 9)
    x = inputs(9)
    found = evaluate_operator(op, numbers, [x])
    pixels = x.transpose(0, 2, 3, 1).reshape(-1, 9).tolist()
    expected = [[one(pixel, c, name) for c in range(9)] for pixel in pixels]
    assert found.transpose(0, 2, 3, 1).reshape(-1, 9).tolist() == expected
    assert len(np.unique(found)) > 50


@pytest.mark.parametrize("name", [n for n in CASES if n != "even"])  # PyTorch's window is another
def test_response__is_pytorchs_within_a_unit(name):
    size, alpha, beta, bias, before, after = CASES[name]
    op, numbers = make(name, 96)
    x = inputs(96)
    found = evaluate_operator(op, numbers, [x]).astype(int)
    real = torch.from_numpy((x.astype(np.float64) - before.zero_point) * before.scale)
    norm = torch.nn.LocalResponseNorm(size, alpha, beta, bias)
    y = np.rint(norm(real).numpy() / after.scale) + after.zero_point
    difference = np.abs(found - np.clip(y, -128, 127))
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.005


def test_response__refuses_scales_beyond_its_integers():
    op, numbers = make("alexnet", 9)
    tiny, huge = TensorScale(1e-5, 0), TensorScale(1e6, 0)
    for before in (tiny, huge):
        with pytest.raises(ReferenceError, match="quantise its input"):
            changed = Quantisation({"x": before, "y": numbers.tensors["y"]}, {})
            evaluate_operator(op, changed, [inputs(9)])
    with pytest.raises(ReferenceError, match="output scale is too small"):
        changed = Quantisation({"x": numbers.tensors["x"], "y": TensorScale(1e-9, 0)}, {})
        evaluate_operator(op, changed, [inputs(9)])
