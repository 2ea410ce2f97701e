"""The latencies that cells declare are those that they have."""

from __future__ import annotations

import pytest
from cell import Cell, declared
from test_mac_array import mac_array
from test_requantise import requantise

pytestmark = pytest.mark.rtl


def _measured(cell: Cell, valid_in: str, valid_out: str) -> int:
    cell.set(**{valid_in: 1})
    for cycle in range(1, 50):
        cell.tick()
        cell.set(**{valid_in: 0})
        if cell.get(valid_out):
            return cycle
    raise AssertionError("no output")


def test_latencies__of_the_requantiser() -> None:
    assert _measured(requantise(), "valid_i", "valid_o") == declared("RequantiseLatency")


@pytest.mark.parametrize(
    ("lanes_in", "latency"), [(1, 4), (3, 4), (5, 5), (8, 5), (16, 5), (18, 6)]
)
def test_latencies__of_the_array(lanes_in: int, latency: int) -> None:
    """Activations twice, products, then a register per two levels of the adder tree."""
    assert declared("MacTreeLevels") == 2
    cell = mac_array(lanes_in, 2, False)
    cell.set(w_valid_i=0, swap_i=0, depthwise_i=0)
    assert _measured(cell, "x_valid_i", "sum_valid_o") == latency
