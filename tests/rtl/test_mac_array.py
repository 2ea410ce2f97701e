"""fe_mac_array against numpy: blocks of weights, bubbles, both modes."""

from __future__ import annotations

import numpy as np
import pytest
from cell import Cell, pack, unpack

pytestmark = pytest.mark.rtl


def mac_array(lanes_in: int, lanes_out: int, depthwise: bool) -> Cell:
    x_lanes = max(lanes_in, lanes_out) if depthwise else lanes_in
    return Cell(
        "fe_mac_array",
        {
            "clk_i": 1,
            "rst_ni": 1,
            "w_valid_i": 1,
            "w_i": 8 * lanes_out,
            "swap_i": 1,
            "x_valid_i": 1,
            "x_i": 8 * x_lanes,
            "depthwise_i": 1,
        },
        {"sum_valid_o": 1, "sum_o": 32 * lanes_out},
        LanesIn=lanes_in,
        LanesOut=lanes_out,
        HasDepthwise=int(depthwise),
    )


@pytest.mark.parametrize(
    ("lanes_in", "lanes_out", "depthwise"),
    [(1, 1, False), (3, 5, True), (8, 4, False), (5, 2, True), (1, 6, True), (18, 3, True)],
)
def test_mac_array__multiplies_by_the_current_weights(
    lanes_in: int, lanes_out: int, depthwise: bool
) -> None:
    cell = mac_array(lanes_in, lanes_out, depthwise)
    x_lanes = max(lanes_in, lanes_out) if depthwise else lanes_in
    rng = np.random.default_rng(lanes_in)
    expected: list[list[int]] = []
    seen: list[list[int]] = []

    def tick(**inputs: int) -> None:
        idle = {"w_valid_i": 0, "swap_i": 0, "x_valid_i": 0, "depthwise_i": 0}
        cell.set(**(idle | inputs))
        cell.tick()
        if cell.get("sum_valid_o"):
            seen.append(unpack(cell.get("sum_o"), 32, lanes_out))

    spare = rng.integers(-128, 128, (lanes_in, lanes_out))
    for row in spare:
        tick(w_valid_i=1, w_i=pack(row, 8))
    for _ in range(8):  # blocks: the next one's rows come while this one's pixels pass
        weight, spare = spare, rng.integers(-128, 128, (lanes_in, lanes_out))
        rows = list(spare)
        for pixel in range(lanes_in + int(rng.integers(0, 4))):
            x = rng.integers(-128, 128, x_lanes)
            channelwise = depthwise and bool(rng.integers(0, 2))
            inputs = {"x_valid_i": 1, "x_i": pack(x, 8), "swap_i": int(pixel == 0)}
            inputs["depthwise_i"] = int(channelwise)
            if rows:
                inputs |= {"w_valid_i": 1, "w_i": pack(rows.pop(0), 8)}
            sums = x[:lanes_out] * weight[-1] if channelwise else x[:lanes_in] @ weight
            expected.append([int(v) for v in sums])
            tick(**inputs)
            if rng.integers(0, 2):
                tick()
    for _ in range(10):
        tick()
    assert seen == expected


def test_mac_array__holds_the_largest_sums() -> None:
    lanes_in = 20
    cell = mac_array(lanes_in, 1, False)
    for _ in range(lanes_in):
        cell.set(w_valid_i=1, w_i=0x80)
        cell.tick()
    cell.set(w_valid_i=0, swap_i=1, x_valid_i=1, x_i=pack([-128] * lanes_in, 8))
    while not cell.get("sum_valid_o"):
        cell.tick()
    assert cell.get("sum_o") == lanes_in * 2**14
